"""Bronze on Spark: files are read side by side, and what they hold is settled customer by customer.

Whatever is to be known of a row, `sources` knows: each task reads a file, or settles the rows of some customers, with
DuckDB in its own memory, by the same text as on one machine. Spark brings the rows of a customer together. The rows lie
in Parquet files, in a folder of their own for each load; the warehouse has views of those of the last good load, and a
row per file. A view is changed in the transaction that records the files, so that a load which breaks off leaves
nothing but a folder that the next one removes.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import duckdb
import ibis
import pyarrow as pa
from pydantic import TypeAdapter

from clustering_assets.acceptance import accepted
from clustering_assets.contracts import ORDER_LINES, TableContract
from clustering_assets.forgotten import Forgotten
from clustering_assets.sources.files import FoundFile, Limits, UnreadableNow, UnusableFile
from clustering_assets.sources.ingestion import (
    INCOMING,
    READ,
    ROWS,
    WRITTEN,
    Load,
    SourceFile,
    create_incoming,
    plan_load,
    read_file,
    record_files,
    settle,
)
from clustering_assets.spark.session import Cluster, connected
from clustering_assets.warehouse import (
    SQL_TYPES,
    Warehouse,
    literal,
    record_versions,
    refuse_other_engine,
    replace_view,
    table_version,
    typed_columns,
)

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend
    from pyspark.sql import DataFrame, SparkSession

FOLDER = "bronze.folder"
"""Names the record of the folder that holds the rows of the last good load."""
_SPARK_TYPES = {"string": "string", "int64": "bigint", "float64": "double", "timestamp": "timestamp_ntz"}
_KIND = "kind"
"""Column that names the table a row is of: the rows of all tables travel together."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What became of a file: its rows in ``source_files``, or a problem."""

    notes: list[SourceFile]
    problem: str = ""
    is_passing: bool = False
    """Whether the problem may be gone at the next look."""


_READING = TypeAdapter(_Reading)


def ingest(
    cluster: Cluster,
    warehouse: Warehouse,
    folder: Path,
    now: datetime,
    layout: str | None,
    limits: Limits,
    forgotten: Forgotten,
    least_rows_kept: float = 0.0,
) -> bool:
    """Bring bronze in step with the source folder; return whether anything changed.

    The source folder, like that of the tables, has to be there under the same path on every machine of the cluster.

    Raises
    ------
    SparkUnavailable
        If the cluster gives no session; the tables stay as they were.
    ContractBroken, NoUsableRows, mapping.BadMapping
        As for `sources.ingestion.ingest`.
    WarehouseUnavailable
        If bronze was written by another engine.
    """
    with warehouse.connect() as backend:
        refuse_other_engine(backend, "spark")
        load = plan_load(backend, folder, now, layout, limits, forgotten)
        before = bronze_folder(backend)
    if load is None:
        return False
    loads = cluster.target / "bronze"
    new = loads / uuid4().hex
    try:
        with connected(cluster) as session:
            incoming = _read(session, load, limits, new / "incoming", warehouse.memory_limit)
            _log.info("bringing the rows of each customer together")
            rows = _rows_before(session, load, before) + [_of_kind(session, *each) for each in incoming]
            _settled(rows, load, warehouse.memory_limit).write.partitionBy(_KIND).parquet(str(new / "rows"))
        shutil.rmtree(new / "incoming", ignore_errors=True)
        with (
            warehouse.connect() as backend,
            accepted(backend, WRITTEN, least_rows_kept, may_be_empty=() if load.is_settled else [ORDER_LINES]),
        ):
            for contract in ROWS:
                replace_view(backend, contract, _files(new, contract))
            record_files(backend, load.files)
            record_versions(backend, {FOLDER: str(new)})
            load.finish(backend)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    for old in loads.iterdir():
        if old != new:
            shutil.rmtree(old, ignore_errors=True)
    return True


def bronze_folder(backend: Backend) -> Path | None:
    """Return the folder of the last good load."""
    found = table_version(backend, FOLDER)
    return Path(found) if found else None


def _files(folder: Path, contract: TableContract) -> list[Path]:
    return sorted((folder / "rows" / f"{_KIND}={contract.name}").glob("*.parquet"))


# ------------------------------------------------------------------------------------------------------------ reading


def _read(
    session: SparkSession, load: Load, limits: Limits, incoming: Path, memory_limit: str
) -> list[tuple[TableContract, list[Path]]]:
    """Read the files of a plan, one in a task; return the tables that they gave rows of, with their Parquet files."""
    first: dict[tuple[str, str | None], tuple[FoundFile, SourceFile]] = {}
    for file, note in load.plan.to_read:
        first.setdefault((note.content_hash, file.ending), (file, note))
    tasks = list(first.values())
    readings: dict[str, _Reading] = {}
    if tasks:
        incoming.mkdir(parents=True)
        read = _reader(tasks, load, limits, incoming, memory_limit)
        frame = session.range(0, len(tasks), 1, len(tasks)).mapInArrow(read, "task bigint, reading string")
        readings = {tasks[row.task][0].name: _READING.validate_json(row.reading) for row in frame.collect()}

    def outcome(file: FoundFile, note: SourceFile) -> list[SourceFile]:
        reading = readings[first[note.content_hash, file.ending][0].name]
        if reading.problem:
            raise (UnreadableNow if reading.is_passing else UnusableFile)(reading.problem)
        return reading.notes

    load.read(outcome)
    found = [(contract, sorted(incoming.glob(f"*.{contract.name}.parquet"))) for contract in READ]
    return [(contract, paths) for contract, paths in found if paths]


