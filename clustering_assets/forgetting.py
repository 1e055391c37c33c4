"""Forgetting customers: out of the tables and the exports, and out of the bytes that the warehouse keeps of old rows.

What is read from the sources is kept out by ``sources.ingestion``. Each step may be done again, so that a run that is
killed is finished by the next one; a request goes last.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from clustering_assets.contracts import FORGOTTEN_CUSTOMERS, FULFILLED_REQUESTS, TableContract
from clustering_assets.forgotten import Forgotten, UnusableRequest, read_record, requested_ids, requests, write_record
from clustering_assets.pseudonyms import pseudonym, tables_with_customers
from clustering_assets.sources.customer_ids import canonical_ids
from clustering_assets.warehouse import Warehouse, has_table, replace_table, row_count, table, transaction

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

LAYERS_ABOVE = ("silver", "gold")


class NotForgotten(Exception):
    """Something of a customer who asked to be forgotten is still there; the message says where."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of the requests so far: counts, of customers and of rows that are gone."""

    requests: int
    customers: int
    unknown_customers: int
    rows_removed: int


def forgotten_customers(backend: Backend, home: Path) -> Forgotten:
    """Return who is to be kept out.

    Raises
    ------
    UnusableRequest
        If the record is damaged, or is gone although the warehouse says that there is one.
    """
    forgotten = read_record(home)
    if not forgotten.customers and has_table(backend, FORGOTTEN_CUSTOMERS):
        lost = row_count(backend, FORGOTTEN_CUSTOMERS)
        if lost:
            raise UnusableRequest(
                f"{home / 'forgotten.json'} is missing, and {lost:,} customers who were forgotten would come back: put "
                "back a copy of it."
            )
    return forgotten


def accept_requests(backend: Backend, home: Path, pseudonym_key: str | None, now: datetime) -> Accepted:
    """Record who asks to be forgotten, and remove them from silver and gold, and all workbooks and reports.

    Parameters
    ----------
    pseudonym_key
        Key of the pseudonyms that stand for customers above bronze, if they do.
    now
        Moment to record (UTC).

    Raises
    ------
    UnusableRequest
        If a request or the record cannot be read; nothing is changed.
    """
    forgotten = forgotten_customers(backend, home)
    files = requests(home)
    ids = canonical_ids(backend, (each for path in files for each in requested_ids(path)))
    removed = unknown = 0
    if ids:
        forgotten = forgotten.and_also(ids, now)
        write_record(home, forgotten)
        with _named(backend, ids, pseudonym_key):
            known = _count(backend, tables_with_customers(backend, "bronze"))
            unknown = len(ids) - known
            with transaction(backend):
                for contract in tables_with_customers(backend, *LAYERS_ABOVE):
                    deleted = backend.con.execute(
                        f"delete from {contract.qualified_name} where customer_id in (select name from forgotten_names)"
                    )
                    removed += int(deleted.fetchall()[0][0])
        _remove_copies(home)
    _write_table(backend, forgotten)
    return Accepted(len(files), len(ids), unknown, removed)


def fulfil_requests(warehouse: Warehouse, pseudonym_key: str | None, now: datetime) -> int:
    """Make sure that nothing is left of the customers who asked, write the warehouse anew and close the requests.

    Parameters
    ----------
    pseudonym_key, now
        As for `accept_requests`.

    Returns
    -------
    int
        How many customers were forgotten. A request that nobody accepted yet is left for the next time.

    Raises
    ------
    NotForgotten
        If a table still has one of them; their requests stay.
    """
    record = read_record(warehouse.home)
    done: dict[Path, list[str]] = {}
    with warehouse.connect() as backend:
        for path in requests(warehouse.home):
            ids = canonical_ids(backend, requested_ids(path))
            if all(each in record for each in ids):
                done[path] = ids
        customers = sorted({each for ids in done.values() for each in ids})
        with _named(backend, customers, pseudonym_key):
            left = [
                contract.qualified_name
                for contract in tables_with_customers(backend, "bronze", *LAYERS_ABOVE)
                if _count(backend, [contract])
            ]
        if left:
            raise NotForgotten(
                f"Customers who asked to be forgotten are still in {', '.join(left)}: run the job forget_customers."
            )
        _write_receipt(backend, done, len(customers), now)
    if done:
        _remove_error_logs(warehouse.home)
        warehouse.write_anew()
        for path in done:
            path.unlink()
    return len(customers)


@contextmanager
def _named(backend: Backend, ids: list[str], pseudonym_key: str | None) -> Iterator[None]:
    """Put what tables may call these customers into the temporary table ``forgotten_names``."""
    names = [*ids, *(pseudonym(each, pseudonym_key) for each in ids if pseudonym_key)]
    backend.con.register("names", pa.table({"name": pa.array(names, pa.string())}))
    backend.con.execute("create or replace temp table forgotten_names as select name from names")
    backend.con.unregister("names")
    try:
        yield
    finally:
        backend.con.execute("drop table forgotten_names")


def _count(backend: Backend, tables: list[TableContract]) -> int:
    """Count which of the names occur in the tables."""
    if not tables:
        return 0
    ids = " union all ".join(f"select customer_id from {contract.qualified_name}" for contract in tables)
    query = f"select count(*) from forgotten_names where name in (select customer_id from ({ids}))"
    return int(backend.con.execute(query).fetchall()[0][0])


def _write_table(backend: Backend, forgotten: Forgotten) -> None:
    """Write bronze.forgotten_customers, a copy of the record without the key, where it is another than before."""
    rows = sorted(forgotten.customers.items())
    if not has_table(backend, FORGOTTEN_CUSTOMERS) or row_count(backend, FORGOTTEN_CUSTOMERS) != len(rows):
        hashes = pa.array([each for each, _ in rows], pa.string())
        moments = pa.array([datetime.fromisoformat(moment) for _, moment in rows], pa.timestamp("us"))
        with transaction(backend):
            replace_table(backend, FORGOTTEN_CUSTOMERS, pa.table({"customer_hash": hashes, "forgotten_at": moments}))


def _write_receipt(backend: Backend, done: dict[Path, list[str]], customers: int, now: datetime) -> None:
    columns = FULFILLED_REQUESTS.column_names
    before = (
        table(backend, FULFILLED_REQUESTS).to_pyarrow().to_pylist() if has_table(backend, FULFILLED_REQUESTS) else []
    )
    if done:
        asked = min(path.stat().st_mtime for path in done)
        requested_at = datetime.fromtimestamp(asked, UTC).replace(tzinfo=None)
        before.append(dict(zip(columns, (now, requested_at, len(done), customers), strict=True)))
    schema = pa.schema([(name, pa.timestamp("us") if name.endswith("_at") else pa.int64()) for name in columns])
    with transaction(backend):
        replace_table(backend, FULFILLED_REQUESTS, pa.Table.from_pylist(before, schema))


def _remove_copies(home: Path) -> None:
    """Remove workbooks and reports, unfinished ones too: the next ones are without those customers."""
    for kind in ("*.xlsx*", "*.html*"):
        for path in (home / "exports").glob(kind):
            path.unlink()


def _remove_error_logs(home: Path) -> None:
    for path in home.glob("errors.log*"):
        path.unlink()
