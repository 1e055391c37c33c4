"""Imputation: customers without a core metric are dropped, other missing values filled by the rule of their column."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from clustering_assets.contracts import CLUSTERING_FEATURES, CUSTOMER_FEATURES, Column, Imputation
from clustering_assets.features.arithmetic import count_if

_COLUMNS = CUSTOMER_FEATURES.columns[:-1]
_RULED = tuple(column for column in _COLUMNS if column.imputation is not None)
_CORE = tuple(column for column in _RULED if column.imputation is Imputation.CORE)


@dataclass(frozen=True, slots=True)
class Imputed:
    """What imputation leaves behind.

    Parameters
    ----------
    features
        silver.customer_features without computed_at: the kept customers, imputed.
    log, dropped, imputed
        silver.imputation_log, silver.dropped_customers and silver.imputed_features.
    """

    features: ir.Table
    log: ir.Table
    dropped: ir.Table
    imputed: ir.Table


def _as_is(table: ir.Table, _name: str) -> ir.Table:
    return table


def impute(features: ir.Table, keep: Callable[[ir.Table, str], ir.Table] = _as_is) -> Imputed:
    """Drop the customers without a core metric and fill what else is missing.

    Parameters
    ----------
    features
        One row per customer, nulls not filled: what `customer_features` returns, best as a table, since it is read
        for each of the results.
    keep
        As for `customer_features`.
    """
    complete = functools.reduce(operator.and_, [features[column.name].notnull() for column in _CORE])
    summary = keep(_summary(features, complete), "imputation_summary")
    kept = features.filter(complete).cross_join(summary)
    dropped = features.filter(~complete)
    return Imputed(
        features=kept.select(**{column.name: _filled(kept, column) for column in _COLUMNS}),
        log=_log(summary),
        dropped=dropped.select(
            "customer_id",
            missing=_joined((dropped[column.name].isnull(), column.name) for column in _CORE),
            # Not counted in bronze: lines after a configured as_of do not belong here.
            line_count=(dropped.lines_per_order * dropped.order_count).round().cast("int64"),
        ),
        imputed=_imputed_features(kept),
    )


def _summary(features: ir.Table, complete: ir.BooleanColumn) -> ir.Table:
    """Aggregate to one row: per ruled column the customers without a value, those of them kept, and the fill value."""
    values: dict[str, ir.Scalar] = {}
    for column in _RULED:
        missing = features[column.name].isnull()
        values[f"{column.name}_nulls"] = count_if(missing).fill_null(0)
        values[f"{column.name}_kept_nulls"] = count_if(missing & complete).fill_null(0)
        if column.imputation is Imputation.MEAN:
            values[f"{column.name}_fill"] = complete.ifelse(features[column.name], None).mean()
    return features.aggregate(**values)


def _fill_value(summary: ir.Table, column: Column) -> ir.FloatingValue:
    match column.imputation:
        case Imputation.MEAN:
            return summary[f"{column.name}_fill"]
        case Imputation.ZERO:
            return ibis.literal(0.0)
        case _:
            return ibis.null("float64")


def _filled(kept: ir.Table, column: Column) -> ir.Value:
    value = kept[column.name]
    if column.imputation not in (Imputation.MEAN, Imputation.ZERO):
        return value
    fill = _fill_value(kept, column)
    return value.fill_null((_round_half_even(fill) if column.type == "int64" else fill).cast(column.type))


def _round_half_even(number: ir.FloatingValue) -> ir.FloatingValue:
    """Round to the nearest whole number, halves to the even one: engines differ in what they do with halves."""
    below = number.floor()
    rest = number - below
    up = (rest > 0.5) | ((rest == 0.5) & (below % 2 != 0))
    return below + up.ifelse(1, 0)


def _log(summary: ir.Table) -> ir.Table:
    """Turn the one row of the summary into a row per column: a union of as many would read it as often."""
    positions = ibis.union(*(ibis.literal(at, "int64").name("position").as_table() for at in range(len(_RULED))))
    rows = positions.cross_join(summary)

    def each(value: Callable[[Column], ir.Value]) -> ir.Value:
        return ibis.cases(*((rows.position == at, value(column)) for at, column in enumerate(_RULED)))

    log = rows.select(
        "position",
        feature=each(lambda column: ibis.literal(column.name)),
        rule=each(lambda column: ibis.literal(str(column.imputation))),
        nulls_found=each(lambda column: rows[f"{column.name}_nulls"].cast("int64")),
        values_filled=each(
            lambda column: (
                _fill_value(rows, column).notnull().ifelse(rows[f"{column.name}_kept_nulls"], 0).cast("int64")
            )
        ),
        fill_value=each(lambda column: _fill_value(rows, column).cast("float64")),
    )
    return log.order_by("position").drop("position")


def _imputed_features(kept: ir.Table) -> ir.Table:
    filled = [
        (kept[column.name].isnull() & _fill_value(kept, column).notnull(), column.name)
        for column in CLUSTERING_FEATURES
    ]
    return kept.select(
        "customer_id",
        imputed_count=functools.reduce(operator.add, [holds.ifelse(1, 0).cast("int64") for holds, _ in filled]),
        imputed=_joined(filled),
    )


def _joined(names: Iterable[tuple[ir.BooleanValue, str]]) -> ir.StringValue:
    """Join the names whose condition holds by ';'."""
    return functools.reduce(operator.add, [holds.ifelse(f";{name}", "") for holds, name in names]).substr(1)
