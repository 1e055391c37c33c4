"""A database of SQLAlchemy to publish to: PostgreSQL at its best, others as far as they go."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from pyarrow import csv
from sqlalchemy.dialects import mysql

from clustering_assets.contracts import Column, TableContract
from clustering_assets.publishing.changes import ColumnThere, TableThere
from clustering_assets.publishing.database import Database, PublishingFailed, masked, without_secrets

_ROWS_AT_A_TIME = 10_000
_LOCK_TIMEOUT = "60s"

# A key of MySQL needs a length, and its TIMESTAMP ends in 2038.
_TYPES: Mapping[str, sa.types.TypeEngine[Any]] = {
    "string": sa.Text(),
    "int64": sa.BigInteger(),
    "float64": sa.Double(),
    "timestamp": sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb"),
}
_KEY = sa.Text().with_variant(sa.String(255), "mysql", "mariadb")

_WHAT_TO_DO = {
    "42501": "Grant the user what is missing, or let the owner of the tables publish.",
    "53100": "Make room on the disk of the database.",
    "55P03": "Somebody holds the tables for longer than a minute: end that transaction.",
    "23503": "A foreign key of another table refers to these rows, which are replaced: make it deferrable or drop it.",
}
"""SQLSTATE of PostgreSQL -> advice."""


@contextmanager
def open_sql_database(url: sa.URL, schema: str) -> Iterator[Database]:
    """Connect in a transaction, which ends with the block, and wait for another publisher.

    Raises
    ------
    PublishingFailed
        If the database cannot be reached or refuses something.
    """
    label = masked(url)
    if url.drivername == "postgresql":  # SQLAlchemy 2.1 would take another driver than Dagster brings
        url = url.set(drivername="postgresql+psycopg2")
    try:
        engine = _engine(url)
    except (ImportError, sa.exc.ArgumentError) as error:
        raise PublishingFailed(
            f"CLUSTERING_PUBLISH_URL names the database {url.drivername!r}, and its driver is not installed "
            f"({without_secrets(str(error), url)}); postgresql, sqlite and duckdb work without another."
        ) from None
    try:
        with engine.begin() as connection:
            database = _SqlDatabase(connection, None if engine.dialect.name == "sqlite" else schema)
            database.keep_others_out(schema)
            yield database
    except (sa.exc.SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
        reason = without_secrets(_reason(error), url)
        advice = _WHAT_TO_DO.get(
            getattr(getattr(error, "orig", error), "pgcode", None) or "",
            "See to the database or to CLUSTERING_PUBLISH_URL, and publish again.",
        )
        raise PublishingFailed(
            f"Publishing to {label} failed: {reason}. What was published before is as it was. {advice}",
            transient=isinstance(error, sa.exc.OperationalError),
        ) from None


def _engine(url: sa.URL) -> sa.Engine:
    arguments: dict[str, Any] = {"poolclass": sa.NullPool, "hide_parameters": True}
    if url.get_backend_name() == "postgresql":
        # Each statement sees what the publisher before has committed, whatever the database's default is.
        arguments["isolation_level"] = "READ COMMITTED"
        url = url.set(query={"connect_timeout": "10", "application_name": "clustering-assets", **url.query})
    engine = sa.create_engine(url, **arguments)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def begin_nothing(connection: Any, _record: object) -> None:
            connection.isolation_level = None  # the driver would leave definitions out of the transaction

        @sa.event.listens_for(engine, "begin")
        def begin_writing(connection: sa.Connection) -> None:
            connection.exec_driver_sql("begin immediate")

    return engine


def _reason(error: Exception) -> str:
    """First line of what the driver says: the lines after it may quote rows."""
    cause = getattr(error, "orig", None) or error
    diagnosis = getattr(cause, "diag", None)
    said = getattr(diagnosis, "message_primary", None) or str(cause).strip() or type(cause).__name__
    return str(said).splitlines()[0].rstrip(".")


@cache
def _table(contract: TableContract, schema: str | None) -> sa.Table:
    """The contract for SQLAlchemy. Only keys are NOT NULL: what the contract may drop one day has to be free of it."""
    return sa.Table(
        contract.name,
        sa.MetaData(schema=schema),
        *(
            sa.Column(
                column.name,
                _KEY if column.type == "string" and column.name in contract.key else _TYPES[column.type],
                primary_key=column.name in contract.key,
                autoincrement=False,
                comment=f"{column.description} Unit: {column.unit}." if column.unit else column.description,
            )
            for column in contract.columns
        ),
        comment=f"{contract.description} {contract.grain}.",
    )


class _SqlDatabase:
    """A schema of a database in an open transaction; None for a database that has no schemas."""

    def __init__(self, connection: sa.Connection, schema: str | None) -> None:
        self._connection = connection
        self._schema = schema
        self._dialect = connection.dialect
        self._postgresql = connection.dialect.name == "postgresql"

    def keep_others_out(self, schema: str) -> None:
        """Wait until no other publisher has the schema; SQLite has seen to that when the transaction began."""
        if self._postgresql:
            self._connection.execute(sa.text(f"set local lock_timeout = '{_LOCK_TIMEOUT}'"))
            self._connection.execute(
                sa.text("select pg_advisory_xact_lock(hashtextextended(:name, 0))"),
                {"name": f"clustering-assets publishes {schema}"},
            )

    def name(self, contract: TableContract) -> str:
        return f"{self._schema}.{contract.name}" if self._schema else contract.name

    def make_schema(self) -> None:
        # not "if not exists": that asks for the right to make schemas even where there is nothing to make
        if self._schema and not sa.inspect(self._connection).has_schema(self._schema):
            self._connection.execute(sa.schema.CreateSchema(self._schema))

    def find(self, contract: TableContract) -> TableThere | None:
        inspector = sa.inspect(self._connection)
        if not inspector.has_table(contract.name, self._schema):
            return None
        is_table = contract.name in inspector.get_table_names(self._schema)
        return TableThere(
            "table" if is_table else "view",
            {
                column["name"]: ColumnThere(
                    self._write(column["type"]),
                    not column["nullable"]
                    and column["default"] is None
                    and not column.get("computed")
                    and not column.get("identity"),
                )
                for column in inspector.get_columns(contract.name, self._schema)
            },
            tuple(inspector.get_pk_constraint(contract.name, self._schema)["constrained_columns"]) if is_table else (),
            self._followed_by(contract) if self._postgresql else (),
        )

    def _followed_by(self, contract: TableContract) -> tuple[str, ...]:
        query = (
            "select distinct conrelid::regclass::text from pg_constraint join pg_class c on c.oid = confrelid "
            "where contype = 'f' and confdeltype in ('c', 'n', 'd') "
            "and relname = :name and relnamespace = to_regnamespace(quote_ident(:schema)) order by 1"
        )
        found = self._connection.execute(sa.text(query), {"name": contract.name, "schema": self._schema})
        return tuple(found.scalars())

    def types(self, contract: TableContract) -> Mapping[str, str]:
        return {column.name: self._write(column.type) for column in _table(contract, self._schema).columns}

    def _write(self, type_: sa.types.TypeEngine[Any]) -> str:
        return type_.compile(dialect=self._dialect)

    def create(self, contract: TableContract) -> None:
        _table(contract, self._schema).create(self._connection, checkfirst=False)

    def add_column(self, contract: TableContract, column: Column) -> None:
        table = _table(contract, self._schema)
        specification = sa.schema.CreateColumn(table.c[column.name]).compile(dialect=self._dialect)
        name = self._dialect.identifier_preparer.format_table(table)
        self._connection.exec_driver_sql(f"alter table {name} add column {specification}")

    def describe(self, contract: TableContract) -> None:
        # MySQL writes descriptions with the definition and nowhere else
        if not self._dialect.supports_comments or self._dialect.inline_comments:
            return
        table, inspector = _table(contract, self._schema), sa.inspect(self._connection)
        if inspector.get_table_comment(contract.name, self._schema)["text"] != table.comment:
            self._connection.execute(sa.schema.SetTableComment(table))
        there = {column["name"]: column["comment"] for column in inspector.get_columns(contract.name, self._schema)}
        for column in table.columns:
            if there[column.name] != column.comment:
                self._connection.execute(sa.schema.SetColumnComment(column))

    def content_versions(self, publication: TableContract) -> Mapping[str, str]:
        there = _table(publication, self._schema)
        return {row.table_name: row.content_version for row in self._connection.execute(sa.select(there))}

    def is_empty(self, contract: TableContract) -> bool:
        query = sa.select(sa.literal(1)).select_from(_table(contract, self._schema)).limit(1)
        return self._connection.execute(query).first() is None

    def is_as_published(self, contract: TableContract, publication: TableContract) -> bool:
        """PostgreSQL tells it by the transaction that wrote a row; elsewhere rows are only counted."""
        table, published = _table(contract, self._schema), _table(publication, self._schema)
        here = published.c.table_name == contract.name
        wrote: sa.ColumnElement[Any] = sa.literal_column("xmin")
        rows = sa.select(sa.func.count()).select_from(table)
        if self._postgresql and self._connection.scalar(
            rows.where(wrote != sa.select(wrote).select_from(published).where(here).scalar_subquery())
        ):
            return False
        counted = sa.select(published.c.row_count).where(here)
        return self._connection.scalar(rows) == self._connection.scalar(counted)

    def replace(self, contract: TableContract, rows: pa.Table) -> None:
        table = _table(contract, self._schema)
        # No TRUNCATE and no swap of tables: a reader with a snapshot from before would find nothing, or two runs.
        self._connection.execute(table.delete())
        if self._postgresql:
            self._refuse_nul(contract, rows)
        write = self._copy if self._dialect.driver == "psycopg2" else self._insert
        for batch in rows.to_batches(max_chunksize=_ROWS_AT_A_TIME):
            write(table, batch)

    def _refuse_nul(self, contract: TableContract, rows: pa.Table) -> None:
        for column in contract.columns:
            if column.type == "string":
                found = pc.sum(pc.match_substring(rows[column.name], "\0")).as_py()
                if found:
                    raise PublishingFailed(
                        f"{self.name(contract)}.{column.name} has a NUL character in {found:,} rows, and PostgreSQL "
                        "takes none in a text: take it out of the source files. What was published before is as it was."
                    )

    def _copy(self, table: sa.Table, batch: pa.RecordBatch) -> None:
        preparer = self._dialect.identifier_preparer
        columns = ", ".join(map(preparer.quote, batch.schema.names))
        text = io.BytesIO()
        csv.write_csv(batch, text, csv.WriteOptions(include_header=False))  # floats as the shortest text that is exact
        text.seek(0)
        with closing(self._connection.connection.cursor()) as cursor:
            cursor.copy_expert(
                f"copy {preparer.format_table(table)} ({columns}) from stdin (format csv, encoding 'utf8')", text
            )

    def _insert(self, table: sa.Table, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._connection.execute(table.insert(), batch.to_pylist())
