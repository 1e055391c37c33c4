"""Writing a made-up shop to files: CSV, gzipped CSV, Parquet or XLSX, whole or one file per year.

A block of order lines at a time: beyond the orders themselves (some 80 bytes each at the peak, while they are drawn),
memory does not grow with the number of lines.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xlsxwriter
import yaml

from clustering_assets.synthetic.dirt import DIRT, DIRT_CODES, kinds_for, plant
from clustering_assets.synthetic.layouts import LAYOUTS, Layout, text_dirt
from clustering_assets.synthetic.orders import SyntheticOrders, moments

FORMATS = ("csv", "csv.gz", "parquet", "xlsx")
_EXCEL_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Parameters
    ----------
    files
        The files, ``source.yaml`` left out, in the order of their names.
    rows
        Rows written to all files, headers aside.
    dirt
        Rows per kind of dirt.
    accounting
        What a careful reader makes of them: ``kept``, ``rejected``, ``superseded`` and ``merged`` add up to ``rows``.
    """

    files: tuple[Path, ...]
    rows: int
    dirt: dict[str, int]
    accounting: dict[str, int]


class _Writer(Protocol):
    def write(self, table: pa.Table, dirt: pa.Array) -> None: ...

    def close(self) -> None: ...


def write(
    orders: SyntheticOrders,
    folder: Path,
    layout: str = "order_lines",
    file_format: str = "csv",
    *,
    files_by_year: bool = False,
    dirty_share: float = 0.0,
    rows_per_sheet: int = _EXCEL_ROWS,
) -> Written:
    """Write the order lines in a source layout.

    Parameters
    ----------
    orders
        The shop.
    folder
        Where the files go: ``<layout>.<format>``, or ``<layout>_<year>.<format>``; made if missing. The layout
        ``mapped`` also gets its ``source.yaml``.
    layout
        A key of ``LAYOUTS``.
    file_format
        One of ``FORMATS``. Parquet has typed columns and cannot hold the dirt that needs text.
    files_by_year
        One file per calendar year of the row's date.
    dirty_share
        Dirty rows planted per clean row, 0 to 0.5.
    rows_per_sheet
        Rows of an XLSX sheet before the next one starts.

    Returns
    -------
    Written

    Raises
    ------
    ValueError
        If the layout or the format is unknown or the share is out of range.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
    if file_format not in FORMATS:
        raise ValueError(f"unknown format {file_format!r}; known: {', '.join(FORMATS)}")
    if not 0 <= dirty_share <= 0.5:
        raise ValueError("the share of dirty rows must be between 0 and 0.5")
    folder.mkdir(parents=True, exist_ok=True)
    arrangement = LAYOUTS[layout]
    if arrangement.mapping:
        text = yaml.safe_dump(dict(arrangement.mapping), sort_keys=False, allow_unicode=True)
        (folder / "source.yaml").write_text(text, encoding="utf-8")
    writers: dict[str, _Writer] = {}
    dirt: Counter[str] = Counter()
    rows = 0
    with ExitStack() as stack:
        for year, table, codes in _tables(orders, layout, file_format, files_by_year, dirty_share):
            name = f"{layout}{year}.{file_format}"
            if name not in writers:
                writers[name] = _open(folder / name, file_format, table.schema, arrangement, rows_per_sheet)
                stack.callback(writers[name].close)
            writers[name].write(table, codes)
            rows += table.num_rows
            names = np.array([*DIRT, "none"])[codes.to_numpy()]
            dirt.update(names.tolist())
    counts = {name: dirt[name] for name in kinds_for(layout, file_format)} if dirty_share else {}
    return Written(
        files=tuple(folder / name for name in sorted(writers)),
        rows=rows,
        dirt=counts,
        accounting=_accounting(rows, int(orders.order_lines.sum()), counts),
    )


def _accounting(rows: int, lines: int, dirt: dict[str, int]) -> dict[str, int]:
    fate = Counter({"kept": lines, "rejected": 0, "superseded": 0, "merged": 0})
    for name, number in dirt.items():
        fate[DIRT[name].outcome] += number
    del fate["clean"]
    # What is left over are the cancellations of online_retail, which merge into their purchases.
    fate["merged"] += rows - fate.total()
    return dict(fate)


def _tables(
    orders: SyntheticOrders, layout: str, file_format: str, files_by_year: bool, dirty_share: float
) -> Iterator[tuple[str, pa.Table, pa.Array]]:
    """End of the file's name, table, and the kind of dirt in each row (index into ``DIRT``, -1 for none)."""
    kinds = kinds_for(layout, file_format)
    arrangement = LAYOUTS[layout]
    for block, clean in enumerate(orders.blocks()):
        # The random numbers of the dirt are apart from those of the lines: dirt changes no clean line.
        rng = np.random.default_rng([orders.seed, 1 + block, 1])
        rows = arrangement.arrange(plant(clean, dirty_share, kinds, rng))
        table, dirt = arrangement.columns(orders, rows), pa.array(rows["dirt"])
        if not files_by_year:
            yield "", table, dirt
            continue
        years = pc.year(moments(rows["second"]))
        for year in sorted(pc.unique(years).to_pylist()):
            mine = pc.equal(years, year)
            yield f"_{year}", table.filter(mine), dirt.filter(mine)


