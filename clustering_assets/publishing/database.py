"""What a place to publish to can do, and why publishing fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, quote_plus

from clustering_assets.contracts import Column, TableContract
from clustering_assets.publishing.changes import TableThere

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa


class PublishingFailed(Exception):
    """The tables could not be published, and those in the database are as they were; the message says why.

    Parameters
    ----------
    message
        One sentence or more, without a password and without a row.
    transient
        Whether it may work if it is tried again.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class Database(Protocol):
    """A schema of a database in an open transaction, which no other publisher has open at the same time."""

    def name(self, contract: TableContract) -> str:
        """What the table is called there, with its schema."""

    def make_schema(self) -> None:
        """Make the schema if it is missing."""

    def find(self, contract: TableContract) -> TableThere | None:
        """Describe the table as it is; None if it is missing."""

    def types(self, contract: TableContract) -> Mapping[str, str]:
        """Type of each column of the contract, as the database writes it."""

    def create(self, contract: TableContract) -> None:
        """Make the table, empty."""

    def add_column(self, contract: TableContract, column: Column) -> None:
        """Add a column that the table lacks."""

    def describe(self, contract: TableContract) -> None:
        """Put the descriptions of the contract beside the table, where the database has a place for them."""

    def content_versions(self, publication: TableContract) -> Mapping[str, str]:
        """Content version of each table that was published, by name."""

    def is_empty(self, contract: TableContract) -> bool:
        """Whether the table has no rows."""

    def is_as_published(self, contract: TableContract, publication: TableContract) -> bool:
        """Whether the rows are still those that the publication speaks of, as far as the database can tell."""

    def replace(self, contract: TableContract, rows: pa.Table) -> None:
        """Put the rows in the place of those that are there."""


def masked(url: sa.URL) -> str:
    """The URL without its password and without its query, which may hold others."""
    return url.set(query={}).render_as_string(hide_password=True)


def without_secrets(text: str, url: sa.URL) -> str:
    """Take the password of a URL out of a text, wherever the URL has it."""
    in_query = [url.query[name] for name in url.query if "passw" in name or "secret" in name or "token" in name]
    for secret in filter(None, [url.password, *in_query]):
        for written in {str(secret), quote(str(secret), safe=""), quote_plus(str(secret))}:
            text = text.replace(written, "***")
    return text
