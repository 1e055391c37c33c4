"""The one door to the tables: an Ibis backend with the schemas bronze, silver and gold.

The warehouse is one DuckDB file that any DuckDB client opens. It has one writing process at a time, so connections are
short: none is held while something is computed outside the database, and who finds it held waits for a while.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import duckdb
import ibis
import ibis.expr.types as ir
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_before_delay, wait_random_exponential

from clustering_assets.contracts import ORDER_LINES, TableContract
from clustering_assets.durable import written_beside
from clustering_assets.locks import process_in_words

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from ibis.backends.duckdb import Backend

SQL_TYPES = {"string": "varchar", "int64": "bigint", "float64": "double", "timestamp": "timestamp"}
"""Type of a contract -> type in DuckDB."""

LAYERS = ("bronze", "silver", "gold")
AS_OF = "silver.as_of"
"""Under this the day that silver was told to look from is recorded with its tables; empty where it was told none."""
_VERSIONS = "main.table_versions"
_STORAGE = "v1.3.0"
"""Oldest DuckDB that opens the file. Its compression of text takes a third less space and a quarter less time to write
than that of the format which all versions read."""

_LOCKED = re.compile(r"(?:Conflicting lock is held|Lock is already held).*?(?:\(PID (\d+)\)|$)")
_FULL = "No space left|Disk quota exceeded|max_temp_directory_size"
_PROBLEMS = {
    _FULL: ("The disk of {home} is full ({reason}): free some space and run again; the tables are as they were."),
    "version number|storage version": (
        "The warehouse {path} was written by another version of DuckDB ({reason}): install that one."
    ),
    "Permission denied|Read-only file system|No such file|Is a directory": (
        "The warehouse {path} cannot be opened ({reason}): check what is there, its permissions and its disk."
    ),
    "Corrupt|not a valid DuckDB|Could not read enough|replaying WAL|Failed to deserialize|INTERNAL Error|FATAL Error": (
        "The warehouse {path} is damaged ({reason}): put a copy from a backup in its place, or move it and "
        "{path.name}.wal away and run again; all tables are made anew from the source files, and segments get new ids."
    ),
}
"""What DuckDB says of the file or the disk -> what a person can do about it."""

_log = logging.getLogger(__name__)


class WarehouseUnavailable(Exception):
    """The warehouse cannot be used; the message says why and what to do."""


class NoWarehouse(WarehouseUnavailable):
    """There is no warehouse yet; the message says how to make one."""


class WarehouseHeld(WarehouseUnavailable):
    """Another program has the warehouse open; the message says which."""


@dataclass(frozen=True, slots=True)
class Warehouse:
    """The DuckDB file of a home folder.

    Parameters
    ----------
    home
        Folder of everything the project writes; it is made when missing.
    memory_limit
        What DuckDB may hold in memory, such as ``2GB``; beyond it, it spills to ``home/spill``.
    lock_wait
        Seconds to wait for another process that holds the file; 0 is not at all.
    """

    home: Path
    memory_limit: str = "2GB"
    lock_wait: float = 60

    @property
    def path(self) -> Path:
        """The DuckDB file."""
        return self.home / "warehouse.duckdb"

    @contextmanager
    def connect(self) -> Iterator[Backend]:
        """Open the warehouse and close it again, whatever happens inside.

        Raises
        ------
        WarehouseHeld
            If another process holds the file for longer than ``lock_wait``.
        WarehouseUnavailable
            If the file or the disk cannot be used; inside, too, where DuckDB reads what is needed.
        """
        with self._connected(read_only=False) as backend:
            for layer in LAYERS:
                backend.con.execute(f"create schema if not exists {layer}")
            yield backend

    @contextmanager
    def read(self) -> Iterator[Backend]:
        """Open the warehouse for reading alone: nothing is made, and others may read it at the same time.

        Raises
        ------
        NoWarehouse
            If there is none.
        WarehouseHeld, WarehouseUnavailable
            As for `connect`.
        """
        if not self.path.exists():
            raise NoWarehouse(
                f"There is no warehouse in {self.home} yet: run `clustering-assets run`, or set CLUSTERING_HOME to the "
                "folder that has one."
            )
        with self._connected(read_only=True) as backend:
            yield backend

    @contextmanager
    def _connected(self, *, read_only: bool) -> Iterator[Backend]:
        try:
            with closing(self._opened(read_only)) as connection:
                connection.execute("set TimeZone = 'UTC'")
                backend: Backend = ibis.duckdb.from_connection(connection)
                yield backend
        except duckdb.Error as error:
            problem = self._problem(error)
            if problem is None:
                raise
            raise problem from error

    def _opened(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        patiently = Retrying(
            retry=retry_if_exception(
                lambda error: isinstance(error, duckdb.Error) and bool(_LOCKED.search(str(error)))
            ),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            stop=stop_before_delay(self.lock_wait),
            before_sleep=self._say_once,
            reraise=True,
        )
        try:
            if not read_only:
                self.home.mkdir(parents=True, exist_ok=True)
                if not self.path.exists():
                    self._make()
            return patiently(self._connection, self.path, read_only)
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise self._problem(error) or WarehouseUnavailable(
                f"The warehouse {self.path} cannot be opened ({reason}): check the file and CLUSTERING_MEMORY_LIMIT."
            ) from error
        except OSError as error:
            raise WarehouseUnavailable(
                f"The home folder {self.home} cannot be written ({error.strerror}): check its permissions and its "
                "disk, or set CLUSTERING_HOME to another folder."
            ) from error

    def _connection(self, path: Path | str, read_only: bool = False) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(
            str(path),
            read_only=read_only,
            config={
                "memory_limit": self.memory_limit,
                "temp_directory": str(self.home / "spill"),
                "storage_compatibility_version": _STORAGE,
            },
        )

    def _make(self) -> None:
        """Make an empty file beside its place and put it there: one that was half made could not be opened again."""
        beside = self.home / f".{self.path.name}.{uuid4().hex}.part"
        try:
            self._connection(beside).close()
            os.link(beside, self.path)
        except FileExistsError:
            pass  # another process was faster
        except OSError:  # no hard links on this file system
            beside.replace(self.path)
        finally:
            beside.unlink(missing_ok=True)

    def _say_once(self, state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome and (error := state.outcome.exception()):
            _log.warning("%s; waiting for up to %g s.", self._held(str(error)), self.lock_wait)

    def _held(self, message: str) -> str:
        found = _LOCKED.search(message)
        pid = int(found[1] or 0) if found else 0
        return f"The warehouse {self.path} is held by {process_in_words(pid) if pid else 'another program'}"

    def _problem(self, error: duckdb.Error) -> WarehouseUnavailable | None:
        """Say what a person can do about an error; None where it is none of the file or the disk."""
        message = str(error)
        if _LOCKED.search(message):
            return WarehouseHeld(
                f"{self._held(message)} and was not released within {self.lock_wait:g} s: close that program and run "
                "again, or set CLUSTERING_LOCK_WAIT to wait longer."
            )
        reason = message.splitlines()[0]
        for pattern, sentence in _PROBLEMS.items():
            if re.search(pattern, message):
                return WarehouseUnavailable(sentence.format(home=self.home, path=self.path, reason=reason))
        return None

    def write_anew(self) -> None:
        """Replace the file by one with the same tables, in which no byte is left of what was deleted.

        It takes as much room again meanwhile. Killed, it leaves the file as it was.

        Raises
        ------
        WarehouseUnavailable
            As for `connect`.
        """
        with self.connect() as backend:
            backend.con.execute("checkpoint")
        with closing(self._connection(":memory:")) as connection, written_beside(self.path) as beside:
            try:
                # Whoever wants to write meanwhile is refused, as long as the file is attached.
                connection.execute(f"attach {literal(str(self.path))} as old (read_only)")
                connection.execute(f"attach {literal(str(beside))} as new (storage_version '{_STORAGE}')")
                connection.execute("copy from database old to new")
                connection.execute("detach new")
            except duckdb.Error as error:
                raise self._problem(error) or WarehouseUnavailable(
                    f"The warehouse {self.path} could not be written anew: {str(error).splitlines()[0]}"
                ) from error


def is_disk_full(error: BaseException) -> bool:
    """Whether something failed since the disk is full, which is no fault of what was being read."""
    return bool(re.search(_FULL, str(error)))


@contextmanager
def transaction(backend: Backend) -> Iterator[None]:
    """Do everything inside or nothing."""
    backend.con.execute("begin")
    try:
        yield
    except BaseException:
        backend.con.execute("rollback")
        raise
    backend.con.execute("commit")


def has_table(backend: Backend, contract: TableContract) -> bool:
    """Whether the table exists."""
    return is_there(backend, contract.layer, contract.name)


def is_there(backend: Backend, schema: str, name: str) -> bool:
    """Whether a schema has a table of that name; asked hundreds of times in a run; Ibis takes twice as long."""
    return _kind(backend, schema, name) is not None


def _kind(backend: Backend, schema: str, name: str) -> str | None:
    """Say whether a ``table`` or a ``view`` has the name, if any does."""
    query = """
        select kind from (
            select 'table' as kind, database_name, schema_name, table_name from duckdb_tables()
            union all select 'view', database_name, schema_name, view_name from duckdb_views())
        where database_name = current_database() and schema_name = $1 and table_name = $2"""
    found = backend.con.execute(query, [schema, name]).fetchone()
    return found[0] if found else None


def refuse_other_engine(backend: Backend, engine: str) -> None:
    """Refuse to go on with what another engine has begun.

    Bronze of Spark lies in files that the warehouse has views of, that of DuckDB in tables.

    Raises
    ------
    WarehouseUnavailable
        If bronze was written by the other engine.
    """
    kind = _kind(backend, ORDER_LINES.layer, ORDER_LINES.name)
    other = {"table": "duckdb", "view": "spark", None: engine}[kind]
    if other != engine:
        raise WarehouseUnavailable(
            f"The tables of this home were written by the engine {other}: set CLUSTERING_ENGINE={other}, or "
            "CLUSTERING_HOME to a new folder, which then is filled from the source files."
        )


def table(backend: Backend, contract: TableContract) -> ir.Table:
    """Return a table of the warehouse."""
    return backend.table(contract.name, database=contract.layer)


def row_count(backend: Backend, contract: TableContract) -> int:
    """Count the rows of a table, without pandas, which Ibis would load for it."""
    [(rows,)] = backend.con.execute(f"select count(*) from {contract.qualified_name}").fetchall()
    return int(rows)


def replace_table(backend: Backend, contract: TableContract, rows: ir.Table | pd.DataFrame | pa.Table) -> None:
    """Write a table whole, with the contract's columns, order, types and descriptions."""
    if isinstance(rows, ir.Table):
        _create(backend, contract, rows)
    else:
        backend.con.register("rows_to_write", rows)
        try:
            _create(backend, contract, backend.table("rows_to_write"))
        finally:
            backend.con.unregister("rows_to_write")


