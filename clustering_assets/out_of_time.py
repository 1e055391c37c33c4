"""Out-of-time validation: how much the segments of a past day explain of what their customers did afterwards."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.types as ir

from clustering_assets.contracts import CLUSTERING_FEATURES, CUSTOMER_FEATURES
from clustering_assets.features.arithmetic import count_if, divide
from clustering_assets.features.grains import lines_as_of
from clustering_assets.silver import silver_tables

if TYPE_CHECKING:
    import pandas as pd
    from ibis.backends.duckdb import Backend

TARGETS = ("future_return_rate", "future_return_value", "future_order_value")
SCALES = ("values", "ranks")
SEGMENTS = "segments"
LEAST_CUSTOMERS = 100
"""With fewer customers a share of variance says nothing."""


class TooLittleHistory(Exception):
    """The orders do not reach far enough back, or forward; the message says what is needed."""


def cut_dates(
    first: dt.date,
    last: dt.date,
    *,
    as_of: dt.date | None,
    horizon_days: int,
    history_days: int,
    most: int,
    days_apart: int,
) -> list[dt.date]:
    """Choose the days to look from, the latest first.

    Parameters
    ----------
    first, last
        First and last day of orders.
    as_of
        The latest day to look from; None for the last one that has a whole horizon after it.
    horizon_days
        Days after it that have to be over.
    history_days
        Days of orders that a day to look from needs before it.
    most, days_apart
        How many such days at most, and how far they are apart.

    Raises
    ------
    TooLittleHistory
        If there is no such day.
    """
    latest = last - dt.timedelta(horizon_days)
    earliest = first + dt.timedelta(history_days)
    if as_of is not None and as_of > latest:
        raise TooLittleHistory(
            f"The {horizon_days} days after {as_of} are not over, since the last orders are of {last}: set as_of to "
            f"{latest} or earlier, or horizon_days to fewer."
        )
    if (as_of or latest) < earliest:
        raise TooLittleHistory(
            f"The orders from {first} to {last} are too short a history: {history_days} days before "
            f"{as_of or 'the day to look from'} and {horizon_days} days after it are needed. Load more orders, or "
            "lower history_days or horizon_days."
        )
    steps = min(most, ((as_of or latest) - earliest).days // days_apart + 1)
    return [(as_of or latest) - dt.timedelta(days_apart * step) for step in range(steps)]


def future_behaviour(order_lines: ir.Table, as_of: dt.date, horizon_days: int) -> ir.Table:
    """Describe what customers did in the days after a day.

    Parameters
    ----------
    order_lines
        bronze.order_lines.
    as_of, horizon_days
        Lines ordered after as_of and up to that many days later count, with what of them came back by then.

    Returns
    -------
    ir.Table
        One row per customer with such a line: the share of them that were returned, the value returned (line value *
        units returned / units bought) and the value ordered. Lines without a value are left out of the values.
    """
    lines = lines_as_of(order_lines, as_of + dt.timedelta(horizon_days))
    next_day = ibis.timestamp((as_of + dt.timedelta(1)).isoformat())
    lines = lines.filter(lines.order_date >= next_day)
    return lines.group_by("customer_id").aggregate(
        future_return_rate=divide(count_if(lines.returned), lines.sku.count()),
        future_return_value=divide(lines.line_value * lines.return_quantity, lines.quantity).sum(),
        future_order_value=lines.line_value.sum(),
    )


def observe(
    backend: Backend, order_lines: ir.Table, until: dt.date | None, *, horizon_days: int, **choice: Any
) -> dict[dt.date, pd.DataFrame]:
    """Return, for each day to look from, the customers known on it and what they did afterwards.

    Parameters
    ----------
    backend
        Where intermediate results are kept as temporary tables.
    order_lines
        bronze.order_lines.
    until
        Last day of orders that counts; None for the day of the latest one.
    horizon_days, **choice
        As for `cut_dates`.

    Returns
    -------
    dict
        By day, the latest first, a frame of one row per customer: silver.customer_features without computed_at, and the
        `TARGETS`. Who ordered nothing afterwards has values of 0 and no return rate.

    Raises
    ------
    TooLittleHistory
        If there is no day to look from on which `LEAST_CUSTOMERS` were known.
    """
    [span] = (
        order_lines.aggregate(first=order_lines.order_date.min(), last=order_lines.order_date.max())
        .to_pyarrow()
        .to_pylist()
    )
    if span["first"] is None:
        raise TooLittleHistory("No order has a date: check order_date in the source files.")
    first, last = span["first"].date(), span["last"].date()
    dates = cut_dates(first, min(until or last, last), horizon_days=horizon_days, **choice)
    known = {as_of: _known_customers(backend, order_lines, as_of, horizon_days) for as_of in dates}
    enough = {as_of: customers for as_of, customers in known.items() if len(customers) >= LEAST_CUSTOMERS}
    if not enough:
        raise TooLittleHistory(
            f"Only {len(known[dates[0]])} customers were known on {dates[0]}, and {LEAST_CUSTOMERS} are needed: load "
            "more orders, or lower horizon_days."
        )
    return enough


def _known_customers(backend: Backend, order_lines: ir.Table, as_of: dt.date, horizon_days: int) -> pd.DataFrame:
    def keep(rows: ir.Table, name: str) -> ir.Table:
        return backend.create_table(f"kept_{name}", rows, temp=True, overwrite=True)

    features = silver_tables(order_lines, as_of, keep)[CUSTOMER_FEATURES]
    future = keep(future_behaviour(order_lines, as_of, horizon_days).mutate(ordered=True), "future")
    known = features.left_join(future, "customer_id").drop("customer_id_right")
    idle = known.ordered.isnull()
    values = {name: idle.ifelse(0.0, known[name]) for name in TARGETS if name.endswith("_value")}
    frame: pd.DataFrame = known.mutate(**values).drop("ordered").order_by("customer_id").to_pandas()
    return frame


def validate(observed: Mapping[dt.date, pd.DataFrame], parameters: Mapping[str, Any]) -> pd.DataFrame:
    """Compare the segments of each day with simple groups of the same customers, by what they explain of the future.

    Parameters
    ----------
    observed
        What `observe` returned.
    parameters
        Parameters of `HybridSegmenter`; the outliers are a group of their own.

    Returns
    -------
    DataFrame
        gold.out_of_time_validation, without horizon_days and validated_at.
    """
    # scikit-learn is loaded when it is needed, not with the code location
    import pandas as pd

    from clustering_assets.segmentation.baselines import baseline_groups
    from clustering_assets.segmentation.hybrid import HybridSegmenter
    from clustering_assets.segmentation.variance_explained import compare

    rows: list[dict[str, Any]] = []
    for as_of, customers in observed.items():
        day = pd.Timestamp(as_of)
        features = customers[[column.name for column in CLUSTERING_FEATURES]].astype("float64")
        segments = HybridSegmenter(**parameters).fit(features).labels_
        n_groups = len(set(segments.tolist()))
        groups = {SEGMENTS: segments, **baseline_groups(customers, day, n_groups, parameters["random_state"])}
        for target, scale in product(TARGETS, SCALES):
            has_target = customers[target].notna().to_numpy()
            values = customers.loc[has_target, target]
            figures = compare(
                values.rank() if scale == "ranks" else values,
                {method: group[has_target] for method, group in groups.items()},
                reference=SEGMENTS,
            )
            said = {"as_of": day, "target": target, "scale": scale, "known_customers": len(customers)}
            for method, found in figures.items():
                rows.append({**said, "method": method, "customers": len(values), **found})
    return pd.DataFrame(rows)
