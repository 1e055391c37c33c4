"""silver.customer_features as one expression: the groups of features, joined by customer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import ibis.expr.types as ir

from clustering_assets.contracts import CUSTOMER_FEATURES
from clustering_assets.features import (
    adjacency,
    category,
    grains,
    monetary,
    recency,
    record,
    returns,
    season,
    timing,
    trend,
    volume,
)
from clustering_assets.features.arithmetic import calendar_day

_GROUPS = (volume, returns, timing, recency, monetary, category, adjacency, season, trend, record)


def _as_is(table: ir.Table, _name: str) -> ir.Table:
    return table


def customer_features(
    lines: ir.Table, as_of: dt.date | None = None, keep: Callable[[ir.Table, str], ir.Table] = _as_is
) -> ir.Table:
    """Describe the behaviour of each customer, before imputation.

    Parameters
    ----------
    lines
        bronze.order_lines.
    as_of
        Day up to which orders and returns count; None for the day of the latest order, and then all returns count.
    keep
        Called with each table that is worth computing once, and a name for it; returns the table to go on with, such
        as a temporary table of the same content.

    Returns
    -------
    ir.Table
        One row per customer: the columns of silver.customer_features without computed_at, nulls not filled.
    """
    lines = grains.lines_as_of(lines, as_of)
    shop = keep(grains.shop(lines, as_of, _measures(lines, "measure_shop")), "shop")
    customers = keep(grains.customers(lines), "customers")
    numbered = keep(grains.numbered_lines(lines, customers), "numbered_lines")
    cells = keep(grains.cells(numbered), "cells")
    skus = grains.customer_skus(numbered)
    orders = keep(grains.orders(lines, customers), "orders")

    measured = customers.join(_measure(lines.cross_join(shop), "customer_id", "measure_lines"), "customer_id")
    by_number = (
        _measure(orders.cross_join(shop), "customer_number", "measure_orders"),
        _measure(skus, "customer_number", "measure_skus"),
        category.measures(cells),
        season.measures(cells),
        trend.measures(cells),
        adjacency.measures(orders, "lines"),
        adjacency.measures(orders, "returned_lines"),
    )
    for position, measures in enumerate(by_number):
        measured = measured.left_join(measures, "customer_number", rname=f"{{name}}_{position}")
    measured = measured.cross_join(shop)
    first_day = calendar_day(measured.first_order_date)
    customer = measured.mutate(
        lifetime_days=calendar_day(measured.last_order_date) - first_day, tenure_days=measured.as_of_day - first_day
    )
    columns: dict[str, ir.Value] = {name: customer[name] for name in ("customer_id", "source_customer_id")}
    for group in _GROUPS:
        columns |= group.features(customer)
    return customer.select(
        **{column.name: columns[column.name].cast(column.type) for column in CUSTOMER_FEATURES.columns[:-1]}
    )


def _measure(table: ir.Table, key: str, function: str) -> ir.Table:
    """Aggregate a table per customer, once for all groups that measure something of its grain."""
    return table.group_by(key).aggregate(**_measures(table, function))


def _measures(table: ir.Table, function: str) -> dict[str, ir.Scalar]:
    groups = [group for group in _GROUPS if hasattr(group, function)]
    return {name: value for group in groups for name, value in getattr(group, function)(table).items()}
