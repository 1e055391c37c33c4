"""Monetary: what orders are worth, and whether the expensive lines come back."""

from __future__ import annotations

import ibis.expr.types as ir

from clustering_assets.features.arithmetic import count_if, divide

_HIGH_PRICE_QUANTILE = 0.75


def measure_shop(lines: ir.Table) -> dict[str, ir.Scalar]:
    """Aggregate all lines to the unit price from which a unit is expensive."""
    return {"high_price": lines.unit_price.quantile(_HIGH_PRICE_QUANTILE)}


def measure_lines(lines: ir.Table) -> dict[str, ir.Scalar]:
    """Aggregate the lines of a customer; a line is expensive when its unit price reaches the shop's high price."""
    expensive = lines.unit_price >= lines.high_price
    other = lines.unit_price < lines.high_price
    returned_value = divide(lines.line_value * lines.return_quantity, lines.quantity)
    return {
        "value": lines.line_value.sum(),
        "returned_value": lines.returned.ifelse(returned_value, None).sum(),
        "returned_lines_with_value": count_if(lines.returned & lines.unit_price.notnull()),
        "expensive_lines": count_if(expensive),
        "returned_expensive_lines": count_if(expensive & lines.returned),
        "other_lines": count_if(other),
        "returned_other_lines": count_if(other & lines.returned),
    }


def features(customer: ir.Table) -> dict[str, ir.Value]:
    """Derive the features from the measures of a customer."""
    return {
        "mean_order_value": divide(customer.value, customer.orders),
        "mean_return_value": divide(customer.returned_value, customer.returned_lines_with_value),
        "high_value_return_affinity": divide(customer.returned_expensive_lines, customer.expensive_lines)
        - divide(customer.returned_other_lines, customer.other_lines),
    }
