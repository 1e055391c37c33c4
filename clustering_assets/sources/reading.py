"""Reading: a source file becomes one raw table of text per sheet, in DuckDB, as it stands in the file.

CSV and Parquet are read by DuckDB itself, in parallel and within its memory limit; a workbook by a reader written in
Rust, column by column. Nothing is interpreted here but the shape: encoding, separator, header, and rows that are none.
"""

from __future__ import annotations

import codecs
import csv
import glob
import gzip
import io
import logging
import re
import shutil
import tempfile
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

import duckdb
import fastexcel
import pyarrow as pa
import pyarrow.parquet as pq

from clustering_assets.contracts import ORDER_LINES
from clustering_assets.sources.bounds import check_rows, check_workbook
from clustering_assets.sources.files import FoundFile, Limits, UnusableFile, in_short, too_large
from clustering_assets.sources.layout import CANONICAL, Layout, recognise
from clustering_assets.warehouse import is_disk_full

RAW_TABLE = "raw_rows"
RAW_REJECTS = "raw_rejects"
NUMBERED_ROWS = "numbered_rows"

_HEAD = 1 << 20
_TAB = "\t"
_SEPARATORS = {",": "", ";": "separated by semicolons", _TAB: "separated by tabs", "|": "separated by bars"}
_ENCODINGS = {"ascii": "", "utf-8": "", "utf-16": "UTF-16", "cp1252": "Latin-1 (Windows-1252)"}
_HEADER_SEARCH = 20
_LINE_ENDS = re.compile(r"[\r\n]+")
_ENDS_IN_TEXT = rf"len(regexp_extract_all(text, '{_LINE_ENDS.pattern}'))"
_MIXED = "with line ends of several kinds"
_EMPTY = "is empty: export it again or delete it"
_DAMAGE = (duckdb.Error, fastexcel.FastExcelError, pa.ArrowException)
_MAGIC = {".parquet": b"PAR1", ".xlsx": b"PK\x03\x04"}

logging.getLogger("fastexcel").setLevel(logging.ERROR)  # it tells of every column without values


@dataclass(frozen=True, slots=True)
class RawRows:
    """One sheet of a file as text, staged in the temporary view ``numbered_rows``.

    The view has ``source_row``, the canonical columns, null where the source has none, and ``raw_text``: all values
    joined by the separator, where a row may have to be refused. The temporary table ``raw_rejects`` has (source_row,
    raw_text, problem) of what could not be parsed as a row.

    Parameters
    ----------
    source
        Name in ``bronze``: the file, with ``#`` and the sheet for a workbook.
    layout
        The layout that the header has.
    separator
        What separates the values in the file, and joins them where the text of a row is shown.
    rows, unparsable
        Rows staged and rows set aside.
    how
        How it was read, in words, where that was not plain.
    typed
        Canonical columns that are no text in the source: no convention has to be found out for them.
    """

    source: str
    layout: Layout
    separator: str
    rows: int
    unparsable: int = 0
    how: str = ""
    typed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class UnusableSheet:
    """A sheet that cannot be used, of a workbook that has others; ``source`` as in ``RawRows``."""

    source: str
    problem: UnusableFile


@dataclass(frozen=True, slots=True)
class _Dialect:
    header: tuple[str, ...]
    layout: Layout
    separator: str = _TAB
    encoding: str = ""
    is_strict: bool = True


def read_rows(
    connection: duckdb.DuckDBPyConnection, file: FoundFile, layouts: Sequence[Layout], limits: Limits
) -> Generator[RawRows | UnusableSheet, None, None]:
    """Stage the sheets of a file one after the other; each is gone when the next one is asked for.

    Raises
    ------
    UnusableFile
        If nothing of the file can be used.
    """
    if file.size == 0:
        raise UnusableFile(_EMPTY)
    try:
        match file.ending:
            case ".parquet":
                _check_magic(file)
                yield _read_parquet(connection, file, layouts, limits.max_expanded)
            case ".xlsx":
                _check_magic(file)
                check_workbook(file.path, limits.max_expanded)
                yield from _read_workbook(connection, file, layouts)
            case _:
                yield _read_csv(connection, file, layouts)
    finally:
        _drop_staged(connection)


