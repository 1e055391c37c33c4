"""The one door to the tables: an Ibis backend with the schemas bronze, silver and gold.

The warehouse is one DuckDB file that any DuckDB client opens. It has one writing process at a time, so connections are
short: none is held while something is computed outside the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import ibis
import ibis.expr.types as ir

from clustering_assets.contracts import TableContract

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from ibis.backends.duckdb import Backend

SQL_TYPES = {"string": "varchar", "int64": "bigint", "float64": "double", "timestamp": "timestamp"}
"""Type of a contract -> type in DuckDB."""

LAYERS = ("bronze", "silver", "gold")
_VERSIONS = "main.table_versions"


class WarehouseUnavailable(Exception):
    """The warehouse file cannot be opened; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Warehouse:
    """The DuckDB file of a home folder.

    Parameters
    ----------
    home
        Folder of everything the project writes; it is made when missing.
    memory_limit
        What DuckDB may hold in memory, such as ``2GB``; beyond it, it spills to ``home/spill``.
    """

    home: Path
    memory_limit: str = "2GB"

    @property
    def path(self) -> Path:
        """The DuckDB file."""
        return self.home / "warehouse.duckdb"

    @contextmanager
    def connect(self) -> Iterator[Backend]:
        """Open the warehouse and close it again, whatever happens inside.

        Raises
        ------
        WarehouseUnavailable
            If another process holds the file or it is no DuckDB file.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            connection = duckdb.connect(
                str(self.path),
                config={"memory_limit": self.memory_limit, "temp_directory": str(self.home / "spill")},
            )
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise WarehouseUnavailable(
                f"The warehouse {self.path} cannot be opened ({reason}): close the program that holds it, or, if the "
                "file is damaged, move it away and run again; bronze is read anew from the source files."
            ) from error
        with closing(connection):
            connection.execute("set TimeZone = 'UTC'")
            backend: Backend = ibis.duckdb.from_connection(connection)
            for layer in LAYERS:
                connection.execute(f"create schema if not exists {layer}")
            yield backend


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
    return contract.name in backend.list_tables(database=contract.layer)


def table(backend: Backend, contract: TableContract) -> ir.Table:
    """Return a table of the warehouse."""
    return backend.table(contract.name, database=contract.layer)


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


def _create(backend: Backend, contract: TableContract, rows: ir.Table) -> None:
    # cast by the engine: what Ibis calls int64 may be wider or narrower in DuckDB, and Ibis leaves such a cast out
    columns = ", ".join(f'"{column.name}"::{SQL_TYPES[column.type]} as "{column.name}"' for column in contract.columns)
    query = f"select {columns} from ({backend.compile(rows)})"
    backend.con.execute(f"create or replace table {contract.qualified_name} as {query}")
    describe_table(backend, contract)


def describe_table(backend: Backend, contract: TableContract) -> None:
    """Put the contract's descriptions into the database, where any client shows them."""

    def literal(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    comment = literal(f"{contract.description} {contract.grain}.")
    backend.con.execute(f"comment on table {contract.qualified_name} is {comment}")
    for column in contract.columns:
        backend.con.execute(
            f'comment on column {contract.qualified_name}."{column.name}" is {literal(column.description)}'
        )


def drop_table(backend: Backend, contract: TableContract) -> None:
    """Remove a table, and the record of what it was made of."""
    backend.con.execute(f"drop table {contract.qualified_name}")
    backend.con.execute(f"delete from {_VERSIONS} where name = $1", [contract.qualified_name])


def table_version(backend: Backend, name: str) -> str | None:
    """Fingerprint of what a table or export was made of, as recorded with it; None if there is none."""
    if "table_versions" not in backend.list_tables(database="main"):
        return None
    found = backend.con.execute(f"select version from {_VERSIONS} where name = $1", [name]).fetchone()
    return None if found is None else str(found[0])


def record_versions(backend: Backend, versions: Mapping[str, str]) -> None:
    """Record what tables or exports were made of, in the transaction that writes them."""
    backend.con.execute(
        f"create table if not exists {_VERSIONS} (name varchar primary key, version varchar, written_at timestamp)"
    )
    now = utc_now()
    for name, version in versions.items():
        backend.con.execute(f"insert or replace into {_VERSIONS} values ($1, $2, $3)", [name, version, now])


def utc_now() -> datetime:
    """Return the present moment as the warehouse keeps moments: UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
