"""Arithmetic that every engine must do the same way: division, counting, calendar days, deviation, correlation.

Integers are summed in float64: exact below 2**53, in whatever order, and of one type, whereas a sum of int64 is wider
than int64 on one engine and overflows on another.
"""

from __future__ import annotations

import ibis.expr.types as ir

_SECONDS_PER_DAY = 86_400


def divide(numerator: ir.NumericValue, denominator: ir.NumericValue) -> ir.FloatingValue:
    """Divide as float64; null where the denominator is zero."""
    return numerator.cast("float64") / denominator.cast("float64").nullif(0)


def total(numbers: ir.IntegerColumn) -> ir.FloatingScalar:
    """Sum integers; null when all are null."""
    return numbers.cast("float64").sum()


def count_if(condition: ir.BooleanValue) -> ir.FloatingScalar:
    """Count the rows for which a condition holds; false and null are not counted."""
    return total(condition.ifelse(1, 0))


def calendar_day(moment: ir.TimestampValue) -> ir.IntegerValue:
    """Count the calendar days from 1970-01-01 to a moment."""
    return moment.date().epoch_seconds() // _SECONDS_PER_DAY


def deviation(count: ir.IntegerValue, sum_: ir.IntegerValue, sum_of_squares: ir.IntegerValue) -> ir.FloatingValue:
    """Compute the sample standard deviation of integers from their sums; null below two values."""
    return divide(_scatter(count, sum_, sum_, sum_of_squares).clip(0), count * (count - 1)).sqrt()


def correlation(
    count: ir.IntegerValue,
    sum_x: ir.IntegerValue,
    sum_y: ir.IntegerValue,
    sum_xx: ir.IntegerValue,
    sum_yy: ir.IntegerValue,
    sum_xy: ir.IntegerValue,
) -> ir.FloatingValue:
    """Compute Pearson's correlation of integers from their sums, within -1..1; null where the scatter is zero."""
    spread_x, spread_y = (_scatter(count, s, s, ss).clip(0).sqrt() for s, ss in ((sum_x, sum_xx), (sum_y, sum_yy)))
    return divide(_scatter(count, sum_x, sum_y, sum_xy), spread_x * spread_y).clip(-1, 1)


def _scatter(
    count: ir.IntegerValue, sum_x: ir.IntegerValue, sum_y: ir.IntegerValue, sum_xy: ir.IntegerValue
) -> ir.FloatingValue:
    """Give count ** 2 times the population covariance; in float64, since the products can leave the range of int64."""
    return count.cast("float64") * sum_xy - sum_x.cast("float64") * sum_y
