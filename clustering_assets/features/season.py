"""Season: how unevenly lines spread over the calendar quarters, for customers of more than two years."""

from __future__ import annotations

import ibis.expr.types as ir

from clustering_assets.features.arithmetic import divide, total

_LONG_LIFETIME_DAYS = 730
_QUARTERS = 4


def measures(cells: ir.Table) -> ir.Table:
    """Aggregate the dated lines of each customer by calendar quarter, years pooled: one row per customer."""
    dated = cells.month.notnull()
    quarters = cells.group_by("customer_number", quarter=cells.month % 12 // 3).aggregate(
        lines=total(dated.ifelse(cells.lines, 0)), returned_lines=total(dated.ifelse(cells.returned_lines, 0))
    )
    return quarters.group_by("customer_number").aggregate(
        season_lines=total(quarters.lines),
        season_squares=total(quarters.lines * quarters.lines),
        season_returned_lines=total(quarters.returned_lines),
        season_returned_squares=total(quarters.returned_lines * quarters.returned_lines),
    )


def features(customer: ir.Table) -> dict[str, ir.Value]:
    """Derive the features from the measures of a customer."""
    long_lifetime = customer.lifetime_days > _LONG_LIFETIME_DAYS
    orders = _variation(customer.season_lines, customer.season_squares)
    returns = _variation(customer.season_returned_lines, customer.season_returned_squares)
    return {
        "seasonal_order_variation": long_lifetime.ifelse(orders, None),
        "seasonal_return_variation": long_lifetime.ifelse(returns, None),
    }


def _variation(sum_: ir.IntegerValue, sum_of_squares: ir.IntegerValue) -> ir.FloatingValue:
    """Compute the population coefficient of variation over the four quarters; null where nothing was counted."""
    return divide((_QUARTERS * sum_of_squares - sum_ * sum_).sqrt(), sum_)