def replace_view(backend: Backend, contract: TableContract, files: Sequence[Path]) -> None:
    """Let a table of the warehouse be what stands in Parquet files, with the contract's columns, order and types."""
    nothing = ", ".join(f'null::{SQL_TYPES[column.type]} as "{column.name}"' for column in contract.columns)
    rows = (
        f"select {typed_columns(contract)} from read_parquet([{', '.join(literal(str(file)) for file in files)}])"
        if files
        else f"select {nothing} where false"
    )
    backend.con.execute(f"create or replace view {contract.qualified_name} as {rows}")


def replace_period(
    backend: Backend, contract: TableContract, rows: pd.DataFrame, column: str, start: date, end: date
) -> None:
    """Write the rows of a period, in the place of those that the table has of it; the other rows stay.

    Parameters
    ----------
    rows
        With the contract's columns, in any order; none for a period without rows.
    column
        The column that says what a row is of.
    start, end
        First day of the period, and the first one after it.
    """
    if not has_table(backend, contract):
        columns = ", ".join(f'"{column.name}" {SQL_TYPES[column.type]}' for column in contract.columns)
        backend.con.execute(f"create table {contract.qualified_name} ({columns})")
        describe_table(backend, contract)
    period = f'"{column}" >= $1 and "{column}" < $2'
    backend.con.execute(f"delete from {contract.qualified_name} where {period}", [start, end])
    if len(rows):
        backend.con.register("rows_to_write", rows)
        try:
            backend.con.execute(f"insert into {contract.qualified_name} by name from rows_to_write")
        finally:
            backend.con.unregister("rows_to_write")


