"""Record: totals, first and last order, and what to be careful about."""

from __future__ import annotations

import functools
import operator

import ibis.expr.types as ir

from clustering_assets.contracts import DATE_FLAGS
from clustering_assets.features.arithmetic import count_if, divide


def measure_lines(lines: ir.Table) -> dict[str, ir.Scalar]:
    """Aggregate the lines of a customer."""
    codes = ";" + lines.quality_flags + ";"
    repaired = functools.reduce(operator.or_, [codes.contains(f";{code};") for code in DATE_FLAGS])
    # Nearly all lines are clean: most of the time goes into not searching them.
    return {"date_repairs": count_if((lines.quality_flags != "").ifelse(repaired, False))}


def measure_orders(orders: ir.Table) -> dict[str, ir.Scalar]:
    """Aggregate the orders of a customer."""
    return {"first_order_date": orders.order_date.min(), "last_order_date": orders.order_date.max()}


def features(customer: ir.Table) -> dict[str, ir.Value]:
    """Derive the columns from the measures of a customer."""
    conditions = {
        "HIGH_RETURN_RATE": divide(customer.returned_lines, customer.lines) > 0.95,
        "LATE_RETURNS": divide(customer.days_to_return, customer.dated_returns) > 60,
        "LARGE_ORDERS": divide(customer.lines, customer.orders) > 50,
        "DATES_REPAIRED": customer.date_repairs > 0,
    }
    flags = functools.reduce(operator.add, [holds.ifelse(f";{code}", "") for code, holds in conditions.items()])
    return {
        "total_quantity": customer.quantity,
        "total_return_quantity": customer.return_quantity,
        "first_order_date": customer.first_order_date,
        "last_order_date": customer.last_order_date,
        "quality_flags": flags.substr(1),
    }
