"""What the silver layer must contain, computed slowly and plainly.

One Python loop per customer, every formula by its definition. Nothing here is shared with the features of the package
except the contracts, so an error would have to be made twice to stay unseen. Nulls are None until the frame is built.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from clustering_assets.contracts import (
    CLUSTERING_FEATURES,
    CUSTOMER_FEATURES,
    DROPPED_CUSTOMERS,
    IMPUTATION_LOG,
    IMPUTED_FEATURES,
    Column,
    Imputation,
)

FEATURE_COLUMNS = CUSTOMER_FEATURES.columns[:-1]
"""The columns of silver.customer_features without computed_at."""

_PANDAS_TYPES = {"string": "str", "int64": "Int64", "float64": "float64", "timestamp": "datetime64[us]"}
_DATE_REPAIRS = {"BAD_ORDER_DATE", "BAD_RETURN_DATE", "RETURN_BEFORE_ORDER"}


@dataclass(frozen=True)
class _Line:
    """One row of bronze.order_lines, as far as silver needs it."""

    order_id: str
    customer_id: str
    sku: str
    order_date: dt.datetime | None
    quantity: int | None
    line_value: float | None
    return_quantity: int
    return_date: dt.datetime | None
    category: str | None
    source_customer_id: str
    source_file: str
    source_row: int
    quality_flags: str

    @property
    def returned(self) -> bool:
        return self.return_quantity > 0

    @property
    def unit_price(self) -> float | None:
        return _ratio(self.line_value, self.quantity)

    @property
    def cell(self) -> tuple[str, int, int] | None:
        """Category, year and month; None unless category and order date are known."""
        if self.category is None or self.order_date is None:
            return None
        return self.category, self.order_date.year, self.order_date.month


@dataclass(frozen=True)
class _Order:
    """The lines of one customer that share an order id."""

    order_id: str
    lines: list[_Line]

    @property
    def returned(self) -> bool:
        return any(line.returned for line in self.lines)


@dataclass(frozen=True)
class _DatedOrder(_Order):
    """An order with at least one dated line; the earliest dates the order."""

    date: dt.datetime

    @property
    def day(self) -> dt.date:
        return self.date.date()


@dataclass(frozen=True)
class _Customer:
    """A customer's lines and orders; ``sequence`` holds the dated orders by (date, order id)."""

    customer_id: str
    lines: list[_Line]
    orders: list[_Order]
    sequence: list[_DatedOrder]

    @property
    def returned_lines(self) -> list[_Line]:
        return [line for line in self.lines if line.returned]

    @property
    def lifetime_days(self) -> int | None:
        return (self.sequence[-1].day - self.sequence[0].day).days if self.sequence else None


@dataclass(frozen=True)
class _Shop:
    """What the features need to know about all customers together."""

    as_of: dt.date | None
    return_rate: float
    price_threshold: float | None
    lines_by_category: dict[str, list[_Line]]
    lines_by_cell: dict[tuple[str, int, int], list[_Line]]


@dataclass(frozen=True)
class ExpectedImputation:
    """The four tables that imputation leaves behind.

    Parameters
    ----------
    features
        silver.customer_features without computed_at: the kept customers, imputed.
    log, dropped, imputed
        silver.imputation_log, silver.dropped_customers and silver.imputed_features.
    """

    features: pd.DataFrame
    log: pd.DataFrame
    dropped: pd.DataFrame
    imputed: pd.DataFrame