def typed_columns(contract: TableContract) -> str:
    """Return what to select: the columns of a contract, in its order and types."""
    return ", ".join(f'"{column.name}"::{SQL_TYPES[column.type]} as "{column.name}"' for column in contract.columns)


def _create(backend: Backend, contract: TableContract, rows: ir.Table) -> None:
    # cast by the engine: what Ibis calls int64 may be wider or narrower in DuckDB, and Ibis leaves such a cast out
    query = f"select {typed_columns(contract)} from ({backend.compile(rows)})"
    backend.con.execute(f"create or replace table {contract.qualified_name} as {query}")
    describe_table(backend, contract)


def describe_table(backend: Backend, contract: TableContract) -> None:
    """Put the contract's descriptions into the database, where any client shows them."""
    comment = literal(f"{contract.description} {contract.grain}.")
    backend.con.execute(f"comment on table {contract.qualified_name} is {comment}")
    for column in contract.columns:
        backend.con.execute(
            f'comment on column {contract.qualified_name}."{column.name}" is {literal(column.description)}'
        )


def drop_table(backend: Backend, contract: TableContract) -> None:
    """Remove a table, and the record of what it was made of."""
    backend.con.execute(f"drop table {contract.qualified_name}")
    forget_versions(backend, [contract.qualified_name])


