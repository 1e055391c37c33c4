"""The tables that features are computed from, one function per grain: lines, the shop, customers, SKUs, cells, orders.

Where a grain has millions of rows, ids are replaced by dense numbers: grouping by integers takes about half the time
and memory of grouping by strings. What a feature makes of a grain belongs in the module of its group.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from clustering_assets.features.arithmetic import calendar_day, count_if, divide


def lines_as_of(order_lines: ir.Table, as_of: dt.date | None) -> ir.Table:
    """Derive the lines as they stood at the end of a day: one row per SKU of an order of a customer.

    Parameters
    ----------
    order_lines
        bronze.order_lines.
    as_of
        Lines ordered after that day are left out, and returns after it have not happened. None cuts nothing.
    """
    lines = order_lines
    if as_of is not None:
        next_day = ibis.timestamp(dt.datetime.combine(as_of + dt.timedelta(days=1), dt.time()).isoformat(" "))
        lines = lines.filter(lines.order_date.isnull() | (lines.order_date < next_day))
        later = (lines.return_date >= next_day).fill_null(False)
        lines = lines.mutate(
            return_quantity=later.ifelse(0, lines.return_quantity),
            return_date=later.ifelse(ibis.null("timestamp"), lines.return_date),
        )
    return lines.mutate(
        returned=lines.return_quantity > 0,
        unit_price=divide(lines.line_value, lines.quantity),
    )


def shop(lines: ir.Table, as_of: dt.date | None, measures: Mapping[str, ir.Scalar]) -> ir.Table:
    """Summarize all lines in one row: the day of as_of, the return rate, and what groups measure of the shop."""
    as_of_day = calendar_day(lines.order_date.max() if as_of is None else ibis.timestamp(as_of.isoformat()))
    return lines.aggregate(
        as_of_day=as_of_day, **measures, shop_return_rate=divide(count_if(lines.returned), lines.sku.count())
    )


def customers(lines: ir.Table) -> ir.Table:
    """Give customers a number and the id as first seen in the source: one row per customer."""
    spellings = lines.group_by("customer_id", "source_customer_id", "source_file").aggregate(
        source_row=lines.source_row.min()
    )
    place = ibis.row_number().over(
        group_by=spellings.customer_id,
        order_by=[spellings.source_file, spellings.source_row, spellings.source_customer_id],
    )
    first = spellings.mutate(place=place).filter(lambda seen: seen.place == 0)
    return first.select("customer_id", "source_customer_id", customer_number=_row_number(first.customer_id))


def numbered_lines(lines: ir.Table, customers: ir.Table) -> ir.Table:
    """Replace what lines are grouped by with numbers: one row per line; months count from the year 0."""
    skus = _numbered(lines, "sku")
    categories = _numbered(lines, "category")
    joined = (
        lines.join(customers.select("customer_id", "customer_number"), "customer_id")
        .join(skus, "sku")
        .left_join(categories, "category")
    )
    return joined.select(
        "customer_number",
        "sku_number",
        "category_number",
        "returned",
        month=(joined.order_date.year() * 12 + joined.order_date.month() - 1).cast("int32"),
    )


def customer_skus(numbered_lines: ir.Table) -> ir.Table:
    """Collect what each customer bought: one row per customer and SKU."""
    return numbered_lines.group_by("customer_number", "sku_number").aggregate(
        returned=numbered_lines.returned.ifelse(1, 0).max()
    )


def cells(numbered_lines: ir.Table) -> ir.Table:
    """Count lines: one row per customer, category and month; either can be null."""
    return numbered_lines.group_by("customer_number", "category_number", "month").aggregate(
        lines=numbered_lines.sku_number.count(), returned_lines=count_if(numbered_lines.returned)
    )


def orders(lines: ir.Table, customers: ir.Table) -> ir.Table:
    """Collect orders: one row per customer and order, dated by its earliest line, or undated.

    ``begins_run`` marks an order with a return that continues no run of such orders, ``goes_on`` an order with a return
    right before another one.
    """
    lines = lines.join(customers.select("customer_id", "customer_number"), "customer_id")
    orders = lines.group_by("customer_number", "order_id").aggregate(
        order_date=lines.order_date.min(), lines=lines.order_id.count(), returned_lines=count_if(lines.returned)
    )
    sequence = ibis.window(group_by=orders.customer_number, order_by=[orders.order_date, orders.order_id])
    in_run = orders.order_date.notnull() & (orders.returned_lines > 0)
    return orders.select(
        "customer_number",
        "order_date",
        "lines",
        "returned_lines",
        order_day=calendar_day(orders.order_date),
        begins_run=in_run & ~in_run.lag().over(sequence).fill_null(False),
        goes_on=in_run & in_run.lead().over(sequence).fill_null(False),
    )


def _numbered(lines: ir.Table, name: str) -> ir.Table:
    """Give each distinct value of a column a number from 0 on, in a column ``<name>_number``."""
    values = lines.filter(lines[name].notnull()).select(name).distinct()
    return values.mutate(**{f"{name}_number": _row_number(values[name])})


def _row_number(order: ir.Column) -> ir.IntegerColumn:
    return ibis.row_number().over(order_by=order).cast("int32")
