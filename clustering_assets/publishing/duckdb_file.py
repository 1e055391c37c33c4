"""A DuckDB file to publish to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from clustering_assets.contracts import Column, TableContract
from clustering_assets.publishing.changes import ColumnThere, TableThere
from clustering_assets.publishing.content import content_version
from clustering_assets.publishing.database import Database, PublishingFailed
from clustering_assets.warehouse import SQL_TYPES


@contextmanager
def open_duckdb_file(url: sa.URL, schema: str) -> Iterator[Database]:
    """Open the file, which is made when missing, in a transaction; DuckDB itself keeps other processes out.

    Raises
    ------
    PublishingFailed
        If the file cannot be opened or written.
    """
    if not url.database:
        raise PublishingFailed("CLUSTERING_PUBLISH_URL names no file: it has to be like duckdb:////folder/file.duckdb.")
    try:
        with closing(duckdb.connect(str(Path(url.database).expanduser()))) as connection:
            connection.execute("begin")
            yield _DuckDBFile(connection, schema)
            connection.execute("commit")
    except duckdb.Error as error:
        raise PublishingFailed(
            f"The DuckDB file {url.database} could not be written: {str(error).splitlines()[0]}. It is as it was; if a "
            "program holds it open, close that, and publish again.",
            transient=isinstance(error, duckdb.IOException),
        ) from None


class _DuckDBFile:
    """A schema of a DuckDB file, in an open transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        # A file that is called like the schema would make "schema.table" ambiguous.
        [(file,)] = connection.execute("select current_database()").fetchall()
        self._place = f"{_quote(file)}.{_quote(schema)}"

    def name(self, contract: TableContract) -> str:
        return f"{self._schema}.{contract.name}"

    def _quoted(self, contract: TableContract) -> str:
        return f"{self._place}.{_quote(contract.name)}"

    def make_schema(self) -> None:
        self._connection.execute(f"create schema if not exists {self._place}")

    def find(self, contract: TableContract) -> TableThere | None:
        place = [self._schema, contract.name]
        columns = self._connection.execute(
            "select column_name, data_type, is_nullable, column_default from duckdb_columns() "
            "where database_name = current_database() and schema_name = $1 and table_name = $2 order by column_index",
            place,
        ).fetchall()
        if not columns:
            return None
        tables = self._connection.execute(
            "select 1 from duckdb_tables() where database_name = current_database() and schema_name = $1 "
            "and table_name = $2",
            place,
        ).fetchall()
        return TableThere(
            "table" if tables else "view",
            {name: ColumnThere(type_, not nullable and default is None) for name, type_, nullable, default in columns},
        )

    def types(self, contract: TableContract) -> Mapping[str, str]:
        return {column.name: SQL_TYPES[column.type].upper() for column in contract.columns}

    def create(self, contract: TableContract) -> None:
        # Without a primary key: DuckDB takes a deleted key for a duplicate as long as the transaction lasts.
        columns = ", ".join(f"{_quote(column.name)} {SQL_TYPES[column.type]}" for column in contract.columns)
        self._connection.execute(f"create table {self._quoted(contract)} ({columns})")

    def add_column(self, contract: TableContract, column: Column) -> None:
        self._connection.execute(
            f"alter table {self._quoted(contract)} add column {_quote(column.name)} {SQL_TYPES[column.type]}"
        )

    def describe(self, contract: TableContract) -> None:
        table = self._quoted(contract)
        self._connection.execute(f"comment on table {table} is {_literal(f'{contract.description} {contract.grain}.')}")
        for column in contract.columns:
            self._connection.execute(
                f"comment on column {table}.{_quote(column.name)} is {_literal(column.description)}"
            )

    def content_versions(self, publication: TableContract) -> Mapping[str, str]:
        query = f"select table_name, content_version from {self._quoted(publication)}"
        return dict(self._connection.execute(query).fetchall())

    def is_empty(self, contract: TableContract) -> bool:
        return not self._connection.execute(f"select 1 from {self._quoted(contract)} limit 1").fetchall()

    def is_as_published(self, contract: TableContract, publication: TableContract) -> bool:
        published = self.content_versions(publication)[contract.name]
        return content_version(self._connection, contract, self._quoted(contract)) == published

    def replace(self, contract: TableContract, rows: pa.Table) -> None:
        self._connection.execute(f"delete from {self._quoted(contract)}")
        self._connection.register("rows_to_publish", rows)
        try:
            self._connection.execute(f"insert into {self._quoted(contract)} by name select * from rows_to_publish")
        finally:
            self._connection.unregister("rows_to_publish")


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