class _CsvFile:
    """Rows are joined to lines column by column, which holds rows with a wrong number of fields and costs no loop."""

    def __init__(self, path: Path, schema: pa.Schema, layout: Layout, compressed: bool) -> None:
        self._layout = layout
        self._raw = path.open("wb")
        # No name and no time in the gzip header: the same rows give the same bytes.
        self._out = cast(IO[bytes], gzip.GzipFile("", "wb", 9, self._raw, mtime=0) if compressed else self._raw)
        self._out.write((layout.delimiter.join(schema.names) + "\n").encode())

    def write(self, table: pa.Table, dirt: pa.Array) -> None:
        fields = [self._text(column) for column in table.columns]
        for name, (column, text) in text_dirt(self._layout).items():
            place = table.column_names.index(column)
            fields[place] = pc.if_else(pc.equal(dirt, DIRT_CODES[name]), text, fields[place])
        rows = self._join(fields)
        short, long = pc.equal(dirt, DIRT_CODES["too_few_fields"]), pc.equal(dirt, DIRT_CODES["too_many_fields"])
        rows = pc.if_else(long, self._join([rows, "", "?"]), rows)
        rows = pc.replace_with_mask(rows, short, self._join([field.filter(short) for field in fields[:5]]))
        text = pc.binary_join_element_wise(rows, "", "\n")
        # Strings of an array stand one after the other in memory: that buffer is the text of the file.
        ends = np.frombuffer(text.buffers()[1], np.int32)[text.offset : text.offset + len(text) + 1]
        self._out.write(memoryview(text.buffers()[2])[ends[0] : ends[-1]])

    def close(self) -> None:
        self._out.close()
        self._raw.close()

    def _join(self, fields: list[Any]) -> pa.Array:
        return pc.binary_join_element_wise(
            *fields, self._layout.delimiter, null_handling="replace", null_replacement=""
        )

    def _text(self, column: pa.ChunkedArray) -> pa.Array:
        values = column.combine_chunks()
        if pa.types.is_decimal(values.type):
            return pc.replace_substring(values.cast(pa.string()), ".", self._layout.decimal_mark)
        if self._layout.date_format and pa.types.is_temporal(values.type):
            return pc.strftime(values, self._layout.date_format)
        if not pa.types.is_string(values.type):
            return values.cast(pa.string())
        needs_quotes = pc.match_substring(values, self._layout.delimiter)
        if not pc.any(needs_quotes).as_py():
            return values
        return pc.if_else(needs_quotes, pc.binary_join_element_wise('"', values, '"', ""), values)


class _ParquetFile:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._out = pq.ParquetWriter(path, schema, compression="zstd")

    def write(self, table: pa.Table, dirt: pa.Array) -> None:
        del dirt  # Typed columns hold none of the dirt that is text.
        self._out.write_table(table)

    def close(self) -> None:
        self._out.close()


class _ExcelFile:
    def __init__(self, path: Path, layout: Layout, rows_per_sheet: int) -> None:
        self._layout = layout
        self._rows_per_sheet = rows_per_sheet
        self._book = xlsxwriter.Workbook(
            path, {"constant_memory": True, "default_date_format": "yyyy-mm-dd hh:mm", "strings_to_formulas": False}
        )
        # The time of writing would make every file different.
        self._book.set_properties({"created": datetime(2026, 1, 1)})
        self._sheet: Any = None
        self._next_row = 0

    def write(self, table: pa.Table, dirt: pa.Array) -> None:
        columns = [self._cells(column) for column in table.columns]
        for name, (column, text) in text_dirt(self._layout).items():
            for row in np.flatnonzero(dirt.to_numpy() == DIRT_CODES[name]):
                columns[table.column_names.index(column)][row] = text
        for cells in zip(*columns, strict=True):
            if self._sheet is None or self._next_row > self._rows_per_sheet:
                self._sheet = self._book.add_worksheet()
                self._sheet.write_row(0, 0, table.column_names)
                self._next_row = 1
            self._sheet.write_row(self._next_row, 0, cells)
            self._next_row += 1

    def close(self) -> None:
        self._book.close()

    @staticmethod
    def _cells(column: pa.ChunkedArray) -> list[Any]:
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        return list(column.to_pylist())


def _open(path: Path, file_format: str, schema: pa.Schema, layout: Layout, rows_per_sheet: int) -> _Writer:
    match file_format:
        case "parquet":
            return _ParquetFile(path, schema)
        case "xlsx":
            return _ExcelFile(path, layout, rows_per_sheet)
        case _:
            return _CsvFile(path, schema, layout, compressed=file_format.endswith(".gz"))
