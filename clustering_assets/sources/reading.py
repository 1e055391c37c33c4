"""Reading: a source file becomes one raw table of text per sheet, in DuckDB, as it stands in the file.

CSV and Parquet are read by DuckDB itself, in parallel and within its memory limit; a workbook by a reader written in
Rust, column by column. Nothing is interpreted here but the shape: encoding, separator, header, and rows that are none.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import fastexcel
import pyarrow as pa

from clustering_assets.contracts import ORDER_LINES
from clustering_assets.sources.files import FoundFile, UnusableFile
from clustering_assets.sources.layout import Layout, recognise

RAW_TABLE = "raw_rows"
RAW_REJECTS = "raw_rejects"
NUMBERED_ROWS = "numbered_rows"

KEY = ORDER_LINES.key

_HEAD = 1 << 20
_SEPARATORS = ",;\t|"
_HEADER_SEARCH = 20
_MAGIC = {"parquet": b"PAR1", "xlsx": b"PK\x03\x04"}


@dataclass(frozen=True, slots=True)
class RawRows:
    """One sheet of a file as text, staged in the temporary view ``numbered_rows``.

    The view has ``source_row``, the columns that the layout reads, named ``c0``, ``c1``, ... by their place in the
    header, and ``raw_text``: all values joined by the separator, where a row may have to be refused. The temporary
    table ``raw_rejects`` has (source_row, raw_text, problem) of what could not be parsed as a row.

    Parameters
    ----------
    source
        Name in ``bronze``: the file, with ``#`` and the sheet for a workbook.
    header
        Column names as the source has them.
    layout
        The layout that the header has.
    separator
        What joins the values again where the text of a row is shown.
    rows, unparsable
        Rows staged and rows set aside.
    how
        How it was read, in words, where that was not plain.
    """

    source: str
    header: tuple[str, ...]
    layout: Layout
    separator: str
    rows: int
    unparsable: int
    how: str


@dataclass(frozen=True, slots=True)
class _Dialect:
    header: tuple[str, ...]
    layout: Layout
    separator: str = ","
    encoding: str = ""


def read_rows(
    connection: duckdb.DuckDBPyConnection, file: FoundFile, layouts: Sequence[Layout]
) -> Iterator[RawRows | tuple[str, UnusableFile]]:
    """Stage the sheets of a file one after the other; each is gone when the next one is asked for.

    A sheet of a workbook that cannot be used is yielded as (name, reason).

    Raises
    ------
    UnusableFile
        If nothing of the file can be used.
    """
    if file.size == 0:
        raise UnusableFile("is empty: export it again or delete it")
    _check_magic(file)
    try:
        if file.format == "csv":
            yield _read_csv(connection, file, layouts)
        elif file.format == "parquet":
            yield _read_parquet(connection, file, layouts)
        else:
            yield from _read_workbook(connection, file, layouts)
    finally:
        _drop_staged(connection)


def _check_magic(file: FoundFile) -> None:
    expected = _MAGIC.get(file.format or "")
    if expected is None:
        return
    with file.path.open("rb") as stream:
        if stream.read(4) != expected:
            raise UnusableFile(f"is called .{file.format} but is no such file: export it again in that format")


def _drop_staged(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"drop view if exists {NUMBERED_ROWS}")
    for table in (RAW_TABLE, RAW_REJECTS, "reject_errors", "reject_scans"):
        connection.execute(f"drop table if exists {table}")


def _stage(
    connection: duckdb.DuckDBPyConnection, rows: str, parameters: Mapping[str, object], dialect: _Dialect
) -> int:
    """Stage rows with the columns ``c0``, ``c1``, ...; of those that the layout does not read, only the text of rows
    that may be refused is kept, so that a file is read once and most of it is not written down.
    """
    _drop_staged(connection)
    positions = dialect.layout.positions(dialect.header)
    everything = ", ".join(f"coalesce(c{i}, '')" for i in range(len(dialect.header)))
    unsure = " or ".join(f"coalesce(trim(c{positions[name]}), '') = ''" for name in KEY)
    raw_text = f"concat_ws($separator, {everything})"
    if dialect.layout.refine is None:
        raw_text = f"case when {unsure} then {raw_text} end"
    read = ", ".join(f"c{i}" for i in sorted(set(positions.values())))
    connection.execute(
        f"create temp table {RAW_TABLE} as select {read}, {raw_text} as raw_text from ({rows})",
        {**parameters, "separator": dialect.separator},
    )
    return _one(connection, f"select count(*) from {RAW_TABLE}")


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _number(connection: duckdb.DuckDBPyConnection, first_row: int) -> None:
    """Number the staged rows as they stand in the source; rows that were set aside keep their places between them."""
    connection.execute(
        f"create temp table if not exists {RAW_REJECTS} (source_row bigint, raw_text varchar, problem varchar)"
    )
    if _one(connection, f"select count(*) from {RAW_REJECTS}"):
        source_row = f"r.rowid + {first_row} + coalesce(p.passed, 0)"
        rejects = f"""asof left join (
            select kept_before, max(passed) as passed from (
                select row_number() over (order by source_row) as passed, source_row - {first_row} - passed + 1 as kept_before
                from {RAW_REJECTS})
            group by kept_before) p on r.rowid >= p.kept_before"""
    else:
        source_row, rejects = f"r.rowid + {first_row}", ""
    connection.execute(
        f"create temp view {NUMBERED_ROWS} as select r.*, {source_row} as source_row from {RAW_TABLE} r {rejects}"
    )


# ---------------------------------------------------------------------------------------------------------------- CSV


def _read_csv(connection: duckdb.DuckDBPyConnection, file: FoundFile, layouts: Sequence[Layout]) -> RawRows:
    dialect = _dialect(_head(file), layouts)
    rows = unparsable = 0
    if dialect.encoding == "utf-8":
        rows, unparsable = _stage_csv(connection, file.path, dialect)
        if _invalid_encoding(connection):
            dialect = replace(dialect, encoding="cp1252")
    if dialect.encoding not in ("utf-8", "utf-8-only"):
        rows, unparsable = _stage_transcoded(connection, file, dialect)
    elif dialect.encoding == "utf-8-only":
        rows, unparsable = _stage_csv(connection, file.path, dialect)
    if rows + unparsable == 0:
        raise UnusableFile("has a header and no rows: nothing to load; check the export or delete the file")
    _number(connection, first_row=2)
    names = {";": "semicolons", "\t": "tabs", "|": "bars"}
    how = [f"separated by {names[dialect.separator]}"] if dialect.separator in names else []
    if not dialect.encoding.startswith("utf-8"):
        how.append({"utf-16": "UTF-16", "cp1252": "Latin-1 (Windows-1252)"}[dialect.encoding])
    return RawRows(
        file.name, dialect.header, dialect.layout, dialect.separator, rows, unparsable, ", ".join(how)
    )


def _head(file: FoundFile) -> bytes:
    opened = gzip.open(file.path) if file.name.lower().endswith(".gz") else file.path.open("rb")
    with opened as stream:
        return stream.read(_HEAD)


def _encoding(head: bytes) -> str:
    """``utf-8-only`` is text that has proven to be UTF-8: what is not so further on is damage, not another encoding."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head:
        raise UnusableFile("is called .csv but is no text: export it again as CSV")
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8" if text.removeprefix("\ufeff").isascii() else "utf-8-only"