def layout_of(file: FoundFile, layouts: Sequence[Layout]) -> Layout | None:
    """Recognise the layout of a file from its header alone; None for a workbook, which would have to be read for that.

    Raises
    ------
    UnusableFile
        If it has none, or cannot be read.
    """
    if file.size == 0:
        raise UnusableFile(_EMPTY)
    try:
        match file.ending:
            case ".parquet":
                _check_magic(file)
                with _damage_named("Parquet file"):
                    return recognise(pq.read_schema(file.path).names, layouts)
            case ".xlsx":
                _check_magic(file)
                return None
            case _:
                return _dialect(_head(file), layouts).layout
    except (OSError, EOFError, zlib.error) as error:
        raise UnusableFile(f"cannot be read ({in_short(error)}): export or copy it again") from error


def _check_magic(file: FoundFile) -> None:
    with file.path.open("rb") as stream:
        if stream.read(4) != _MAGIC[str(file.ending)]:
            raise UnusableFile(f"is called {file.ending} but is no such file: export it again in that format")


def _drop_staged(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"drop view if exists {NUMBERED_ROWS}")
    for table in (RAW_TABLE, RAW_REJECTS, "reject_errors", "reject_scans"):
        connection.execute(f"drop table if exists {table}")


@contextmanager
def _damage_named(what: str) -> Iterator[None]:
    """Say what it is that a reader stumbled over; to run out of memory or disk is no damage."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except BaseException as error:
        # where the reader of workbooks gives up, it raises what is no Exception and cannot be imported
        is_damage = isinstance(error, _DAMAGE) and not is_disk_full(error)
        if is_damage or type(error).__name__ == "PanicException":
            raise UnusableFile(f"is a damaged {what} ({in_short(error)}): export or copy it again") from error
        raise


def _stage(
    connection: duckdb.DuckDBPyConnection, rows: str, parameters: Mapping[str, object], dialect: _Dialect
) -> int:
    """Stage rows that have the columns ``c0``, ``c1``, ... by their canonical names; return how many.

    Of the columns that the layout does not read, only the text of rows that may be refused is kept, so that a file is
    read once and most of it is not written down.
    """
    _drop_staged(connection)
    positions = dialect.layout.positions(dialect.header)
    read = ", ".join(f"c{positions[name]} as {name}" for name in CANONICAL if name in positions)
    everything = ", ".join(f"coalesce(c{i}, '')" for i in range(len(dialect.header)))
    # Text that starts with a blank may be nothing else; to trim it costs more than to keep the row's text in vain.
    unsure = " or ".join(f"coalesce({name} < '!', true)" for name in ORDER_LINES.key)
    needed = "true" if dialect.layout.refine else unsure
    connection.execute(
        f"""create temp table {RAW_TABLE} as
            select {read}, case when {needed} then concat_ws($separator, {everything}) end as raw_text from ({rows})""",
        {**parameters, "separator": dialect.separator},
    )
    return _one(connection, f"select count(*) from {RAW_TABLE}")


def _one(connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, object] | None = None) -> int:
    row = connection.execute(query, parameters).fetchone()
    return int(row[0] or 0) if row else 0


def _number(connection: duckdb.DuckDBPyConnection, dialect: _Dialect, first_row: int, condition: str = "true") -> None:
    """Number the staged rows as they stand in the source; rows that were set aside keep their places between them.

    Blank lines of a CSV file are not counted.
    """
    connection.execute(
        f"create temp table if not exists {RAW_REJECTS} (source_row bigint, raw_text varchar, problem varchar)"
    )
    if _one(connection, f"select count(*) from {RAW_REJECTS}"):
        source_row = f"r.rowid + {first_row} + coalesce(p.passed, 0)"
        rejects = f"""asof left join (
            select kept_before, max(passed) as passed from (
                select row_number() over (order by source_row) as passed,
                       source_row - {first_row} - passed + 1 as kept_before
                from {RAW_REJECTS})
            group by kept_before) p on r.rowid >= p.kept_before"""
    else:
        source_row, rejects = f"r.rowid + {first_row}", ""
    found = dialect.layout.positions(dialect.header)
    columns = ", ".join(name if name in found else f"null::varchar as {name}" for name in CANONICAL)
    connection.execute(
        f"""create temp view {NUMBERED_ROWS} as
            select {source_row} as source_row, {columns}, r.raw_text from {RAW_TABLE} r {rejects} where {condition}"""
    )


# ---------------------------------------------------------------------------------------------------------------- CSV


def _read_csv(connection: duckdb.DuckDBPyConnection, file: FoundFile, layouts: Sequence[Layout]) -> RawRows:
    dialect = _dialect(_head(file), layouts)
    with _damage_named("CSV file"):
        try:
            dialect, rows, unparsable = _stage_decoded(connection, file, dialect)
        except duckdb.InvalidInputException:
            dialect, rows, unparsable = _stage_decoded(connection, file, replace(dialect, is_strict=False))
    if rows + unparsable == 0:
        raise UnusableFile("has a header and no rows: nothing to load; check the export or delete the file")
    _number(connection, dialect, first_row=2)
    said = (_SEPARATORS[dialect.separator], _ENCODINGS[dialect.encoding], "" if dialect.is_strict else _MIXED)
    how = ", ".join(filter(None, said))
    return RawRows(file.name, dialect.layout, dialect.separator, rows, unparsable, how)


def _stage_decoded(
    connection: duckdb.DuckDBPyConnection, file: FoundFile, dialect: _Dialect
) -> tuple[_Dialect, int, int]:
    """Stage a file in the encoding that it has, which may show only when it is read."""
    if dialect.encoding in ("ascii", "utf-8"):
        staged = _stage_csv(connection, file.path, dialect)
        if dialect.encoding == "utf-8" or not _has_other_encoding(connection):
            return dialect, *staged
        dialect = replace(dialect, encoding="cp1252")
    return dialect, *_stage_transcoded(connection, file, dialect)


def _opened(file: FoundFile) -> BinaryIO:
    return cast(BinaryIO, gzip.open(file.path)) if file.ending == ".csv.gz" else file.path.open("rb")


def _head(file: FoundFile) -> bytes:
    with _opened(file) as stream:
        return stream.read(_HEAD)


def _encoding(head: bytes) -> str:
    """``utf-8`` has proven to be it: what is not so further on is damage. ``ascii`` may prove to be something else."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "ascii" if text.isascii() else "utf-8"


