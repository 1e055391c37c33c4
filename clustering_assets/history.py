"""Segment history: the customers as they were known at the end of past months, and how they moved between segments."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis.expr.types as ir

from clustering_assets.contracts import CUSTOMER_FEATURES, ORDER_LINES, SEGMENT_HISTORY
from clustering_assets.pseudonyms import hide_ids
from clustering_assets.silver import silver_tables
from clustering_assets.warehouse import (
    record_versions,
    replace_period,
    table,
    table_version,
    transaction,
    utc_now,
)

if TYPE_CHECKING:
    import pandas as pd
    from ibis.backends.duckdb import Backend

_NAME = SEGMENT_HISTORY.qualified_name


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month, by its first day."""

    start: dt.date

    @property
    def end(self) -> dt.date:
        """First day of the month after."""
        return (self.start + dt.timedelta(32)).replace(day=1)

    def day_to_look_from(self, span: tuple[dt.date, dt.date] | None, until: dt.date | None) -> dt.date | None:
        """Return the last day of the month; None for a month before the first order or after the latest.

        Parameters
        ----------
        span
            Days of the first and of the latest order; None when there is no order.
        until
            Last day that counts in this deployment; None for no such day.
        """
        if span is None or not span[0] < self.end or self.start > min(span[1], until or span[1]):
            return None
        return min(self.end - dt.timedelta(1), until or self.end)

    def __str__(self) -> str:
        """Return the month as a person writes it, such as 2025-03."""
        return f"{self.start:%Y-%m}"


def order_span(backend: Backend) -> tuple[dt.date, dt.date] | None:
    """Return the days of the first and of the latest order; None when there is no order."""
    dates = table(backend, ORDER_LINES).order_date
    first, last = dates.min().execute(), dates.max().execute()
    return (first.date(), last.date()) if last == last and last is not None else None


def known_customers(backend: Backend, as_of: dt.date, pseudonym_key: str | None) -> pd.DataFrame:
    """Return silver.customer_features, without computed_at, as it was at the end of a day, in the order of ids.

    Later orders are left out, and later returns have not happened. With a key, pseudonyms stand for the ids.
    """
    kept: list[str] = []

    def keep(rows: ir.Table, name: str) -> ir.Table:
        kept.append(f"kept_{name}")
        return backend.create_table(kept[-1], rows, temp=True, overwrite=True)

    try:
        features = keep(silver_tables(table(backend, ORDER_LINES), as_of, keep)[CUSTOMER_FEATURES], "known_customers")
        if pseudonym_key:
            hide_ids(backend, {features.get_name(): CUSTOMER_FEATURES}, pseudonym_key)
        frame: pd.DataFrame = features.order_by("customer_id").to_pandas()
        return frame
    finally:
        for name in kept:
            backend.con.execute(f"drop table if exists {name}")


def month_versions(backend: Backend) -> dict[str, str]:
    """Return what each month of the table was made of."""
    versions: dict[str, str] = json.loads(table_version(backend, _NAME) or "{}")
    return versions


def assign(home: Path, model_run_id: str, customers: pd.DataFrame, as_of: dt.date) -> pd.DataFrame:
    """Put the customers of a day into the segments of a model: rows of gold.segment_history.

    Raises
    ------
    UnusableModel
        If the file of the model cannot be used.
    """
    import pandas as pd

    from clustering_assets.gold import apply_model

    return apply_model(home, model_run_id, customers, utc_now()).assign(as_of=pd.Timestamp(as_of))


def write_month(backend: Backend, month: Month, rows: pd.DataFrame | None, version: str) -> None:
    """Write a month in one transaction; None for one without customers."""
    import pandas as pd

    with transaction(backend):
        found = pd.DataFrame() if rows is None else rows
        replace_period(backend, SEGMENT_HISTORY, found, "as_of", month.start, month.end)
        record_versions(backend, {_NAME: json.dumps({**month_versions(backend), str(month): version}, sort_keys=True)})


def sizes(backend: Backend, months: int) -> list[dict[str, Any]]:
    """Count the customers of each segment in the latest months that have any: as_of, segment, customers and share."""
    rows = table(backend, SEGMENT_HISTORY)
    counted = rows.group_by("as_of", "segment_id", "segment_name").aggregate(customers=rows.count())
    latest = rows.select("as_of").distinct().order_by(rows.as_of.desc()).limit(months)
    shares = (
        counted.semi_join(latest, "as_of").group_by("as_of").mutate(share=lambda t: t.customers / t.customers.sum())
    )
    found: list[dict[str, Any]] = shares.order_by("as_of", "segment_id").to_pyarrow().to_pylist()
    return found


def moves(backend: Backend, days: list[dt.datetime]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Compare each day with the one before.

    Returns
    -------
    summary
        One row per pair of days: how many customers moved, joined and left, the share of those known on both who
        kept their segment, and whether both days are of the same model.
    ways
        One row per pair of days and way from segment to segment that customers moved, with their share of the segment
        that they come from.
    """
    from clustering_assets.segmentation.identity import flows, kept_share

    summary, ways = [], []
    seen: dict[dt.datetime, pd.DataFrame] = {}
    rows = table(backend, SEGMENT_HISTORY)
    for before, now in pairwise(days):
        for day in (before, now):
            if day not in seen:
                seen[day] = rows.filter(rows.as_of == day).to_pandas().set_index("customer_id")
        was, is_now = seen.pop(before), seen[now]
        names = ["segment_id", "segment_name"]
        found = flows(was[names], is_now[names])
        joined, left = found["from_segment_id"].isna(), found["to_segment_id"].isna()
        moved = ~joined & ~left & (found["from_segment_id"] != found["to_segment_id"])
        summary.append(
            {
                "month": f"{now:%Y-%m}",
                "customers": len(is_now),
                "kept_segment_share": kept_share(was["segment_id"], is_now["segment_id"]),
                "moved": int(found.loc[moved, "customers"].sum()),
                "joined": int(found.loc[joined, "customers"].sum()),
                "left": int(found.loc[left, "customers"].sum()),
                "same_model": bool(was["model_run_id"].iloc[0] == is_now["model_run_id"].iloc[0]),
            }
        )
        ways += [
            {
                "month": f"{now:%Y-%m}",
                "from": way["from_segment_name"],
                "to": way["to_segment_name"],
                "customers": int(way["customers"]),
                "share_of_from": float(way["share_of_from"]),
            }
            for way in found[moved].to_dict("records")
        ]
    return summary, ways


def share_lines(counted: list[dict[str, Any]]) -> tuple[list[dt.datetime], dict[int, list[float]], dict[int, str]]:
    """Turn what `sizes` returned into the days, the share of each segment on each day, and the latest names."""
    days = sorted({row["as_of"] for row in counted})
    of: Mapping[tuple[int, dt.datetime], float] = {(row["segment_id"], row["as_of"]): row["share"] for row in counted}
    names = {row["segment_id"]: row["segment_name"] for row in counted}
    return days, {segment: [of.get((segment, day), 0.0) for day in days] for segment in sorted(names)}, names
