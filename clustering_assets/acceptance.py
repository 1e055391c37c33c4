"""Nothing takes the place of a good table that is not what its contract says."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from clustering_assets.comparison import record
from clustering_assets.conformance import extent, violations
from clustering_assets.contracts import TableContract
from clustering_assets.integrity import IDENTITIES
from clustering_assets.warehouse import has_table, transaction

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_SHOWN = 10


class ContractBroken(Exception):
    """New tables were refused and the last good ones stay; the message says what is wrong with the new ones."""


@contextmanager
def accepted(
    backend: Backend,
    contracts: Collection[TableContract],
    least_rows_kept: float = 0.0,
    may_be_empty: Collection[TableContract] = (),
) -> Iterator[None]:
    """Do everything inside, provided that the tables are then what they have to be; otherwise nothing.

    Parameters
    ----------
    contracts
        The tables that are written inside.
    least_rows_kept
        Share of its rows that a table which is never empty has to keep; 0 allows any loss.
    may_be_empty
        Tables of them that may lose all their rows this time, whatever their contract says.

    Raises
    ------
    ContractBroken
        If a table breaks its contract, an identity with another table fails, or too many rows are gone; everything is
        as it was before.
    """
    promises = [replace(each, never_empty=each.never_empty and each not in may_be_empty) for each in contracts]
    with transaction(backend):
        before = _row_counts(backend, promises)
        extents = {contract: extent(backend, contract) for contract in promises}
        yield
        problems = [
            *(
                f"{contract.qualified_name}: {fault}"
                for contract in promises
                for fault in violations(backend, contract, extents[contract])
            ),
            *(
                f"{identity.table.qualified_name}: {fault}"
                for identity in IDENTITIES
                if identity.table in contracts
                for fault in identity.faults(backend)
            ),
            *_losses(before, _row_counts(backend, promises), least_rows_kept),
        ]
        if problems:
            more = [f"and {len(problems) - _SHOWN:,} more"] if len(problems) > _SHOWN else []
            raise ContractBroken(
                "Nothing was written and the last good tables stay in place, because the new ones break their "
                f"contract: {'; '.join([*problems[:_SHOWN], *more])}."
            )
        record(backend, contracts)


def _row_counts(backend: Backend, contracts: Collection[TableContract]) -> dict[str, int]:
    return {
        contract.qualified_name: backend.con.execute(f"select count(*) from {contract.qualified_name}").fetchall()[0][0]
        for contract in contracts
        if contract.never_empty and has_table(backend, contract)
    }


def _losses(before: dict[str, int], now: dict[str, int], least_rows_kept: float) -> list[str]:
    return [
        f"{name}: {now[name]:,} rows are left of {count:,}, less than {least_rows_kept:.0%}; if that is what they "
        "should be, run once with CLUSTERING_LEAST_ROWS_KEPT=0"
        for name, count in before.items()
        if now[name] < least_rows_kept * count
    ]