def _dialect(head: bytes, layouts: Sequence[Layout]) -> _Dialect:
    encoding = _encoding(head)
    codec = "utf-8-sig" if encoding in ("ascii", "utf-8") else encoding
    text = codecs.getincrementaldecoder(codec)(errors="replace").decode(head)
    if "\0" in text:
        raise UnusableFile("is called .csv but is no text: export it again as CSV")
    if not text.strip():
        raise UnusableFile(_EMPTY)
    headers = {separator: _header(text, separator) for separator in _SEPARATORS}
    problems = []
    for separator, header in sorted(headers.items(), key=lambda item: -len(item[1])):
        try:
            return _Dialect(header, recognise(header, layouts), separator, encoding)
        except UnusableFile as problem:
            problems.append(problem)
    raise problems[0]


def _header(text: str, separator: str) -> tuple[str, ...]:
    try:
        return tuple(next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), ()))
    except csv.Error as error:
        raise UnusableFile(f"has no readable header ({error}): export it again as CSV") from error


def _stage_csv(connection: duckdb.DuckDBPyConnection, path: Path, dialect: _Dialect) -> tuple[int, int]:
    columns = ", ".join(f"'c{position}': 'VARCHAR'" for position in range(len(dialect.header)))
    compression = "gzip" if path.name.lower().endswith(".gz") else "none"
    with cast(BinaryIO, gzip.open(path)) if compression == "gzip" else path.open("rb") as stream:
        lines = check_rows(stream, dialect.separator, len(dialect.header))
    source = f"""read_csv(
        $path, delim = $separator, quote = '"', escape = '"', header = true, columns = {{{columns}}},
        auto_detect = false, store_rejects = true, strict_mode = {dialect.is_strict},
        compression = '{compression}', hive_partitioning = false)"""
    parameters = {"path": glob.escape(str(path))}
    rows = _stage(connection, f"select * from {source}", parameters, dialect)
    # A row has an error for each field too few or too many: the one at the row's end says how many there are.
    connection.execute(
        f"""create temp table {RAW_REJECTS} as
            select line as source_row, trim(any_value(csv_line), E'\r\n') as raw_text,
                   first(error_message order by if(error_type = 'MISSING COLUMNS', column_idx, -column_idx)) as problem
            from reject_errors group by line"""
    )
    unparsable = _one(connection, f"select count(*) from {RAW_REJECTS}")
    in_header = len(_LINE_ENDS.findall(dialect.separator.join(dialect.header)))
    if (missing := lines - 1 - in_header - rows - unparsable) > 0:
        _check_all_lines_are_in_rows(connection, missing, source, {**parameters, "separator": dialect.separator})
    return rows, unparsable