def contract_frame(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> pd.DataFrame:
    """Build a frame with the columns and types of a contract; a key that a row lacks is null."""
    kept_rows = list(rows)
    return pd.DataFrame(
        {
            column.name: pd.Series([row.get(column.name) for row in kept_rows], dtype=_PANDAS_TYPES[column.type])
            for column in columns
        }
    )


def expected_features(lines: pd.DataFrame, as_of: dt.date | None = None) -> pd.DataFrame:
    """Compute silver.customer_features before imputation.

    Parameters
    ----------
    lines
        bronze.order_lines.
    as_of
        Configured calendar day; None for the day of the latest order date.

    Returns
    -------
    pandas.DataFrame
        One row per customer, sorted by customer_id; the 43 columns before computed_at, in contract order.
    """
    shop_lines, as_of = _as_seen_on([_line(row) for row in lines.to_dict("records")], as_of)
    shop = _shop(shop_lines, as_of)
    customers = _customers(shop_lines)
    return contract_frame((_features(customer, shop) for customer in customers), FEATURE_COLUMNS)


def expected_imputation(features: pd.DataFrame, line_counts: pd.Series) -> ExpectedImputation:
    """Impute what `expected_features` returned.

    Parameters
    ----------
    features
        One row per customer, 43 columns, nulls as they are.
    line_counts
        Order lines by customer_id.
    """
    customers = features.to_dict("records")
    rules = {column.name: column.imputation for column in FEATURE_COLUMNS if column.imputation is not None}
    core = [name for name, rule in rules.items() if rule is Imputation.CORE]

    dropped = []
    kept = []
    for customer in customers:
        missing = [name for name in core if pd.isna(customer[name])]
        if missing:
            dropped.append(
                {
                    "customer_id": customer["customer_id"],
                    "missing": ";".join(missing),
                    "line_count": int(line_counts[customer["customer_id"]]),
                }
            )
        else:
            kept.append(dict(customer))

    log = []
    filled_names: dict[str, list[str]] = {customer["customer_id"]: [] for customer in kept}
    for name, rule in rules.items():
        fill_value: float | None = None
        if rule is Imputation.ZERO:
            fill_value = 0.0
        elif rule is Imputation.MEAN:
            fill_value = _mean([float(customer[name]) for customer in kept if not pd.isna(customer[name])])
        values_filled = 0
        if fill_value is not None:
            is_integer = CUSTOMER_FEATURES.column(name).type == "int64"
            for customer in kept:
                if pd.isna(customer[name]):
                    # Python's round goes half to even.
                    customer[name] = round(fill_value) if is_integer else fill_value
                    filled_names[customer["customer_id"]].append(name)
                    values_filled += 1
        log.append(
            {
                "feature": name,
                "rule": rule.value,
                "nulls_found": sum(bool(pd.isna(customer[name])) for customer in customers),
                "values_filled": values_filled,
                "fill_value": fill_value,
            }
        )

    clustering_names = [column.name for column in CLUSTERING_FEATURES]
    imputed = []
    for customer_id, filled in filled_names.items():
        names = [name for name in clustering_names if name in filled]
        imputed.append({"customer_id": customer_id, "imputed_count": len(names), "imputed": ";".join(names)})

    return ExpectedImputation(
        features=contract_frame(kept, FEATURE_COLUMNS),
        log=contract_frame(log, IMPUTATION_LOG.columns),
        dropped=contract_frame(dropped, DROPPED_CUSTOMERS.columns),
        imputed=contract_frame(imputed, IMPUTED_FEATURES.columns),
    )


def _line(row: Mapping[str, Any]) -> _Line:
    def value(name: str, convert: Callable[[Any], Any]) -> Any:
        return None if pd.isna(row[name]) else convert(row[name])

    def moment(name: str) -> dt.datetime | None:
        return value(name, lambda stamp: pd.Timestamp(stamp).to_pydatetime())

    return _Line(
        order_id=str(row["order_id"]),
        customer_id=str(row["customer_id"]),
        sku=str(row["sku"]),
        order_date=moment("order_date"),
        quantity=value("quantity", int),
        line_value=value("line_value", float),
        return_quantity=int(row["return_quantity"]),
        return_date=moment("return_date"),
        category=value("category", str),
        source_customer_id=str(row["source_customer_id"]),
        source_file=str(row["source_file"]),
        source_row=int(row["source_row"]),
        quality_flags=str(row["quality_flags"]),
    )


def _as_seen_on(lines: list[_Line], as_of: dt.date | None) -> tuple[list[_Line], dt.date | None]:
    """Leave out what happened after a configured day; without one, only find the day."""
    if as_of is None:
        return lines, max((line.order_date.date() for line in lines if line.order_date is not None), default=None)
    seen = []
    for line in lines:
        if line.order_date is not None and line.order_date.date() > as_of:
            continue
        if line.return_date is not None and line.return_date.date() > as_of:
            line = replace(line, return_quantity=0, return_date=None)
        seen.append(line)
    return seen, as_of


def _shop(lines: list[_Line], as_of: dt.date | None) -> _Shop:
    prices = [line.unit_price for line in lines if line.unit_price is not None]
    by_category: dict[str, list[_Line]] = defaultdict(list)
    by_cell: dict[tuple[str, int, int], list[_Line]] = defaultdict(list)
    for line in lines:
        if line.category is not None:
            by_category[line.category].append(line)
        if line.cell is not None:
            by_cell[line.cell].append(line)
    return _Shop(
        as_of=as_of,
        return_rate=_return_rate(lines) or 0.0,
        price_threshold=float(np.quantile(prices, 0.75, method="linear")) if prices else None,
        lines_by_category=dict(by_category),
        lines_by_cell=dict(by_cell),
    )


def _customers(lines: list[_Line]) -> list[_Customer]:
    by_customer: dict[str, list[_Line]] = defaultdict(list)
    for line in lines:
        by_customer[line.customer_id].append(line)
    customers = []
    for customer_id in sorted(by_customer):
        by_order: dict[str, list[_Line]] = defaultdict(list)
        for line in by_customer[customer_id]:
            by_order[line.order_id].append(line)
        orders = []
        for order_id, order_lines in by_order.items():
            dates = [line.order_date for line in order_lines if line.order_date is not None]
            orders.append(_DatedOrder(order_id, order_lines, min(dates)) if dates else _Order(order_id, order_lines))
        dated = [order for order in orders if isinstance(order, _DatedOrder)]
        sequence = sorted(dated, key=lambda order: (order.date, order.order_id))
        customers.append(_Customer(customer_id, by_customer[customer_id], orders, sequence))
    return customers


def _features(customer: _Customer, shop: _Shop) -> dict[str, Any]:
    features = {
        "customer_id": customer.customer_id,
        "source_customer_id": min(
            customer.lines, key=lambda line: (line.source_file, line.source_row, line.source_customer_id)
        ).source_customer_id,
        **_volume(customer),
        **_returns(customer),
        **_timing(customer, shop),
        **_recency(customer, shop),
        **_monetary(customer, shop),
        **_category(customer, shop),
        **_adjacency(customer),
        **_season(customer),
        **_trend(customer, shop),
        **_record(customer),
    }
    features["quality_flags"] = _quality_flags(customer, features)
    return features


def _volume(customer: _Customer) -> dict[str, Any]:
    return {
        "order_count": len(customer.orders),
        "sku_count": len({line.sku for line in customer.lines}),
        "returned_line_count": len(customer.returned_lines),
        "mean_line_quantity": _mean([line.quantity for line in customer.lines if line.quantity is not None]),
        "lines_per_order": _ratio(len(customer.lines), len(customer.orders)),
    }


def _returns(customer: _Customer) -> dict[str, Any]:
    known = [(line.return_quantity, line.quantity) for line in customer.lines if line.quantity is not None]
    streaks = []
    streak = 0
    for order in customer.sequence:
        if order.returned:
            streak += 1
        elif streak:
            streaks.append(streak)
            streak = 0
    if streak:
        streaks.append(streak)
    return {
        "return_rate": _return_rate(customer.lines),
        "return_quantity_ratio": _ratio(sum(back for back, _ in known), sum(bought for _, bought in known)),
        "returned_sku_count": len({line.sku for line in customer.returned_lines}),
        "returned_lines_per_order": _ratio(len(customer.returned_lines), len(customer.orders)),
        "order_return_rate": _ratio(sum(order.returned for order in customer.orders), len(customer.orders)),
        "return_intensity": _mean([back / bought for back, bought in known if back > 0]),
        "return_streak_count": sum(length >= 2 for length in streaks),
        "mean_return_streak": _mean(streaks),
    }


def _timing(customer: _Customer, shop: _Shop) -> dict[str, Any]:
    days_to_return = [
        (line.return_date.date() - line.order_date.date()).days
        for line in customer.returned_lines
        if line.return_date is not None and line.order_date is not None
    ]
    tenure = _tenure_days(customer, shop)
    if tenure is None:
        stage = None
    elif tenure <= 90:
        stage = "New"
    elif tenure <= 180:
        stage = "Growing"
    elif tenure <= 365:
        stage = "Mature"
    else:
        stage = "Veteran"
    return {
        "lifetime_days": customer.lifetime_days,
        "mean_days_to_return": _mean(days_to_return),
        "std_days_to_return": float(np.std(days_to_return, ddof=1)) if len(days_to_return) >= 2 else None,
        "tenure_stage": stage,
    }


def _recency(customer: _Customer, shop: _Shop) -> dict[str, Any]:
    tenure = _tenure_days(customer, shop)
    if shop.as_of is None or tenure is None:
        return {}
    earliest = shop.as_of - dt.timedelta(days=90)
    recent_orders = [order for order in customer.sequence if earliest <= order.day <= shop.as_of]
    recent_lines = [line for order in recent_orders for line in order.lines]
    stability = None
    if tenure >= 90:
        recent_pace = len(recent_orders) / 90
        lifelong_pace = len(customer.orders) / tenure
        stability = min(recent_pace, lifelong_pace) / max(recent_pace, lifelong_pace)
    return {
        "recent_order_count": len(recent_orders),
        "recent_return_count": sum(line.returned for line in recent_lines),
        "recent_return_rate_ratio": _ratio(_return_rate(recent_lines), _return_rate(customer.lines)),
        "pace_stability": stability,
    }


def _monetary(customer: _Customer, shop: _Shop) -> dict[str, Any]:
    values = [line.line_value for line in customer.lines if line.line_value is not None]
    returned_values = [
        line.line_value * line.return_quantity / line.quantity
        for line in customer.returned_lines
        if line.line_value is not None and line.quantity is not None
    ]
    affinity = None
    if shop.price_threshold is not None:
        priced = [(line.unit_price, line) for line in customer.lines if line.unit_price is not None]
        high = [line for price, line in priced if price >= shop.price_threshold]
        other = [line for price, line in priced if price < shop.price_threshold]
        affinity = _difference(_return_rate(high), _return_rate(other))
    return {
        "mean_order_value": sum(values) / len(customer.orders) if values else None,
        "mean_return_value": _mean(returned_values),
        "high_value_return_affinity": affinity,
    }


def _category(customer: _Customer, shop: _Shop) -> dict[str, Any]:
    categories = [line.category for line in customer.lines if line.category is not None]
    if not categories:
        return {}
    counts = Counter(categories)
    shares = [count / len(categories) for count in counts.values()]
    rate_among_others = {
        category: _return_rate(
            [line for line in shop.lines_by_category[category] if line.customer_id != customer.customer_id]
        )
        for category in counts
    }
    rates = [rate for rate in (rate_among_others[category] for category in categories) if rate is not None]
    return {
        "category_concentration": sum(share**2 for share in shares),
        "category_diversity": math.exp(-sum(share * math.log(share) for share in shares)),
        "category_loyalty": max(shares),
        "high_return_category_affinity": _difference(_mean(rates), shop.return_rate),
    }


def _adjacency(customer: _Customer) -> dict[str, Any]:
    order_days = [order.day for order in customer.sequence]
    return_days = [order.day for order in customer.sequence if order.returned]
    return {
        "adjacent_order_count": _adjacent(order_days),
        "adjacent_return_count": _adjacent(return_days),
        "mean_days_between_adjacent_orders": _mean_adjacent_gap(order_days),
        "mean_days_between_adjacent_returns": _mean_adjacent_gap(return_days),
    }


def _adjacent(days: list[dt.date]) -> int:
    return sum(any(1 <= abs((day - other).days) <= 14 for other in days) for day in days)


def _mean_adjacent_gap(days: list[dt.date]) -> float | None:
    distinct = sorted(set(days))
    gaps = [(later - earlier).days for earlier, later in pairwise(distinct)]
    return _mean([gap for gap in gaps if 1 <= gap <= 14])


def _season(customer: _Customer) -> dict[str, Any]:
    if customer.lifetime_days is None or customer.lifetime_days <= 730:
        return {}
    return {
        "seasonal_order_variation": _quarterly_variation(customer.lines),
        "seasonal_return_variation": _quarterly_variation(customer.returned_lines),
    }


def _quarterly_variation(lines: list[_Line]) -> float | None:
    quarters = [(line.order_date.month - 1) // 3 for line in lines if line.order_date is not None]
    counts = [quarters.count(quarter) for quarter in range(4)]
    return _ratio(float(np.std(counts)), float(np.mean(counts)))


def _trend(customer: _Customer, shop: _Shop) -> dict[str, Any]:
    own: dict[tuple[str, int, int], list[_Line]] = defaultdict(list)
    for line in customer.lines:
        if line.cell is not None:
            own[line.cell].append(line)
    if len(own) < 6:
        return {}
    return {
        "category_order_trend": _pearson(
            [len(own[cell]) for cell in own],
            [len(shop.lines_by_cell[cell]) for cell in own],
        ),
        "category_return_trend": _pearson(
            [sum(line.returned for line in own[cell]) for cell in own],
            [sum(line.returned for line in shop.lines_by_cell[cell]) for cell in own],
        ),
    }


def _record(customer: _Customer) -> dict[str, Any]:
    quantities = [line.quantity for line in customer.lines if line.quantity is not None]
    return {
        "total_quantity": sum(quantities) if quantities else None,
        "total_return_quantity": sum(line.return_quantity for line in customer.lines),
        "first_order_date": customer.sequence[0].date if customer.sequence else None,
        "last_order_date": customer.sequence[-1].date if customer.sequence else None,
    }


def _quality_flags(customer: _Customer, features: Mapping[str, Any]) -> str:
    flags = []
    if features["return_rate"] > 0.95:
        flags.append("HIGH_RETURN_RATE")
    if features["mean_days_to_return"] is not None and features["mean_days_to_return"] > 60:
        flags.append("LATE_RETURNS")
    if features["lines_per_order"] > 50:
        flags.append("LARGE_ORDERS")
    if any(_DATE_REPAIRS & set(line.quality_flags.split(";")) for line in customer.lines):
        flags.append("DATES_REPAIRED")
    return ";".join(flags)


def _tenure_days(customer: _Customer, shop: _Shop) -> int | None:
    if shop.as_of is None or not customer.sequence:
        return None
    return (shop.as_of - customer.sequence[0].day).days


def _return_rate(lines: list[_Line]) -> float | None:
    return _ratio(sum(line.returned for line in lines), len(lines))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    if numerator is None or denominator is None or denominator == 0:
        return None
    return numerator / denominator


def _difference(minuend: float | None, subtrahend: float | None) -> float | None:
    return None if minuend is None or subtrahend is None else minuend - subtrahend


def _pearson(x: Sequence[int], y: Sequence[int]) -> float | None:
    """Covariance over the product of the deviations, by definition; None where x or y is constant."""
    if len(set(x)) < 2 or len(set(y)) < 2:
        return None
    x_centred = np.array(x) - np.mean(x)
    y_centred = np.array(y) - np.mean(y)
    correlation = np.sum(x_centred * y_centred) / math.sqrt(np.sum(x_centred**2) * np.sum(y_centred**2))
    return float(np.clip(correlation, -1, 1))
