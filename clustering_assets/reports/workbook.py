"""One table as an Excel workbook that equals the table to the last digit.

openpyxl and XlsxWriter both round floats to 16 significant digits, which changes more than a third of them. Here
XlsxWriter makes everything but the data rows (styles, headers, filters, the data dictionary); the rows come from Arrow,
which writes the shortest text that reads back as the same float, and take the place of a placeholder row.

What a cell cannot hold stays visible and is counted in `WorkbookFacts`:

- NaN and the infinities become the texts ``nan``, ``inf``, ``-inf``: a number cell is finite.
- Integers of more than 15 digits become text: Excel shows and edits 15 significant digits.
- Timestamps before 1900-03-01 or after 9999-12-31 23:59:59 become text: Excel's calendar has a 29 February 1900, and
  it ends there. Others are stored as the nearest serial number in days, which is right to the microsecond until
  2079-06-05; Excel shows it, and openpyxl reads it, to the millisecond. Nanoseconds are dropped.
- Control characters and non-characters that XML forbids become their Unicode control picture (U+2400 and on) or U+FFFD.
- Text over 32,767 UTF-16 code units is cut and ends in a mark.

Excel itself does not tell -0.0 from 0.0 and reads magnitudes below 2.2e-308 as 0; the file has them right.
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import xlsxwriter
from xlsxwriter.utility import xl_col_to_name, xl_range
from xlsxwriter.worksheet import Worksheet

from clustering_assets.contracts import Column, TableContract
from clustering_assets.durable import written_beside
from clustering_assets.reports.data_dictionary import DICTIONARY_HEADER, dictionary_row

MAX_ROWS = 1_048_575
"""Data rows that fit under the header of one sheet."""

MAX_TEXT = 32_767
"""UTF-16 code units that fit into a cell."""

CUT_MARK = " …[cut]"
"""End of a text that was too long for a cell."""

_TEXT = pa.large_string()
_ARROW_TYPES = {"string": _TEXT, "int64": pa.int64(), "float64": pa.float64(), "timestamp": pa.timestamp("us")}
_FIRST_LONG_INTEGER = 10**15
_FIRST_MOMENT, _LAST_MOMENT = datetime(1900, 3, 1), datetime(9999, 12, 31, 23, 59, 59)
_MICROSECONDS_PER_DAY = 86_400_000_000
_DAYS_TO_1970 = 25_569  # from Excel's day 0, 1899-12-30

_ILLEGAL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x{fffe}\x{ffff}]"
_VISIBLE = {code: 0x2400 + code for code in range(32) if code not in (9, 10, 13)} | {0xFFFE: 0xFFFD, 0xFFFF: 0xFFFD}
_ASTRAL = r"[\x{10000}-\x{10ffff}]"  # characters that take two UTF-16 code units
_LOOKS_LIKE_FORMULA = (
    "^[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212]"  # = + - @ in full width too
)
_LOOKS_LIKE_ESCAPE = r"_x[0-9A-Fa-f]{4}_"

_ROWS_AT_A_TIME = 2048
_MOMENT = "%Y%m%d_%H%M%S"
_ROW = b"<row "
_FIXED_DATE = datetime(1980, 1, 1)  # the earliest a zip file can hold; the same table gives the same bytes


@dataclass(frozen=True, slots=True)
class WorkbookFacts:
    """What was written, and how many values a cell could not hold as they were.

    Parameters
    ----------
    path, rows, columns, bytes, sheets
        ``rows`` and ``columns`` of the table, ``bytes`` of the file, ``sheets`` that the rows take.
    non_finite_numbers, long_integers, timestamps_as_text
        Values written as text.
    illegal_texts, cut_texts
        Texts in which characters were replaced, and texts that were cut.
    """

    path: Path
    rows: int
    columns: int
    bytes: int
    sheets: int
    non_finite_numbers: int = 0
    long_integers: int = 0
    timestamps_as_text: int = 0
    illegal_texts: int = 0
    cut_texts: int = 0


_NOTES = {
    "non_finite_numbers": "Numbers that are not finite, written as text",
    "long_integers": "Integers of more than 15 digits, written as text",
    "timestamps_as_text": "Timestamps outside Excel's calendar, written as text",
    "illegal_texts": "Texts in which control characters were replaced by visible ones",
    "cut_texts": f"Texts longer than {MAX_TEXT:,} characters, cut",
}


def exports_of(folder: Path, stem: str, suffix: str = ".xlsx") -> list[Path]:
    """Return the exports with a stem, in the order of their names: the newest last."""
    return sorted(folder.glob(f"{stem}_????????_??????{suffix}"))


def newest_export(folder: Path, stem: str, suffix: str = ".xlsx") -> Path | None:
    """Return the export that was written last, of those with a stem: the last by name."""
    return next(reversed(exports_of(folder, stem, suffix)), None)


def next_export(folder: Path, stem: str, now: datetime, suffix: str = ".xlsx") -> Path:
    """Return where to write an export so that it is the newest by name, even if the clock was set back since the last.

    Its moment is then a second after that of the last.
    """
    newest = newest_export(folder, stem, suffix)
    if newest is not None and newest.name >= export_name(stem, now, suffix):
        now = datetime.strptime(newest.stem.removeprefix(f"{stem}_"), _MOMENT) + timedelta(seconds=1)
    return folder / export_name(stem, now, suffix)


def export_name(stem: str, moment: datetime, suffix: str = ".xlsx") -> str:
    """Name an export ``<stem>_<UTC YYYYMMDD_HHMMSS>.xlsx``; a naive moment is UTC."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return f"{stem}_{moment:{_MOMENT}}{suffix}"


