"""Pseudonyms: keyed hashes that stand for customer ids wherever the ids themselves have no business.

With a key, only bronze knows the ids. What the customer ids of a layer are is recorded with its tables, so that ids of
before another key are not taken for other customers.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from clustering_assets.contracts import ALL_TABLES, TableContract
from clustering_assets.versions import fingerprint
from clustering_assets.warehouse import has_table, record_versions, table_version

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

DIGITS = 32
"""Hexadecimal digits of a pseudonym: 128 bits, so that two of 10 million customers share one once in 10^25 times."""

CLEAR = "clear"
"""What the customer ids of a layer are without a key: the canonical ids."""

_BATCH = 100_000


def pseudonym(customer_id: str, key: str) -> str:
    """Return what stands for a customer: the same for the same key, and worth nothing without it."""
    return f"customer-{hmac.digest(key.encode(), customer_id.encode(), hashlib.sha256).hex()[:DIGITS]}"


def one_time_key() -> str:
    """Return a key that nobody keeps: what it hides can never be followed from one place to the next."""
    return secrets.token_hex()


def what_ids_are(key: str | None) -> str:
    """Name what customer ids are with a key: it changes with the key and does not tell it."""
    return fingerprint(pseudonym("", key)) if key else CLEAR


def ids_in(backend: Backend, layer: str) -> str:
    """Return what the customer ids of a layer's tables are, as `what_ids_are` names it."""
    return table_version(backend, f"{layer}.customer_ids") or CLEAR


def record_ids(backend: Backend, layer: str, what: str) -> None:
    """Record what the customer ids of a layer's tables are, in the transaction that writes them."""
    record_versions(backend, {f"{layer}.customer_ids": what})


def has_customers(contract: TableContract) -> bool:
    """Whether the rows of a table are of customers."""
    return "customer_id" in contract.column_names


def tables_with_customers(backend: Backend, *layers: str) -> list[TableContract]:
    """Return the tables of these layers that exist and whose rows are of customers."""
    return [
        contract
        for contract in ALL_TABLES
        if contract.layer in layers and has_customers(contract) and has_table(backend, contract)
    ]


def hide_ids(backend: Backend, tables: Mapping[str, TableContract], key: str) -> None:
    """Put pseudonyms in the place of the canonical ids in tables, by their names."""
    run = backend.con.execute
    ids = run(" union ".join(f"select customer_id from {name}" for name in tables)).to_arrow_table()
    run("create or replace temp table pseudonyms (customer_id varchar, pseudonym varchar)")
    for batch in ids.to_batches(_BATCH):
        hidden = [pseudonym(customer_id, key) for customer_id in batch.column(0).to_pylist()]
        backend.con.register("hashed", pa.table({"customer_id": batch.column(0), "pseudonym": hidden}))
        run("insert into pseudonyms select * from hashed")
        backend.con.unregister("hashed")
    for name, contract in tables.items():
        columns = [column for column in ("customer_id", "source_customer_id") if column in contract.column_names]
        said = ", ".join(f"{column} = p.pseudonym" for column in columns)
        run(f"update {name} as t set {said} from pseudonyms p where t.customer_id = p.customer_id")
    run("drop table pseudonyms")
