"""The silver layer: from the order lines in the warehouse to the tables of behaviour per customer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir

from clustering_assets.acceptance import accepted
from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    DROPPED_CUSTOMERS,
    IMPUTATION_LOG,
    IMPUTED_FEATURES,
    ORDER_LINES,
    TableContract,
)
from clustering_assets.features.customer_features import customer_features
from clustering_assets.imputation import impute
from clustering_assets.lineage import Leaves, column_lineage
from clustering_assets.pseudonyms import (
    CLEAR,
    has_customers,
    hide_ids,
    ids_in,
    record_ids,
    tables_with_customers,
    what_ids_are,
)
from clustering_assets.warehouse import AS_OF, literal, record_versions, replace_table, table

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_log = logging.getLogger(__name__)


class NoCustomers(Exception):
    """Nobody has the core metrics; the message says what is missing."""


def silver_tables(
    lines: ir.Table, as_of: date | None, keep: Callable[[ir.Table, str], ir.Table]
) -> dict[TableContract, ir.Table]:
    """Return the silver tables, ``computed_at`` aside, as expressions over order lines; `keep` as for features."""
    imputed = impute(keep(customer_features(lines, as_of, keep), "unimputed_features"), keep)
    return {
        CUSTOMER_FEATURES: imputed.features,
        IMPUTATION_LOG: imputed.log,
        DROPPED_CUSTOMERS: imputed.dropped,
        IMPUTED_FEATURES: imputed.imputed,
    }


@cache
def silver_lineage() -> dict[TableContract, dict[str, frozenset[tuple[str, str]]]]:
    """Column lineage of the silver tables, from their expressions: column -> (``layer.table``, column) pairs.

    The features are traced before imputation: that a mean is taken over the customers who have the core metrics does
    not make every feature one of those metrics.
    """
    lines = ibis.table({column.name: column.type for column in ORDER_LINES.columns}, name=ORDER_LINES.qualified_name)
    kept: dict[str, dict[str, Leaves]] = {}

    def keep(rows: ir.Table, name: str) -> ir.Table:
        # as where silver is written, a table in the place of what it is made of: that is traced once, and not in all
        kept[name] = column_lineage(rows, kept)
        return ibis.table(rows.schema(), name=name)

    tables = silver_tables(lines, None, keep)
    lineage = {contract: column_lineage(rows, kept) for contract, rows in tables.items()}
    return {**lineage, CUSTOMER_FEATURES: kept["unimputed_features"]}


def write_silver(
    backend: Backend,
    as_of: date | None,
    version: str,
    now: datetime,
    pseudonym_key: str | None = None,
    least_rows_kept: float = 0.0,
    computed: Mapping[TableContract, Path] | None = None,
) -> None:
    """Compute the silver tables from bronze and write them in one transaction.

    When pseudonyms come in the place of clear ids, the tables of gold get them in the same transaction.

    Parameters
    ----------
    as_of
        Day to look from; None for the day of the latest order.
    version
        Fingerprint to record with the tables.
    now
        Moment to record as ``computed_at`` (UTC).
    pseudonym_key
        Key of the pseudonyms that stand for the customers; None for clear ids.
    least_rows_kept
        Share of the number of customers before that there has to be.
    computed
        Folders of Parquet files of the tables, where another engine has computed them.

    Raises
    ------
    ContractBroken
        If a table would break its contract or lose too many rows; the tables stay as they were.
    NoCustomers
        If no customer is left; the tables stay as they were.
    """
    temporary: list[str] = []

    def keep(rows: ir.Table, name: str) -> ir.Table:
        kept = f"kept_{name}"
        temporary.append(kept)
        # Ibis would write the rows twice: into a table of another name first
        backend.con.execute(f"create or replace temp table {kept} as {backend.compile(rows)}")
        return backend.table(kept, database="temp.main")

    try:
        expressions = (
            silver_tables(table(backend, ORDER_LINES), as_of, keep)
            if computed is None
            else {contract: _in_files(backend, folder) for contract, folder in computed.items()}
        )
        tables = {contract: keep(rows, contract.name) for contract, rows in expressions.items()}
        features = tables[CUSTOMER_FEATURES]
        [(customers,)] = backend.con.execute(backend.compile(features.count())).fetchall()
        if customers == 0:
            raise NoCustomers(_why_nobody(tables[DROPPED_CUSTOMERS]))
        _log.info("writing the features of %s customers, once they follow their contract", f"{customers:,}")
        if pseudonym_key:
            hide_ids(backend, {f"kept_{each.name}": each for each in tables if has_customers(each)}, pseudonym_key)
        with accepted(backend, tables, least_rows_kept):
            _record_ids(backend, pseudonym_key)
            for contract, rows in tables.items():
                stamped = rows.mutate(computed_at=ibis.literal(now)) if contract is CUSTOMER_FEATURES else rows
                replace_table(backend, contract, stamped)
            record_versions(backend, {contract.qualified_name: version for contract in tables})
            record_versions(backend, {AS_OF: as_of.isoformat() if as_of else ""})
    finally:
        for name in temporary:
            backend.con.execute(f"drop table if exists {name}")


def _in_files(backend: Backend, folder: Path) -> ir.Table:
    return backend.sql(f"select * from read_parquet({literal(f'{folder}/*.parquet')})")


def _record_ids(backend: Backend, pseudonym_key: str | None) -> None:
    """Record what the ids of silver are; where gold has clear ids that must be so no more, hide them."""
    record_ids(backend, "silver", what_ids_are(pseudonym_key))
    gold = tables_with_customers(backend, "gold")
    if pseudonym_key and gold and ids_in(backend, "gold") == CLEAR:
        hide_ids(backend, {contract.qualified_name: contract for contract in gold}, pseudonym_key)
        record_ids(backend, "gold", what_ids_are(pseudonym_key))


def _why_nobody(dropped: ir.Table) -> str:
    counts = dropped.missing.topk(3).to_pyarrow().to_pylist()
    missing = "; ".join(f"{row['missing']} ({next(iter(list(row.values())[1:])):,} customers)" for row in counts)
    return (
        f"No customer is left for the silver layer: all lack a core metric ({missing or 'there is no order line'}). "
        "Check order_date and quantity in the source files, and the day to look from."
    )