def number_format(column: Column) -> str:
    """Excel number format of a column, by type and unit; it changes what is shown, never the value."""
    if column.type == "timestamp":
        return "yyyy-mm-dd hh:mm:ss"
    if column.type == "int64":
        return "#,##0" if column.unit else "0"
    if column.type == "float64":
        if column.unit == "share":
            return "0.00%"
        return "0.000" if column.unit in ("", "ratio", "index", "difference", "correlation") else "#,##0.00"
    return "General"


def write_workbook(
    path: Path,
    contract: TableContract,
    rows: pa.Table | Iterable[pa.RecordBatch],
    *,
    rows_per_sheet: int = MAX_ROWS,
) -> WorkbookFacts:
    """Write a table as an Excel workbook: its rows, and the data dictionary of its contract on the last sheet.

    The file is written beside its final name and renamed, so that an interrupted write leaves what was there before.
    The same table gives the same bytes.

    Parameters
    ----------
    path
        The workbook; replaced if it exists.
    contract
        Names, order, types and descriptions of the columns.
    rows
        A table with the columns of the contract, in any order.
    rows_per_sheet
        Rows after which another sheet begins.

    Raises
    ------
    CannotWrite
        If the disk is full or the folder cannot be written.
    ValueError
        If the columns are not those of the contract, or a value is not of its column's type.
    """
    table = conform(rows, contract)
    counts: Counter[str] = Counter()
    cells = fit(table, counts)
    sheet_count = max(1, -(-table.num_rows // rows_per_sheet))
    with written_beside(path) as beside:
        with beside.open("xb") as file:
            skeleton = _skeleton(contract, table, sheet_count, rows_per_sheet, counts)
            sheets = {
                number + 1: SheetRows(cells.slice(number * rows_per_sheet, rows_per_sheet), 2)
                for number in range(sheet_count)
            }
            write_package(file, skeleton, sheets)
        size = beside.stat().st_size
    return WorkbookFacts(path, table.num_rows, table.num_columns, size, sheet_count, **counts)


def count_rows(path: Path) -> int:
    """Count the rows of the table that a workbook holds, whole or not: the headers and the dictionary aside."""
    rows = 0
    with zipfile.ZipFile(path) as package:
        sheets = [name for name in package.namelist() if name.startswith("xl/worksheets/sheet")]
        for number in range(1, len(sheets)):  # the last one is the dictionary
            tail = b""
            with package.open(f"xl/worksheets/sheet{number}.xml") as sheet:
                while chunk := sheet.read(1 << 20):
                    rows += (tail + chunk).count(_ROW)
                    tail = chunk[1 - len(_ROW) :]
    return rows - (len(sheets) - 1)


def conform(rows: pa.Table | Iterable[pa.RecordBatch], contract: TableContract) -> pa.Table:
    """Give a table the order and the types of its contract; raise ValueError where it has other columns or values."""
    schema = pa.schema([(column.name, _ARROW_TYPES[column.type]) for column in contract.columns])
    if not isinstance(rows, pa.Table):
        batches = list(rows)
        rows = pa.Table.from_batches(batches) if batches else schema.empty_table()
    if sorted(rows.column_names) != sorted(contract.column_names):
        differing = sorted(set(rows.column_names) ^ set(contract.column_names))
        raise ValueError(f"{contract.qualified_name}: columns {differing} are missing, unknown or repeated")
    columns = [
        # Nanoseconds may go, digits of a number may not.
        rows.column(field.name).cast(field.type, safe=not pa.types.is_timestamp(field.type))
        for field in schema
    ]
    return pa.table(columns, schema=schema).combine_chunks()


def fit(table: pa.Table, counts: Counter[str]) -> pa.Table:
    """Split each column into numbers and texts a cell can hold (two columns), and count what had to change."""
    parts: list[pa.ChunkedArray] = []
    for column in table.columns:
        if pa.types.is_large_string(column.type):
            parts += [pa.nulls(len(column), pa.float64()), _fit_text(column.combine_chunks(), counts)]
            continue
        numbers, kind = column, "non_finite_numbers"
        if pa.types.is_integer(column.type):
            kind = "long_integers"
            fits = pc.and_(pc.less(column, _FIRST_LONG_INTEGER), pc.greater(column, -_FIRST_LONG_INTEGER))
        elif pa.types.is_timestamp(column.type):
            kind = "timestamps_as_text"
            fits = pc.and_(
                pc.greater_equal(column, pa.scalar(_FIRST_MOMENT, column.type)),
                pc.less_equal(column, pa.scalar(_LAST_MOMENT, column.type)),
            )
            microseconds = column.cast(pa.int64()).cast(pa.float64(), safe=False)
            numbers = pc.divide(pc.add(microseconds, _DAYS_TO_1970 * _MICROSECONDS_PER_DAY), _MICROSECONDS_PER_DAY)
        else:
            fits = pc.is_finite(column)
        misfits = pc.sum(pc.invert(fits)).as_py() or 0
        if misfits:
            counts[kind] += misfits
            parts += [pc.if_else(fits, numbers, None), pc.if_else(fits, None, column.cast(_TEXT))]
        else:
            parts += [numbers, pa.nulls(len(column), _TEXT)]
    return pa.table(parts, names=[str(i) for i in range(len(parts))])


def _fit_text(texts: pa.Array, counts: Counter[str]) -> pa.Array:
    illegal = pc.match_substring_regex(texts, _ILLEGAL)
    texts = _replace_where(illegal, texts, lambda text: text.translate(_VISIBLE))
    code_units = pc.add(pc.utf8_length(texts), pc.count_substring_regex(texts, _ASTRAL))
    long = pc.greater(code_units, MAX_TEXT)
    for kind, mask in (("illegal_texts", illegal), ("cut_texts", long)):
        if misfits := pc.sum(mask).as_py():
            counts[kind] += misfits
    return _replace_where(long, texts, _cut)


def fit_text(text: str) -> str:
    """Make a text one that a cell can hold: as `fit` does for columns."""
    text = text.translate(_VISIBLE)
    return text if len(text.encode("utf-16-le")) // 2 <= MAX_TEXT else _cut(text)


def looks_like_formula(text: str) -> bool:
    """Whether a text would become a formula when somebody edits its cell, unless it is quoted."""
    return re.match(_LOOKS_LIKE_FORMULA, text) is not None


def _cut(text: str) -> str:
    room = MAX_TEXT - len(CUT_MARK)
    return text.encode("utf-16-le")[: 2 * room].decode("utf-16-le", errors="ignore") + CUT_MARK


def _replace_where(mask: pa.Array, texts: pa.Array, replace: Callable[[str], str]) -> pa.Array:
    if not pc.any(mask).as_py():
        return texts
    replaced = [replace(text) for text in texts.filter(mask).to_pylist()]
    return pc.replace_with_mask(texts, pc.fill_null(mask, False), pa.array(replaced, _TEXT))


def _skeleton(
    contract: TableContract, table: pa.Table, sheet_count: int, rows_per_sheet: int, counts: Counter[str]
) -> zipfile.ZipFile:
    """Make the workbook; instead of data it has a row 2 with the style of each column and, last, of quoted text."""
    content = BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True}) as book:
        book.set_properties(
            {"title": contract.qualified_name, "subject": contract.grain, "comments": contract.description}
            | {"created": _FIXED_DATE}
        )
        header = book.add_format({"bold": True, "bg_color": "#DCE6F1", "bottom": 1})
        styles = [book.add_format({"num_format": number_format(column)}) for column in contract.columns]
        quoted = book.add_format({"quote_prefix": True})
        for number in range(sheet_count):
            sheet = book.add_worksheet(contract.name[:25] + (f" ({number + 1})" if number else ""))
            last_row = min(table.num_rows - number * rows_per_sheet, rows_per_sheet)
            for position, column in enumerate(contract.columns):
                sheet.write_string(0, position, column.name, header)
                if column.description:
                    note = column.description + (f" [{column.unit}]" if column.unit else "")
                    sheet.write_comment(0, position, note, {"width": 260, "height": 22 + 16 * (len(note) // 36 + 1)})
                sheet.write_blank(1, position, None, styles[position])
                sheet.set_column(position, position, _width(column, table.column(position)))
            sheet.write_blank(1, len(styles), None, quoted)
            sheet.freeze_panes(1, 1)
            sheet.autofilter(0, 0, last_row, len(styles) - 1)
            sheet.ignore_errors({"number_stored_as_text": xl_range(1, 0, MAX_ROWS, len(styles) - 1)})
        _add_dictionary(book.add_worksheet("Data dictionary"), contract, counts, header, book)
    return zipfile.ZipFile(content)


def _width(column: Column, values: pa.ChunkedArray) -> int:
    widest = 0
    if column.type == "string":
        widest = pc.max(pc.utf8_length(values)).as_py() or 0
    elif column.type == "timestamp":
        widest = 17
    return min(max(widest, len(column.name) + 2) + 2, 60)  # room for the filter's button


def _add_dictionary(
    sheet: Worksheet,
    contract: TableContract,
    counts: Counter[str],
    header: xlsxwriter.format.Format,
    book: xlsxwriter.Workbook,
) -> None:
    title = book.add_format({"bold": True, "font_size": 14})
    wrapped = book.add_format({"text_wrap": True, "valign": "top"})
    notes = [f"{note}: {counts[kind]:,}" for kind, note in _NOTES.items() if counts[kind]]
    introduction = [contract.description, f"{contract.grain}; key: {', '.join(contract.key)}.", *notes]
    sheet.write_string(0, 0, contract.qualified_name, title)
    for row, text in enumerate(introduction, start=1):
        sheet.write_string(row, 0, text)
    top = len(introduction) + 2
    for position, (name, width) in enumerate(zip(DICTIONARY_HEADER, (36, 11, 12, 11, 48, 32, 90), strict=True)):
        sheet.write_string(top, position, name, header)
        sheet.set_column(position, position, width)
    for row, column in enumerate(contract.columns, start=top + 1):
        for position, text in enumerate(dictionary_row(column)):
            sheet.write_string(row, position, text, wrapped)
    sheet.freeze_panes(top + 1, 1)
    sheet.autofilter(top, 0, top + len(contract.columns), len(DICTIONARY_HEADER) - 1)


@dataclass(frozen=True, slots=True)
class SheetRows:
    """Rows of a sheet.

    Parameters
    ----------
    cells
        As `fit` gives them.
    first
        Row of the sheet that the first of them takes, from 1.
    styled_texts
        Whether texts have the style of their column, as numbers do.
    """

    cells: pa.Table
    first: int
    styled_texts: bool = False


def write_package(file: IO[bytes], skeleton: zipfile.ZipFile, sheets: Mapping[int, SheetRows]) -> None:
    """Copy the skeleton, with the rows of tables in the place of placeholder rows.

    Parameters
    ----------
    file
        What to write to.
    skeleton
        A workbook. In the first of the rows to be, it has cells with the style of each column and, last, of quoted
        text.
    sheets
        Rows by the number of their sheet, from 1.
    """
    parts = {f"xl/worksheets/sheet{number}.xml": rows for number, rows in sheets.items()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=2) as package:
        for name in skeleton.namelist():
            if name not in parts:
                with package.open(name, "w") as part:
                    part.write(skeleton.read(name))
                continue
            rows = parts[name]
            pattern = f'(<row r="{rows.first}".*?</row>)'
            before, placeholder, after = re.split(pattern, skeleton.read(name).decode(), maxsplit=1)
            *styles, quoted = re.findall(r' s="(\d+)"', placeholder)
            corner = f"{xl_col_to_name(len(styles) - 1)}{rows.first - 1 + rows.cells.num_rows}"
            before = re.sub('<dimension ref="[^"]*"/>', f'<dimension ref="A1:{corner}"/>', before)
            upper_bound = 96 * rows.cells.num_rows * len(styles) + 7 * rows.cells.nbytes
            with package.open(name, "w", force_zip64=upper_bound > zipfile.ZIP64_LIMIT) as part:
                part.write(before.encode())
                for chunk in _rows_as_xml(rows, styles, quoted):
                    part.write(chunk.encode())
                part.write(after.encode())


def _rows_as_xml(rows: SheetRows, styles: Sequence[str], quoted: str) -> Iterator[str]:
    """Render the rows as SpreadsheetML. A null has no cell; an empty text has one."""
    first = rows.first
    for batch in rows.cells.to_batches(max_chunksize=_ROWS_AT_A_TIME):
        row_numbers = pa.array(range(first, first + batch.num_rows)).cast(_TEXT)
        first += batch.num_rows
        cells = []
        for position, style in enumerate(styles):
            numbers, texts = batch.column(2 * position), batch.column(2 * position + 1)
            start = f'<c r="{xl_col_to_name(position)}'
            if numbers.null_count < len(numbers):
                cells.append(_join(start, row_numbers, f'" s="{style}"><v>', numbers.cast(_TEXT), "</v></c>"))
            if texts.null_count < len(texts):
                # A quoted text stays text when somebody edits the cell.
                plain = f' s="{style}"' if rows.styled_texts else ""
                style_of_text = pc.if_else(
                    pc.match_substring_regex(texts, _LOOKS_LIKE_FORMULA), f' s="{quoted}"', plain
                )
                opening = '"', style_of_text, ' t="inlineStr"><is><t xml:space="preserve">'
                cells.append(_join(start, row_numbers, *opening, _escape(texts), "</t></is></c>"))
        opened = _join('<row r="', row_numbers, '">')
        yield "".join(_join(opened, *cells, "</row>", null_handling="skip").to_pylist())


def _join(*parts: pa.Array | str, null_handling: str = "emit_null") -> pa.Array:
    typed = [pa.scalar(part, _TEXT) if isinstance(part, str) else part.cast(_TEXT) for part in parts]
    return pc.binary_join_element_wise(*typed, pa.scalar("", _TEXT), null_handling=null_handling)


def _escape(texts: pa.Array) -> pa.Array:
    # _x0041_ in a cell means A; to stay as it is, its underscore has to be written as _x005F_.
    escapes = pc.match_substring_regex(texts, _LOOKS_LIKE_ESCAPE)
    texts = _replace_where(escapes, texts, lambda text: re.sub(f"_(?={_LOOKS_LIKE_ESCAPE[1:]})", "_x005F_", text))
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;")):
        texts = pc.replace_substring(texts, character, entity)
    return texts
