"""What is published: the tables of one run, read at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from clustering_assets.contracts import CUSTOMER_FEATURES, CUSTOMER_SEGMENTS, PUBLISHED, SEGMENT_MODEL, TableContract
from clustering_assets.versions import PUBLISHING_VERSION, fingerprint
from clustering_assets.warehouse import has_table, table, table_version, transaction

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from ibis.backends.duckdb import Backend


class NothingToPublish(Exception):
    """The tables are not there, or not of one run; the message says what to materialize."""


@dataclass(frozen=True, slots=True)
class Content:
    """The tables of one run.

    Parameters
    ----------
    rows
        Each table in Arrow.
    content_versions
        What stands for the rows and the contract of each table: the same for the same.
    data_versions
        Dagster's data version of each table.
    model_run_id
        The fit that the tables belong to.
    """

    rows: Mapping[TableContract, pa.Table]
    content_versions: Mapping[TableContract, str]
    data_versions: Mapping[TableContract, str]
    model_run_id: str

    @property
    def version(self) -> str:
        """What stands for all of it."""
        return fingerprint(*self.content_versions.values())

    def publication(self, published_at: datetime) -> pa.Table:
        """Return the rows of the table ``publication``."""
        import pyarrow as pa

        return pa.Table.from_pylist(
            [
                {
                    "table_name": contract.name,
                    "row_count": rows.num_rows,
                    "content_version": self.content_versions[contract],
                    "data_version": self.data_versions[contract],
                    "model_run_id": self.model_run_id,
                    "published_at": published_at,
                }
                for contract, rows in self.rows.items()
            ]
        )


def read_content(backend: Backend) -> Content:
    """Read the tables that are published.

    Raises
    ------
    NothingToPublish
        If a table is missing, or if gold was made from another silver than the one that is there.
    """
    missing = [contract for contract in PUBLISHED if not has_table(backend, contract)]
    if missing:
        names = ", ".join(contract.qualified_name for contract in missing)
        raise NothingToPublish(f"There is no {names} yet: run the job `everything` first.")
    with transaction(backend):
        data_versions = {contract: table_version(backend, contract.qualified_name) or "" for contract in PUBLISHED}
        [(model_run_id, made_from)] = backend.con.execute(
            f"select model_run_id, input_version from {SEGMENT_MODEL.qualified_name} where model_run_id = "
            f"(select any_value(model_run_id) from {CUSTOMER_SEGMENTS.qualified_name})"
        ).fetchall()
        if made_from != data_versions[CUSTOMER_FEATURES]:
            raise NothingToPublish(
                "The segments were made from other customer features than those that are there now, and would "
                "contradict them: materialize the gold layer, then publish."
            )
        return Content(
            rows={
                contract: table(backend, contract)
                .select(*contract.column_names)
                .order_by(list(contract.key))
                .to_pyarrow()
                for contract in PUBLISHED
            },
            content_versions={
                contract: content_version(backend.con, contract, contract.qualified_name) for contract in PUBLISHED
            },
            data_versions=data_versions,
            model_run_id=model_run_id,
        )


def content_version(connection: duckdb.DuckDBPyConnection, contract: TableContract, name: str) -> str:
    """Fingerprint of the rows that a DuckDB table of that name holds, whatever their order, and of their contract."""
    columns = ", ".join(f'"{column}"' for column in contract.column_names)
    digest = connection.execute(f"select count(*), sum(hash({columns})) from {name}").fetchone()
    return fingerprint(PUBLISHING_VERSION, asdict(contract), digest)
