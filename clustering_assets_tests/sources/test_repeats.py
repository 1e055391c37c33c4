"""Rows of one key in one file against rules written out in plain Python."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime
from typing import Any

import duckdb
import ibis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustering_assets.sources.layout import Repeats
from clustering_assets.sources.repeats import combined, without_exact_repeats
from clustering_assets.sources.values import CANDIDATES

Row = dict[str, Any]
KEY = ("order_id", "customer_id", "sku")
SALE = ("order_date", "quantity", "line_value")
RETURN = ("return_quantity", "return_date", "category", "brand", "return_reason", "return_id")
SHOWN = (*KEY, *SALE, *RETURN[:-1], "source_customer_id", "quality_flags", "source_row", "merged")


def grouped(rows: Iterable[Row], names: Iterable[str]) -> list[list[Row]]:
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["source_row"]):
        groups[tuple(row[name] for name in names)].append(row)
    return list(groups.values())


def known(group: list[Row], name: str) -> list[Any]:
    return [row[name] for row in group if row[name] is not None]


def added_up(group: list[Row], same: Iterable[str]) -> Row:
    line = dict(group[-1])
    for name in ("category", "brand", "return_reason"):
        line[name] = known(group, name)[-1] if known(group, name) else None
    for name in {"quantity", "line_value"} - set(same):
        line[name] = sum(known(group, name)) if known(group, name) else None
    if "order_date" not in same:
        line["order_date"] = min(known(group, "order_date"), default=None)
    line["return_date"] = max(known(group, "return_date"), default=None)
    line["return_quantity"] = sum(known(group, "return_quantity"))
    flags = {code for row in group for code in row["quality_flags"].split(";") if code}
    if line["quantity"] is not None and line["return_quantity"] > line["quantity"]:
        line["return_quantity"] = line["quantity"]
        flags.add("RETURN_EXCEEDS_QUANTITY")
    return line | {"quality_flags": ";".join(sorted(flags)), "merged": len(group) - 1}


def by_rule(rows: list[Row], rule: Repeats) -> list[Row]:
    distinct = [group[-1] | {"merged": 0} for group in grouped(rows, (*KEY, *SALE, *RETURN))]
    if rule is Repeats.SUM:
        return [added_up(group, ()) for group in grouped(distinct, KEY)]
    if rule is Repeats.RETURNS:
        distinct = [added_up(group, SALE) for group in grouped(distinct, (*KEY, *SALE))]
    return [group[-1] | {"merged": sum(row["merged"] for row in group)} for group in grouped(distinct, KEY)]


@pytest.fixture(scope="module")
def combine() -> Callable[[list[Row], Repeats], list[Row]]:
    connection = duckdb.connect()
    queries = {
        rule: str(ibis.to_sql(combined(without_exact_repeats(CANDIDATES), rule), dialect="duckdb")) for rule in Repeats
    }
    types = {"string": "varchar", "int64": "bigint", "float64": "double", "boolean": "boolean"}
    schema = {name: types.get(str(kind), "timestamp") for name, kind in CANDIDATES.schema().items()}
    connection.execute(f"create table candidates ({', '.join(f'{name} {kind}' for name, kind in schema.items())})")

    def run(rows: list[Row], rule: Repeats) -> list[Row]:
        connection.execute("delete from candidates")
        marks = ", ".join("?" * len(schema))
        connection.executemany(
            f"insert into candidates values ({marks})", [[row.get(name) for name in schema] for row in rows]
        )
        found = connection.execute(f"select {', '.join(SHOWN)} from ({queries[rule]})").fetchall()
        return [dict(zip(SHOWN, row, strict=True)) for row in found]

    return run


def maybe(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


ROW = st.fixed_dictionaries(
    {
        "order_id": st.sampled_from("12"),
        "customer_id": st.just("ann"),
        "sku": st.sampled_from("XY"),
        "order_date": maybe(datetime(2024, 1, 1), datetime(2024, 1, 2)),
        "quantity": maybe(1, 3),
        "line_value": maybe(2.5, 10.0),
        "return_quantity": st.integers(0, 2),
        "return_date": maybe(datetime(2024, 2, 1), datetime(2024, 2, 2)),
        "category": maybe("shoes"),
        "brand": maybe("A", "B"),
        "return_reason": maybe("too small"),
        "return_id": maybe("R1", "R2"),
        "source_customer_id": st.sampled_from(["ann", "ANN"]),
        "quality_flags": st.sampled_from(["", "BAD_QUANTITY", "BAD_QUANTITY;BAD_RETURN_DATE"]),
    }
)


def in_order(rows: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted((tuple(row[name] for name in SHOWN) for row in rows), key=lambda row: row[:3])


@pytest.mark.parametrize("rule", Repeats)
@given(rows=st.lists(ROW, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_rows_of_one_key_follow_the_rule(
    combine: Callable[[list[Row], Repeats], list[Row]], rule: Repeats, rows: list[Row]
) -> None:
    numbered = [row | {"source_row": place} for place, row in enumerate(rows, start=2)]
    doubled = [*numbered, numbered[0] | {"source_row": len(rows) + 2}]
    assert in_order(combine(doubled, rule)) == in_order(by_rule(doubled, rule))