def _check_all_lines_are_in_rows(
    connection: duckdb.DuckDBPyConnection, missing: int, source: str, parameters: Mapping[str, object]
) -> None:
    """Refuse a file in which lines are neither rows nor inside a value of one.

    A quotation mark that is not closed hides what follows it: to the end of the file in one row that cannot be parsed,
    or in part, where the reader finds its way back on another thread.
    """
    hides = "error_type in ('UNQUOTED VALUE', 'LINE SIZE OVER MAXIMUM')"
    hidden_from = connection.execute(f"select min(line) from reject_errors where {hides}").fetchall()[0][0]
    rejects = f"select any_value(trim(csv_line, E'\r\n')) as text from reject_errors where not {hides} group by line"
    again = source.replace("store_rejects", "ignore_errors")
    values = f"select concat_ws($separator, *columns(*)) as text from {again}"
    missing -= _one(connection, f"select sum({_ENDS_IN_TEXT}) from ({rejects})")
    missing -= _one(connection, f"select sum({_ENDS_IN_TEXT}) from ({values})", parameters)
    if missing > 0:
        where = f" in row {hidden_from}" if hidden_from else ""
        raise UnusableFile(
            f"has a quotation mark{where} that is not closed, which hides {missing:,} lines: close it, or double it "
            "where it is part of a value, and export the file again"
        )


def _has_other_encoding(connection: duckdb.DuckDBPyConnection) -> bool:
    return _one(connection, "select count(*) from reject_errors where error_type = 'INVALID ENCODING'") > 0


def _stage_transcoded(connection: duckdb.DuckDBPyConnection, file: FoundFile, dialect: _Dialect) -> tuple[int, int]:
    """DuckDB reads UTF-8 best (big-endian UTF-16 comes out empty, Windows-1252 not at all): give it UTF-8.

    It comes from a file without a name, which is gone even if the process is killed: customers' data are in it.
    """
    with (
        _opened(file) as source,
        tempfile.TemporaryFile("w", encoding="utf-8", newline="") as target,
    ):
        text = io.TextIOWrapper(source, encoding=dialect.encoding, errors="replace", newline="")
        shutil.copyfileobj(text, target, _HEAD)
        target.flush()
        return _stage_csv(connection, Path(f"/dev/fd/{target.fileno()}"), dialect)


# ------------------------------------------------------------------------------------------------- Parquet, workbooks


def _read_parquet(
    connection: duckdb.DuckDBPyConnection, file: FoundFile, layouts: Sequence[Layout], max_expanded: int
) -> RawRows:
    path = {"path": glob.escape(str(file.path))}
    with _damage_named("Parquet file"):
        source = "read_parquet($path, hive_partitioning = false)"
        # rows without end take next to no place where they are all the same
        (expanded,) = connection.execute(
            """select greatest(sum(total_uncompressed_size), sum(row_group_num_rows::hugeint) * 8)
               from parquet_metadata($path)""",
            path,
        ).fetchall()[0]
        if (expanded or 0) > max_expanded:
            raise too_large(max_expanded)
        columns = connection.execute(f"select * from {source} limit 0", path).description or []
        header = tuple(str(column[0]) for column in columns)
        dialect = _Dialect(header, recognise(header, layouts))
        rows = _stage(connection, f"select {_as_text(columns)} from {source}", path, dialect)
    if rows == 0:
        raise UnusableFile("has no rows: nothing to load; check the export or delete the file")
    _number(connection, dialect, first_row=1)
    return RawRows(file.name, dialect.layout, dialect.separator, rows, typed=_typed(columns, dialect))