def _dialect(head: bytes, layouts: Sequence[Layout]) -> _Dialect:
    encoding = _encoding(head)
    codec = {"utf-8": "utf-8-sig", "utf-8-only": "utf-8-sig"}.get(encoding, encoding)
    text = codecs.getincrementaldecoder(codec)(errors="replace").decode(head)
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
    rows = _stage(
        connection,
        f"""select * from read_csv($path, delim = $separator, quote = '"', escape = '"', header = true, auto_detect = false,
            columns = {{{columns}}}, store_rejects = true, compression = '{compression}')""",
        {"path": str(path)},
        dialect,
    )
    connection.execute(
        f"""create temp table {RAW_REJECTS} as
            select line as source_row, any_value(csv_line) as raw_text, string_agg(distinct error_message, ' ') as problem
            from reject_errors group by line"""
    )
    return rows, _one(connection, f"select count(*) from {RAW_REJECTS}")


def _invalid_encoding(connection: duckdb.DuckDBPyConnection) -> bool:
    return _one(connection, "select count(*) from reject_errors where error_type = 'INVALID ENCODING'") > 0


def _stage_transcoded(
    connection: duckdb.DuckDBPyConnection, file: FoundFile, dialect: _Dialect
) -> tuple[int, int]:
    """DuckDB reads UTF-8 best (big-endian UTF-16 comes out empty, Windows-1252 not at all): give it UTF-8."""
    opened = gzip.open(file.path) if file.name.lower().endswith(".gz") else file.path.open("rb")
    with (
        opened as source,
        tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", suffix=".csv") as target,
    ):
        text = io.TextIOWrapper(source, encoding=dialect.encoding, errors="replace", newline="")  # type: ignore[type-var]
        shutil.copyfileobj(text, target, _HEAD)
        target.flush()
        return _stage_csv(connection, Path(target.name), dialect)