def literal(text: str) -> str:
    """Write a text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def table_version(backend: Backend, name: str) -> str | None:
    """Fingerprint of what a table or export was made of, as recorded with it; None if there is none."""
    if not is_there(backend, "main", "table_versions"):
        return None
    found = backend.con.execute(f"select version from {_VERSIONS} where name = $1", [name]).fetchone()
    return None if found is None else str(found[0])


def written_last(backend: Backend) -> datetime | None:
    """Moment (UTC) when something was written last; None before anything was."""
    if not is_there(backend, "main", "table_versions"):
        return None
    [(last,)] = backend.con.execute(f"select max(written_at) from {_VERSIONS}").fetchall()
    return last if isinstance(last, datetime) else None


def recorded_names(backend: Backend, prefix: str) -> list[str]:
    """Return the names under which something was recorded, of those with a prefix."""
    if not is_there(backend, "main", "table_versions"):
        return []
    found = backend.con.execute(f"select name from {_VERSIONS} where starts_with(name, $1)", [prefix]).fetchall()
    return [str(name) for (name,) in found]


def record_versions(backend: Backend, versions: Mapping[str, str]) -> None:
    """Record what tables or exports were made of, in the transaction that writes them."""
    backend.con.execute(
        f"create table if not exists {_VERSIONS} (name varchar primary key, version varchar, written_at timestamp)"
    )
    now = utc_now()
    for name, version in versions.items():
        backend.con.execute(f"insert or replace into {_VERSIONS} values ($1, $2, $3)", [name, version, now])


def forget_versions(backend: Backend, names: Sequence[str]) -> None:
    """Forget what tables or exports were made of that are no more."""
    backend.con.execute(f"delete from {_VERSIONS} where name in (select unnest($1))", [list(names)])


def utc_now() -> datetime:
    """Return the present moment as the warehouse keeps moments: UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
