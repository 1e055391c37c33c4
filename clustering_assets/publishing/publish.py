"""Publishing: all tables of a run in one transaction, unless the database has them already."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from clustering_assets.contracts import PUBLICATION, PUBLISHED, TableContract
from clustering_assets.publishing.changes import Changes, compare
from clustering_assets.publishing.content import Content
from clustering_assets.publishing.database import Database, PublishingFailed, masked
from clustering_assets.publishing.duckdb_file import open_duckdb_file
from clustering_assets.publishing.sql_database import open_sql_database


@dataclass(frozen=True, slots=True)
class Published:
    """What was done.

    Parameters
    ----------
    database
        The database, without its password.
    changed
        Whether anything was written.
    tables
        Rows of each table, by the name that the database has for it.
    columns_added, columns_left_empty
        ``table.column`` of what the database lacked, and of what the contracts do not have.
    """

    database: str
    changed: bool
    tables: Mapping[str, int]
    columns_added: tuple[str, ...]
    columns_left_empty: tuple[str, ...]


def publish(content: Content, url: str, schema: str, *, keep_dropped: bool, now: datetime) -> Published:
    """Put the tables of a run in the place of those that are in the database, in one transaction.

    Parameters
    ----------
    content
        The tables.
    url
        SQLAlchemy URL of the database, or ``duckdb:///`` and the path of a DuckDB file.
    schema
        Schema of the tables; it is made when missing.
    keep_dropped
        Whether a column that no contract has stays, empty; otherwise it is refused.
    now
        Moment of the publication (UTC).

    Raises
    ------
    PublishingFailed
        If the database cannot be reached or refuses, or if a table there is in the way; nothing has changed then.
    """
    address = _parse(url)
    with _open(address, schema) as database:
        database.make_schema()
        changes, published = _changes(database, keep_dropped)
        changed = (
            any(changes.values())
            or published != {contract.name: version for contract, version in content.content_versions.items()}
            or not all(database.is_as_published(contract, PUBLICATION) for contract in PUBLISHED)
        )
        if changed:
            _write(database, content, changes, now)
        names = {contract: database.name(contract) for contract in changes}
    return Published(
        masked(address),
        changed,
        {names[contract]: rows.num_rows for contract, rows in content.rows.items()},
        tuple(f"{names[table]}.{column.name}" for table, change in changes.items() for column in change.added),
        tuple(f"{names[table]}.{column}" for table, change in changes.items() for column in change.left_empty),
    )


def reach(url: str, schema: str) -> str:
    """Connect to the database and leave it again; return its URL without the password. Nothing is made or written.

    Raises
    ------
    PublishingFailed
        If it cannot be reached.
    """
    address = _parse(url)
    if address.get_backend_name() in ("duckdb", "sqlite") and address.database:
        file = Path(address.database).expanduser()
        if not file.parent.is_dir():
            raise PublishingFailed(
                f"CLUSTERING_PUBLISH_URL names a file in {file.parent}, which is no folder: make it."
            )
        if not file.exists():
            return f"{masked(address)} (made when something is published)"
    with _open(address, schema):
        return masked(address)


def _parse(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise PublishingFailed(
            "CLUSTERING_PUBLISH_URL is no URL of a database: it has to be like "
            "postgresql://user:password@host:5432/name, with the special characters of a password percent-encoded."
        ) from None


def _open(url: sa.URL, schema: str) -> AbstractContextManager[Database]:
    return open_duckdb_file(url, schema) if url.drivername == "duckdb" else open_sql_database(url, schema)


def _changes(database: Database, keep_dropped: bool) -> tuple[dict[TableContract, Changes], Mapping[str, str]]:
    """Say what has to be done to each table, and which versions were published before; refuse with all problems."""
    changes = {
        contract: compare(
            contract, database.name(contract), database.find(contract), database.types(contract), keep_dropped
        )
        for contract in (PUBLICATION, *PUBLISHED)
    }
    problems = [problem for change in changes.values() for problem in change.problems]
    published: Mapping[str, str] = {}
    if not problems:
        lacks = {column.name for column in changes[PUBLICATION].added}
        is_ours = not changes[PUBLICATION].create and "content_version" not in lacks
        published = database.content_versions(PUBLICATION) if is_ours else {}
        # Rows are going to be deleted: they have to be those of a publication.
        problems = [
            f"{database.name(contract)} has rows that this project did not publish: rename or drop it, or name another "
            "schema in CLUSTERING_PUBLISH_SCHEMA."
            for contract, change in changes.items()
            if not change.create
            and not (is_ours if contract is PUBLICATION else contract.name in published)
            and not database.is_empty(contract)
        ]
    if problems:
        raise PublishingFailed(
            "Nothing was published, since the tables in the database do not fit: " + " ".join(problems)
        )
    return changes, published


def _write(database: Database, content: Content, changes: dict[TableContract, Changes], now: datetime) -> None:
    # All definitions before all rows: a database that commits at each definition still replaces the rows as one.
    for contract, change in changes.items():
        if change.create:
            database.create(contract)
        for column in change.added:
            database.add_column(contract, column)
        database.describe(contract)
    for contract, rows in {PUBLICATION: content.publication(now), **content.rows}.items():
        database.replace(contract, rows)
