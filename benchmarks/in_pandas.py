"""The columns of silver.customer_features before imputation, as one who knows pandas would write them: no loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

READ = [
    *("customer_id", "order_id", "sku", "category", "order_date", "quantity", "line_value", "return_quantity"),
    *("return_date", "source_customer_id", "source_file", "source_row", "quality_flags"),
]
IDS = ("customer_id", "order_id", "sku", "category", "source_file")
RECENT, NEAR = 90, 14


def features(file: Path) -> pd.DataFrame:
    """Compute the features from order lines in a Parquet file: one row per customer."""
    lines = pd.read_parquet(file, columns=READ).astype(dict.fromkeys(IDS, "category"))
    lines["returned"] = lines["return_quantity"] > 0
    lines["day"] = _day(lines["order_date"])
    lines["unit_price"] = lines["line_value"] / lines["quantity"]
    lines["returned_value"] = (lines["unit_price"] * lines["return_quantity"]).where(lines["returned"])
    lines["returned_share"] = (lines["return_quantity"] / lines["quantity"]).where(lines["returned"])
    lines["days_to_return"] = (_day(lines["return_date"]) - lines["day"]).where(lines["returned"])
    lines["month"] = lines["order_date"].dt.year * 12 + lines["order_date"].dt.month - 1
    orders = (
        lines.groupby(["customer_id", "order_id"], observed=True)
        .agg(date=("order_date", "min"), lines=("sku", "size"), returned=("returned", "sum"))
        .reset_index()
    )
    orders["day"] = _day(orders["date"])
    as_of = lines["day"].max()
    customers = lines.groupby("customer_id", observed=True)
    measured = customers.agg(
        lines=("sku", "size"),
        returned_line_count=("returned", "sum"),
        mean_line_quantity=("quantity", "mean"),
        total_quantity=("quantity", "sum"),
        total_return_quantity=("return_quantity", "sum"),
        value=("line_value", "sum"),
        mean_return_value=("returned_value", "mean"),
        return_intensity=("returned_share", "mean"),
        mean_days_to_return=("days_to_return", "mean"),
        std_days_to_return=("days_to_return", "std"),
    )
    by_order = orders.groupby("customer_id", observed=True)
    measured["order_count"] = by_order.size()
    measured["first_order_date"] = by_order["date"].min()
    measured["last_order_date"] = by_order["date"].max()
    measured["order_return_rate"] = (orders["returned"] > 0).groupby(orders["customer_id"], observed=True).mean()
    seen = lines.sort_values(["source_file", "source_row"]).drop_duplicates("customer_id").set_index("customer_id")
    measured["source_customer_id"] = seen["source_customer_id"]
    measured["lines_per_order"] = measured["lines"] / measured["order_count"]
    measured["return_rate"] = measured["returned_line_count"] / measured["lines"]
    measured["return_quantity_ratio"] = measured["total_return_quantity"] / measured["total_quantity"]
    measured["returned_lines_per_order"] = measured["returned_line_count"] / measured["order_count"]
    measured["mean_order_value"] = measured["value"] / measured["order_count"]
    first, last = _day(measured["first_order_date"]), _day(measured["last_order_date"])
    measured["lifetime_days"] = last - first
    tenure = as_of - first
    measured["tenure_stage"] = pd.cut(
        tenure, [-1, 90, 180, 365, np.inf], labels=["New", "Growing", "Mature", "Veteran"]
    ).astype(object)
    skus = lines.groupby(["customer_id", "sku"], observed=True)["returned"].max().groupby("customer_id", observed=True)
    measured["sku_count"] = skus.size()
    measured["returned_sku_count"] = skus.sum()
    parts = [
        _streaks(orders),
        _recency(orders, measured, tenure, as_of),
        _expensive(lines),
        _categories(lines),
        _adjacency(orders, "order"),
        _adjacency(orders[orders["returned"] > 0], "return"),
        _season(lines, "order"),
        _season(lines[lines["returned"]], "return"),
        _trend(lines),
    ]
    measured = measured.join([*parts])
    for name in ("return_streak_count", "adjacent_order_count", "adjacent_return_count"):
        measured[name] = measured[name].fillna(0)
    for name in ("seasonal_order_variation", "seasonal_return_variation"):
        measured[name] = measured[name].where(measured["lifetime_days"] > 730)
    measured["quality_flags"] = _flags(measured)
    measured.index = measured.index.astype(str)
    return measured.reset_index()


def _day(moments: pd.Series) -> pd.Series:
    days: pd.Series = (moments.dt.normalize() - pd.Timestamp(0)).dt.days
    return days


def _streaks(orders: pd.DataFrame) -> pd.DataFrame:
    dated = orders[orders["date"].notna()].sort_values(["customer_id", "date", "order_id"])
    some = dated["returned"] > 0
    begins = some & ~(some.shift(fill_value=False) & (dated["customer_id"] == dated["customer_id"].shift()))
    runs = dated[some].groupby(["customer_id", begins.cumsum()[some]], observed=True).size().rename("length")
    by_customer = runs.groupby("customer_id", observed=True)
    long = (runs >= 2).groupby("customer_id", observed=True).sum()
    return pd.DataFrame({"mean_return_streak": by_customer.mean(), "return_streak_count": long})


def _recency(orders: pd.DataFrame, measured: pd.DataFrame, tenure: pd.Series, as_of: float) -> pd.DataFrame:
    recent = orders[orders["day"] >= as_of - RECENT].groupby("customer_id", observed=True)
    found = recent.agg(orders=("lines", "size"), lines=("lines", "sum"), returned=("returned", "sum"))
    found = found.reindex(measured.index).fillna(0).where(tenure.notna(), axis=0)
    paces = pd.concat([found["orders"] / RECENT, measured["order_count"] / tenure], axis=1)
    ratio = found["returned"] / found["lines"] / measured["return_rate"].replace(0, np.nan)
    return pd.DataFrame(
        {
            "recent_order_count": found["orders"],
            "recent_return_count": found["returned"],
            "recent_return_rate_ratio": ratio,
            "pace_stability": (paces.min(axis=1) / paces.max(axis=1)).where(tenure >= RECENT),
        }
    )


def _expensive(lines: pd.DataFrame) -> pd.DataFrame:
    priced = lines[lines["unit_price"].notna()]
    expensive = priced["unit_price"] >= priced["unit_price"].quantile(0.75)
    rates = priced.groupby(["customer_id", expensive], observed=True)["returned"].mean().unstack()
    return pd.DataFrame({"high_value_return_affinity": rates[True] - rates[False]})


def _categories(lines: pd.DataFrame) -> pd.DataFrame:
    own = lines.groupby(["customer_id", "category"], observed=True)["returned"].agg(["size", "sum"])
    shop = own.groupby("category", observed=True).transform("sum")
    total = own["size"].groupby("customer_id", observed=True).transform("sum")
    share, others = own["size"] / total, shop["size"] - own["size"]
    expected = own["size"] * (shop["sum"] - own["sum"]) / others.where(others > 0)
    cells = pd.DataFrame(
        {
            "category_concentration": share**2,
            "entropy": -share * np.log(share),
            "expected": expected,
            "counted": own["size"].where(others > 0),
        }
    )
    found = cells.groupby("customer_id", observed=True).sum()
    return pd.DataFrame(
        {
            "category_concentration": found["category_concentration"],
            "category_diversity": np.exp(found["entropy"]),
            "category_loyalty": share.groupby("customer_id", observed=True).max(),
            "high_return_category_affinity": found["expected"] / found["counted"].replace(0, np.nan)
            - lines["returned"].mean(),
        }
    )


def _adjacency(orders: pd.DataFrame, name: str) -> pd.DataFrame:
    days = orders.groupby(["customer_id", "day"], observed=True).size().rename("orders").reset_index()
    gap = days.groupby("customer_id", observed=True)["day"].diff()
    near_after = gap.groupby(days["customer_id"], observed=True).shift(-1) <= NEAR
    near = days["orders"].where((gap <= NEAR) | near_after, 0)
    return pd.DataFrame(
        {
            f"adjacent_{name}_count": near.groupby(days["customer_id"], observed=True).sum(),
            f"mean_days_between_adjacent_{name}s": gap.where(gap <= NEAR)
            .groupby(days["customer_id"], observed=True)
            .mean(),
        }
    )


def _season(lines: pd.DataFrame, name: str) -> pd.DataFrame:
    quarter = lines["order_date"].dt.quarter
    counts = lines.groupby(["customer_id", quarter], observed=True).size().unstack(fill_value=0)
    counts = counts.reindex(columns=range(1, 5), fill_value=0)
    return pd.DataFrame({f"seasonal_{name}_variation": counts.std(axis=1, ddof=0) / counts.mean(axis=1)})


def _trend(lines: pd.DataFrame) -> pd.DataFrame:
    cells = lines.groupby(["customer_id", "category", "month"], observed=True)["returned"].agg(["size", "sum"])
    shop = cells.groupby(["category", "month"], observed=True).transform("sum")
    number = cells.groupby("customer_id", observed=True).size()
    found = {}
    for name, counted in {"order": "size", "return": "sum"}.items():
        own, all_ = cells[counted].astype(float), shop[counted].astype(float)
        moments = pd.DataFrame({"x": own, "y": all_, "xx": own**2, "yy": all_**2, "xy": own * all_})
        sums = moments.groupby("customer_id", observed=True).sum()
        spread = (number * sums["xx"] - sums["x"] ** 2) * (number * sums["yy"] - sums["y"] ** 2)
        covariance = number * sums["xy"] - sums["x"] * sums["y"]
        found[f"category_{name}_trend"] = (covariance / np.sqrt(spread.where(spread > 0))).where(number >= 6)
    return pd.DataFrame(found)


def _flags(measured: pd.DataFrame) -> pd.Series:
    conditions = {
        "HIGH_RETURN_RATE": measured["return_rate"] > 0.95,
        "LATE_RETURNS": measured["mean_days_to_return"] > 60,
        "LARGE_ORDERS": measured["lines_per_order"] > 50,
    }
    flags = pd.Series("", index=measured.index)
    for code, holds in conditions.items():
        flags += np.where(holds, f";{code}", "")
    return flags.str.removeprefix(";")