# ------------------------------------------------------------------------------------------------------------ Parquet


def _read_parquet(connection: duckdb.DuckDBPyConnection, file: FoundFile, layouts: Sequence[Layout]) -> RawRows:
    path = str(file.path)
    try:
        header = tuple(
            str(row[0]) for row in connection.execute("select * from read_parquet($1) limit 0", [path]).description or ()
        )
        dialect = _Dialect(header, recognise(header, layouts))
        columns = ", ".join(
            f"{_quoted(name)}::varchar as c{position}" for position, name in enumerate(header)
        )
        rows = _stage(connection, f"select {columns} from read_parquet($path)", {"path": path}, dialect)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise UnusableFile(f"is a damaged Parquet file ({reason}): export or copy it again") from error
    if rows == 0:
        raise UnusableFile("has no rows: nothing to load; check the export or delete the file")
    _number(connection, first_row=1)
    return RawRows(file.name, header, dialect.layout, ",", rows, 0, "")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# ----------------------------------------------------------------------------------------------------------- Workbook


def _read_workbook(
    connection: duckdb.DuckDBPyConnection, file: FoundFile, layouts: Sequence[Layout]
) -> Iterator[RawRows | tuple[str, UnusableFile]]:
    try:
        workbook = fastexcel.read_excel(file.path)
    except fastexcel.FastExcelError as error:
        raise UnusableFile(f"is a damaged workbook ({str(error).splitlines()[0]}): save it again as .xlsx") from error
    problems: list[tuple[str, UnusableFile]] = []
    usable = False
    for sheet in workbook.sheet_names:
        try:
            yield _read_sheet(connection, file, workbook, sheet, layouts)
            usable = True
        except UnusableFile as problem:
            problems.append((f"{file.name}#{sheet}", problem))
    if not usable:
        raise UnusableFile("; ".join(f"sheet {name.rpartition('#')[2]!r} {problem}" for name, problem in problems))
    yield from problems


def _read_sheet(
    connection: duckdb.DuckDBPyConnection,
    file: FoundFile,
    workbook: fastexcel.ExcelReader,
    sheet: str,
    layouts: Sequence[Layout],
) -> RawRows:
    try:
        top = workbook.load_sheet(sheet, header_row=None, n_rows=_HEADER_SEARCH, dtypes="string")
        header_row, header, layout = _find_header(pa.table(top.to_arrow()) if top.height else None, layouts)
        body = workbook.load_sheet(
            sheet, header_row=None, skip_rows=header_row + 1, schema_sample_rows=None, dtype_coercion="coerce"
        )
        table = pa.table(body.to_arrow()) if body.height else pa.table({})
    except fastexcel.FastExcelError as error:
        raise UnusableFile(f"cannot be read ({str(error).splitlines()[0]}): save it again as .xlsx") from error
    if table.num_rows == 0:
        raise UnusableFile("has a header and no rows: nothing to load")
    table = table.rename_columns([f"c{position}" for position in range(table.num_columns)])
    connection.register("sheet_rows", table)
    try:
        columns = ", ".join(
            f"c{position}::varchar as c{position}" if position < table.num_columns else f"null::varchar as c{position}"
            for position in range(len(header))
        )
        rows = _stage(connection, f"select {columns} from sheet_rows", {}, _Dialect(header, layout))
    finally:
        connection.unregister("sheet_rows")
    _number(connection, first_row=header_row + 2)
    return RawRows(f"{file.name}#{sheet}", header, layout, ",", rows, 0, "")


def _find_header(top: pa.Table | None, layouts: Sequence[Layout]) -> tuple[int, tuple[str, ...], Layout]:
    """The header is the first row that has a known layout: above it there is often a title."""
    problem = UnusableFile("is empty")
    for position, row in enumerate(top.to_pylist() if top is not None else []):
        header = tuple("" if value is None else str(value) for value in row.values())
        try:
            return position, header, recognise(header, layouts)
        except UnusableFile as found:
            problem = found if position == 0 else problem
    raise problem
