"""Volume: how much a customer orders."""

from __future__ import annotations

import ibis.expr.types as ir

from clustering_assets.features.arithmetic import count_if, divide, total


def measure_lines(lines: ir.Table) -> dict[str, ir.Scalar]:
    """Aggregate the lines of a customer."""
    return {
        "lines": lines.sku.count(),
        "returned_lines": count_if(lines.returned),
        "quantity": total(lines.quantity),
        "lines_with_quantity": lines.quantity.count(),
    }


def measure_orders(orders: ir.Table) -> dict[str, ir.Scalar]:
    """Aggregate the orders of a customer."""
    return {"orders": orders.lines.count()}


def measure_skus(skus: ir.Table) -> dict[str, ir.Scalar]:
    """Aggregate the SKUs of a customer."""
    return {"skus": skus.sku_number.count()}


def features(customer: ir.Table) -> dict[str, ir.Value]:
    """Derive the features from the measures of a customer."""
    return {
        "order_count": customer.orders,
        "sku_count": customer.skus,
        "returned_line_count": customer.returned_lines,
        "mean_line_quantity": divide(customer.quantity, customer.lines_with_quantity),
        "lines_per_order": divide(customer.lines, customer.orders),
    }
