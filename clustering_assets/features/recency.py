"""Recency: what a customer did in the 90 days up to as_of, against the customer's whole history."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from clustering_assets.features.arithmetic import count_if, divide, total

_RECENT_DAYS = 90


def measure_orders(orders: ir.Table) -> dict[str, ir.Scalar]:
    """Aggregate the orders of a customer."""
    recent = orders.order_day >= orders.as_of_day - _RECENT_DAYS
    return {
        "recent_orders": count_if(recent),
        "recent_lines": total(recent.ifelse(orders.lines, 0)),
        "recent_returned_lines": total(recent.ifelse(orders.returned_lines, 0)),
    }


def features(customer: ir.Table) -> dict[str, ir.Value]:
    """Derive the features from the measures of a customer; null for a customer without a dated order."""
    tenure = customer.tenure_days
    recent_pace = divide(customer.recent_orders, ibis.literal(_RECENT_DAYS))
    lifelong_pace = divide(customer.orders, tenure)
    return_rate = divide(customer.returned_lines, customer.lines)
    return {
        "recent_order_count": tenure.notnull().ifelse(customer.recent_orders, None),
        "recent_return_count": tenure.notnull().ifelse(customer.recent_returned_lines, None),
        "recent_return_rate_ratio": divide(divide(customer.recent_returned_lines, customer.recent_lines), return_rate),
        "pace_stability": (tenure >= _RECENT_DAYS).ifelse(
            divide(ibis.least(recent_pace, lifelong_pace), ibis.greatest(recent_pace, lifelong_pace)), None
        ),
    }
