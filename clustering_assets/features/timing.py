"""Timing: how long a customer has been one, and how long returns take. Days are calendar days."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from clustering_assets.features.arithmetic import calendar_day, deviation, divide, total


def measure_lines(lines: ir.Table) -> dict[str, ir.Scalar]:
    """Aggregate the lines of a customer."""
    dated = lines.returned & lines.return_date.notnull() & lines.order_date.notnull()
    days = dated.ifelse(calendar_day(lines.return_date) - calendar_day(lines.order_date), ibis.null("int64"))
    return {
        "dated_returns": days.count(),
        "days_to_return": total(days),
        "squared_days_to_return": total(days * days),
    }


def features(customer: ir.Table) -> dict[str, ir.Value]:
    """Derive the features from the measures of a customer and the day of as_of."""
    tenure = customer.tenure_days
    return {
        "lifetime_days": customer.lifetime_days,
        "mean_days_to_return": divide(customer.days_to_return, customer.dated_returns),
        "std_days_to_return": deviation(
            customer.dated_returns, customer.days_to_return, customer.squared_days_to_return
        ),
        "tenure_stage": ibis.cases(
            (tenure <= 90, "New"),
            (tenure <= 180, "Growing"),
            (tenure <= 365, "Mature"),
            (tenure > 365, "Veteran"),
        ),
    }
