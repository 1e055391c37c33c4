"""Adjacency: orders of one customer on different days, at most 14 days apart."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from clustering_assets.features.arithmetic import count_if, divide, total

_ADJACENT_DAYS = 14


def measures(orders: ir.Table, counted: str) -> ir.Table:
    """Aggregate the gaps between neighbouring order days of each customer: one row per customer.

    Parameters
    ----------
    orders
        One row per order; undated ones are left out.
    counted
        ``lines`` or ``returned_lines``: orders without any are left out too.

    Returns
    -------
    ir.Table
        ``adjacent_by_<counted>``, the orders with another one near, and ``gap_by_<counted>``, the mean gap in days.
    """
    orders = orders.filter(orders.order_day.notnull(), orders[counted] > 0)
    days = orders.group_by("customer_number", "order_day").aggregate(orders=orders[counted].count())
    neighbours = ibis.window(group_by=days.customer_number, order_by=days.order_day)
    days = days.mutate(
        before=days.order_day - days.order_day.lag().over(neighbours),
        after=days.order_day.lead().over(neighbours) - days.order_day,
    )
    near_before = days.before <= _ADJACENT_DAYS
    near = near_before | (days.after <= _ADJACENT_DAYS)
    return days.group_by("customer_number").aggregate(
        **{
            f"adjacent_by_{counted}": total(near.ifelse(days.orders, 0)),
            f"gap_by_{counted}": divide(total(near_before.ifelse(days.before, 0)), count_if(near_before)),
        }
    )


def features(customer: ir.Table) -> dict[str, ir.Value]:
    """Derive the features from the measures of a customer."""
    return {
        "adjacent_order_count": customer.adjacent_by_lines.fill_null(0),
        "adjacent_return_count": customer.adjacent_by_returned_lines.fill_null(0),
        "mean_days_between_adjacent_orders": customer.gap_by_lines,
        "mean_days_between_adjacent_returns": customer.gap_by_returned_lines,
    }
