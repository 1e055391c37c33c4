"""What tables were like when they were last written, for checks to compare with: figures, and values seen so far."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    CUSTOMER_SEGMENTS,
    IMPUTATION_LOG,
    ORDER_LINES,
    SEGMENT_PROFILES,
    SOURCE_FILES,
    TableContract,
)
from clustering_assets.warehouse import has_table, is_there, utc_now

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

ROWS, NEWEST_ORDER, REJECTED_SHARE, MISSING = "rows", "newest order", "rejected share", "missing "
"""Names of figures: rows, day of the newest order since 1970, share of the rows read, and before a column's name the
share of the rows that have no value of their own in it."""

_FIGURES, _SEEN = "main.table_figures", "main.values_seen"

_LINE_FIGURES = {
    ROWS: "count(*)",
    NEWEST_ORDER: "epoch(max(order_date)) / 86400",
    REJECTED_SHARE: f"(select sum(rows_rejected) / nullif(sum(rows_read), 0) from {SOURCE_FILES.qualified_name})",
    **{
        f"{MISSING}{column.name}": f'avg(("{column.name}" is null)::int)'
        for column in ORDER_LINES.columns
        if not column.required
    },
}
SHOP_FIGURES = {
    "customers": "count(*)",
    "orders": "sum(order_count)",
    "lines": "sum(round(lines_per_order * order_count))",
    "returned_lines": "sum(returned_line_count)",
    "order_value": "sum(mean_order_value * order_count)",
    "returned_value": "case when count(mean_order_value) > 0 then sum(mean_return_value * returned_line_count) end",
    "outliers": "count(*) filter (segment_id = -1)",
    "possible_saving": f"(select sum(possible_saving) from {SEGMENT_PROFILES.qualified_name})",
}
"""Figures of the whole shop as a fit saw it, and how they come from `SEGMENTED`; null where lines have no value."""

SEGMENTED = (
    f"(from {CUSTOMER_FEATURES.qualified_name} join "
    f"(select customer_id, segment_id from {CUSTOMER_SEGMENTS.qualified_name}) using (customer_id))"
)
"""The customers with their features and segment."""

_MEASURES = {
    ORDER_LINES: f"""
        select unnest({[*_LINE_FIGURES]}), unnest(measured)
        from (select [{", ".join(f"({figure})::double" for figure in _LINE_FIGURES.values())}] as measured
              from {ORDER_LINES.qualified_name})""",
    CUSTOMER_FEATURES: f"""
        select '{ROWS}', count(*) from {CUSTOMER_FEATURES.qualified_name}
        union all
        select '{MISSING}' || feature, values_filled / (select count(*) from {CUSTOMER_FEATURES.qualified_name})
        from {IMPUTATION_LOG.qualified_name}""",
    SEGMENT_PROFILES: f"""
        select unnest({[*SHOP_FIGURES]}), unnest(measured)
        from (select [{", ".join(f"({figure})::double" for figure in SHOP_FIGURES.values())}] as measured
              from {SEGMENTED})""",
}
_MEASURED_WITH = {ORDER_LINES: SOURCE_FILES, CUSTOMER_FEATURES: IMPUTATION_LOG, SEGMENT_PROFILES: CUSTOMER_FEATURES}
"""Table -> the other one that its figures need."""
_PLACES = {
    "category": ORDER_LINES,
    "brand": ORDER_LINES,
    "layout": SOURCE_FILES,
}
"""Column -> table whose values are remembered."""


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of a table as it is, and as it was before the table was last written; None where there was none."""

    before: float | None
    now: float | None


def record(backend: Backend, contracts: Collection[TableContract]) -> None:
    """Measure tables that were written and remember their values, in the transaction that writes them."""
    run = backend.con.execute
    run(
        f"""create table if not exists {_FIGURES} (
            name varchar, figure varchar, before double, now double, written_at timestamp,
            primary key (name, figure))"""
    )
    run(
        f"""create table if not exists {_SEEN} (
            kind varchar, value varchar, first_seen timestamp, primary key (kind, value))"""
    )
    written_at = utc_now()
    for contract in contracts:
        if contract in _MEASURES and has_table(backend, _MEASURED_WITH[contract]):
            run(
                f"""insert or replace into {_FIGURES}
                    select $1, figure, f.now, measured, $2
                    from ({_MEASURES[contract]}) as m(figure, measured)
                    left join (from {_FIGURES} where name = $1) as f using (figure)""",
                [contract.qualified_name, written_at],
            )
        for column in (column for column, table in _PLACES.items() if table is contract):
            run(
                f"""insert or ignore into {_SEEN} select distinct $1, {column}, $2::timestamp
                    from {contract.qualified_name} where {column} is not null""",
                [column, written_at],
            )


def changes(backend: Backend, contract: TableContract) -> dict[str, Change]:
    """Return the figures of a table by name; empty where none were recorded."""
    if not is_there(backend, "main", "table_figures"):
        return {}
    found = backend.con.execute(
        f"select figure, before, now from {_FIGURES} where name = $1", [contract.qualified_name]
    ).fetchall()
    return {figure: Change(before, now) for figure, before, now in found}


def new_values(backend: Backend, column: str) -> list[str]:
    """Return the values of a column that nobody had seen before bronze was last written; none at the first load."""
    if not is_there(backend, "main", "values_seen"):
        return []
    found = backend.con.execute(
        f"""select value, first_seen = (select max(written_at) from {_FIGURES} where name = $2) as is_new
            from {_SEEN} where kind = $1 order by value""",
        [column, ORDER_LINES.qualified_name],
    ).fetchall()
    return [str(value) for value, is_new in found if is_new] if not all(is_new for _, is_new in found) else []
