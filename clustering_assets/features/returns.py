"""Returns: how much, how often and in which runs a customer sends back."""

from __future__ import annotations

import ibis.expr.types as ir

from clustering_assets.features.arithmetic import count_if, divide, total


def measure_lines(lines: ir.Table) -> dict[str, ir.Scalar]:
    """Aggregate the lines of a customer."""
    known = lines.quantity.notnull()
    return {
        "return_quantity": total(lines.return_quantity),
        "return_quantity_of_known": total(known.ifelse(lines.return_quantity, 0)),
        "returned_share": lines.returned.ifelse(divide(lines.return_quantity, lines.quantity), 0.0).sum(),
        "returned_lines_with_quantity": count_if(lines.returned & known),
    }


def measure_orders(orders: ir.Table) -> dict[str, ir.Scalar]:
    """Aggregate the orders of a customer."""
    returning = orders.returned_lines > 0
    return {
        "returning_orders": count_if(returning),
        "dated_returning_orders": count_if(returning & orders.order_date.notnull()),
        "return_runs": count_if(orders.begins_run),
        "long_return_runs": count_if(orders.begins_run & orders.goes_on),
    }


def measure_skus(skus: ir.Table) -> dict[str, ir.Scalar]:
    """Aggregate the SKUs of a customer."""
    return {"returned_skus": (skus.returned > 0).ifelse(skus.sku_number, None).count()}


def features(customer: ir.Table) -> dict[str, ir.Value]:
    """Derive the features from the measures of a customer."""
    return {
        "return_rate": divide(customer.returned_lines, customer.lines),
        "return_quantity_ratio": divide(customer.return_quantity_of_known, customer.quantity),
        "returned_sku_count": customer.returned_skus,
        "returned_lines_per_order": divide(customer.returned_lines, customer.orders),
        "order_return_rate": divide(customer.returning_orders, customer.orders),
        "return_intensity": divide(customer.returned_share, customer.returned_lines_with_quantity),
        "return_streak_count": customer.long_return_runs,
        "mean_return_streak": divide(customer.dated_returning_orders, customer.return_runs),
    }