def _reader(
    tasks: list[tuple[FoundFile, SourceFile]], load: Load, limits: Limits, incoming: Path, memory_limit: str
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    layouts, forgotten = load.layouts, load.forgotten

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for task in itertools.chain.from_iterable(batch.column(0).to_pylist() for batch in batches):
            file, note = tasks[task]
            with _own_database(memory_limit) as backend:
                create_incoming(backend)
                try:
                    reading = _Reading(read_file(backend, file, layouts, note, limits, forgotten))
                    for contract in READ:
                        _write(backend, f"{INCOMING}{contract.name}", incoming / f"{task}.{contract.name}.parquet")
                except UnusableFile as problem:
                    reading = _Reading([], str(problem), isinstance(problem, UnreadableNow))
            yield pa.RecordBatch.from_pydict({"task": [task], "reading": [_READING.dump_json(reading).decode()]})

    return read


def _write(backend: Backend, name: str, path: Path) -> None:
    """Write a table, if it has rows, under another name first: a task may be killed, or run twice."""
    if backend.con.execute(f"select 1 from {name} limit 1").fetchone():
        part = path.with_name(f".{path.name}.{uuid4().hex}")
        backend.con.execute(f"copy {name} to {literal(str(part))} (format parquet)")
        part.replace(path)


@contextmanager
def _own_database(memory_limit: str) -> Iterator[Backend]:
    """Open a database of a task's own, with one thread, since Spark gives a processor to a task; it may spill."""
    with tempfile.TemporaryDirectory(prefix="spill-") as spill:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "temp_directory": spill,
            "threads": 1,
        }
        with closing(duckdb.connect(":memory:", config=settings)) as connection:
            connection.execute("set TimeZone = 'UTC'; create schema bronze")
            yield ibis.duckdb.from_connection(connection)


# ----------------------------------------------------------------------------------------------------------- settling


@cache
def _columns() -> dict[str, str]:
    """Columns of the rows of all tables together, and their types."""
    columns: dict[str, str] = {}
    for column in itertools.chain.from_iterable(contract.columns for contract in ROWS):
        if columns.setdefault(column.name, column.type) != column.type:
            raise TypeError(f"{column.name} has more than one type")
    return columns


def _rows_before(session: SparkSession, load: Load, before: Path | None) -> list[DataFrame]:
    """Rows of the last good load without those of sources that are gone."""
    found = [(contract, _files(before, contract)) for contract in ROWS] if before else []
    rows = [_of_kind(session, contract, paths) for contract, paths in found if paths]
    gone = sorted(load.plan.gone)
    return [each.filter(~each.source_file.isin(gone)) for each in rows] if gone else rows


def _of_kind(session: SparkSession, contract: TableContract, paths: list[Path]) -> DataFrame:
    from pyspark.sql import functions as sql

    frame = session.read.parquet(*map(str, paths))
    missing = {
        name: sql.lit(None).cast(_SPARK_TYPES[kind])
        for name, kind in _columns().items()
        if name not in contract.column_names
    }
    return frame.select(*contract.column_names).withColumns({**missing, _KIND: sql.lit(contract.name)})


def _settled(rows: list[DataFrame], load: Load, memory_limit: str) -> DataFrame:
    """Settle the rows, those of a customer in one task; who has no customer is spread over all."""
    from pyspark.sql import functions as sql

    everything = rows[0]
    for more in rows[1:]:
        everything = everything.unionByName(more)
    together = sql.coalesce(everything.customer_id, sql.concat(everything.source_file, everything.source_row))
    schema = ", ".join(f"`{name}` {_SPARK_TYPES[kind]}" for name, kind in {_KIND: "string", **_columns()}.items())
    ordered = everything.select(_KIND, *_columns())
    return ordered.repartition(together).mapInArrow(_settler(load, memory_limit), schema)


def _settler(load: Load, memory_limit: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def settle_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        first = next(batches, None)
        if first is None:
            return
        with _own_database(memory_limit) as backend:
            run = backend.con.execute
            come = pa.RecordBatchReader.from_batches(first.schema, itertools.chain([first], batches))
            backend.con.register("come", come)
            run("create temp table together as from come")
            for contract in ROWS:
                rows = f"select {typed_columns(contract)} from together where {_KIND} = '{contract.name}'"
                run(f"create table {contract.qualified_name} as {rows}")
            run("drop table together")
            settle(backend, load)
            for contract in ROWS:
                names = ", ".join(
                    name if name in contract.column_names else f"null::{SQL_TYPES[kind]} as {name}"
                    for name, kind in _columns().items()
                )
                settled = run(f"select '{contract.name}' as {_KIND}, {names} from {contract.qualified_name}")
                yield from settled.to_arrow_reader(50_000)

    return settle_rows
