"""Customer ids however they are written: their canonical form, and which of them are of customers who are forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from clustering_assets.forgotten import Forgotten

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

BLANKS = " \t\r\n"
_BATCH = 100_000

ID_TOKENS = r"""list_distinct(list_concat(
    regexp_split_to_array(raw_text, '[\t,;|"]'), regexp_split_to_array(raw_text, '[\s,;|"''<>(){}=:/\[\]]+')))"""
"""What could be a customer id in ``raw_text``: its fields, and their words."""


def trimmed(text: ir.StringValue) -> ir.StringValue:
    """Text without blanks around it; null where nothing else is there.

    Only text that has such blanks is stripped: to strip all takes 2.1 s of processor time for a column of 4.5 million
    rows, to look first 0.1 s.
    """
    has_blanks = text < "!"
    for blank in BLANKS:
        has_blanks |= text.endswith(blank)
    return ibis.ifelse(has_blanks, text.strip().nullif(""), text)


def canonical(text: ir.StringValue) -> ir.StringValue:
    """Return the canonical id of a customer from trimmed text: an e-mail address is lower-cased."""
    return ibis.ifelse(text.contains("@"), text.lower(), text)


def canonical_ids(backend: Backend, written: Iterable[str]) -> list[str]:
    """Return the distinct canonical ids of customers, however they are written."""
    backend.con.register("written_ids", pa.table({"text": pa.array(written, pa.string())}))
    try:
        found = backend.con.execute(_canonical_query("from written_ids")).fetchall()
    finally:
        backend.con.unregister("written_ids")
    return sorted({customer_id for _, customer_id in found})


def find_forgotten(backend: Backend, texts: str, forgotten: Forgotten) -> None:
    """List in the temporary table ``forgotten_texts`` which values of ``text`` in a query are ids of the forgotten."""
    run = backend.con.execute
    found = run(_canonical_query(texts)).to_arrow_table()
    run("create or replace temp table forgotten_texts (text varchar)")
    named = [
        text for text, each in zip(*(column.to_pylist() for column in found.columns), strict=True) if each in forgotten
    ]
    backend.con.register("named_texts", pa.table({"text": pa.array(named, pa.string())}))
    run("insert into forgotten_texts from named_texts")
    backend.con.unregister("named_texts")


def _canonical_query(texts: str) -> str:
    return f"with texts as ({texts}) {_canonical_of_texts()}"


@cache
def _canonical_of_texts() -> str:
    text = ibis.table({"text": "string"}, name="texts")
    distinct = text.select("text", customer_id=canonical(trimmed(text.text))).distinct()
    return str(ibis.to_sql(distinct.filter(distinct.customer_id.notnull()), dialect="duckdb"))