def _as_text(columns: Sequence[Sequence[object]]) -> str:
    """Columns as text, named by their place. Numbers with decimals that are none lose them, or ids would end in .0."""
    texts = []
    for position, (name, kind, *_) in enumerate(columns):
        value = '"' + str(name).replace('"', '""') + '"'
        text = f"{value}::varchar"
        if str(kind) in ("DOUBLE", "FLOAT"):
            is_whole = f"{value} = trunc({value}) and abs({value}) < 1e15"
            text = f"case when {is_whole} then {value}::bigint::varchar when not isnan({value}) then {text} end"
        texts.append(f"{text} as c{position}")
    return ", ".join(texts)


def _typed(columns: Sequence[Sequence[object]], dialect: _Dialect) -> frozenset[str]:
    positions = dialect.layout.positions(dialect.header)
    return frozenset(name for name, position in positions.items() if str(columns[position][1]) != "VARCHAR")


def _read_workbook(
    connection: duckdb.DuckDBPyConnection, file: FoundFile, layouts: Sequence[Layout]
) -> Iterator[RawRows | UnusableSheet]:
    with _damage_named("workbook"):
        workbook = fastexcel.read_excel(file.path)
    problems: dict[str, UnusableFile] = {}
    for sheet in workbook.sheet_names:
        try:
            with _damage_named("sheet"):
                rows = _read_sheet(connection, file, workbook, sheet, layouts)
        except UnusableFile as problem:
            problems[sheet] = problem
        else:
            yield rows
    if len(problems) == len(workbook.sheet_names):
        raise UnusableFile("; ".join(f"sheet {sheet!r} {why}" for sheet, why in problems.items()) or "has no sheet")
    yield from (UnusableSheet(f"{file.name}#{sheet}", problem) for sheet, problem in problems.items())


def _read_sheet(
    connection: duckdb.DuckDBPyConnection,
    file: FoundFile,
    workbook: fastexcel.ExcelReader,
    sheet: str,
    layouts: Sequence[Layout],
) -> RawRows:
    top = workbook.load_sheet(sheet, header_row=None, skip_rows=0, n_rows=_HEADER_SEARCH, dtypes="string")
    top_table = pa.table(top.to_arrow()) if top.height else pa.table({})
    header_row, header, layout = _find_header(top_table, layouts)
    body = workbook.load_sheet(sheet, header_row=None, skip_rows=header_row + 1, schema_sample_rows=None)
    dialect = _Dialect(header, layout)
    connection.register("sheet_rows", pa.table(body.to_arrow()) if body.height else top_table.slice(0, 0))
    try:
        columns = connection.execute("select * from sheet_rows limit 0").description or []
        _stage(connection, f"select {_as_text(columns)} from sheet_rows", {}, dialect)
    finally:
        connection.unregister("sheet_rows")
    _number(connection, dialect, first_row=header_row + 2, condition="trim(raw_text, E' \t') <> '' or raw_text is null")
    rows = _one(connection, f"select count(*) from {NUMBERED_ROWS}")
    if not rows:
        raise UnusableFile("has a header and no rows: nothing to load")
    return RawRows(f"{file.name}#{sheet}", layout, dialect.separator, rows, typed=_typed(columns, dialect))


def _find_header(top: pa.Table, layouts: Sequence[Layout]) -> tuple[int, tuple[str, ...], Layout]:
    """Return the first row that has a known layout, as the header: above it there is often a title."""
    problem = UnusableFile("is empty")
    for position, row in enumerate(top.to_pylist()):
        header = tuple("" if value is None else str(value) for value in row.values())
        try:
            return position, header, recognise(header, layouts)
        except UnusableFile as found:
            problem = found if position == 0 else problem
    raise problem
