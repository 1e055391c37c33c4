"""The columns of silver.customer_features before imputation, as one who knows Polars would write them: lazily."""

from __future__ import annotations

from pathlib import Path

import polars as pl

RECENT, NEAR = 90, 14


def features(file: Path) -> pl.DataFrame:
    """Compute the features from order lines in a Parquet file: one row per customer."""
    lines = pl.scan_parquet(file).with_columns(
        returned=pl.col("return_quantity") > 0,
        day=_day("order_date"),
        unit_price=pl.col("line_value") / pl.col("quantity"),
        month=pl.col("order_date").dt.year() * 12 + pl.col("order_date").dt.month() - 1,
    )
    shop = lines.select(
        as_of=pl.col("day").max(),
        high_price=pl.col("unit_price").quantile(0.75, "linear"),
        shop_return_rate=pl.col("returned").mean(),
    )
    orders = lines.group_by("customer_id", "order_id").agg(
        date=pl.col("order_date").min(), lines=pl.len(), returned=pl.col("returned").sum()
    )
    orders = orders.with_columns(day=_day("date")).join(shop, how="cross")
    customers = _measure_lines(lines.join(shop, how="cross")).join(shop, how="cross")
    for part in (
        _measure_orders(orders),
        _streaks(orders),
        _categories(lines),
        _adjacency(orders, "order"),
        _adjacency(orders.filter(pl.col("returned") > 0), "return"),
        _season(lines, "order"),
        _season(lines.filter("returned"), "return"),
        _trend(lines),
    ):
        customers = customers.join(part, on="customer_id", how="left")
    return _derive(customers).collect()


def _day(name: str) -> pl.Expr:
    return pl.col(name).dt.epoch("d").cast(pl.Int64)


def _ratio(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    return pl.when(denominator != 0).then(numerator / denominator)


def _measure_lines(lines: pl.LazyFrame) -> pl.LazyFrame:
    returned, back = pl.col("returned"), pl.col("return_quantity")
    waited = (_day("return_date") - pl.col("day")).filter(returned)
    expensive = pl.col("unit_price") >= pl.col("high_price")
    other = pl.col("unit_price") < pl.col("high_price")
    return lines.group_by("customer_id").agg(
        source_customer_id=pl.col("source_customer_id").sort_by("source_file", "source_row").first(),
        lines=pl.len(),
        sku_count=pl.col("sku").n_unique(),
        returned_line_count=returned.sum(),
        returned_sku_count=pl.col("sku").filter(returned).n_unique(),
        mean_line_quantity=pl.col("quantity").mean(),
        total_quantity=pl.col("quantity").sum(),
        total_return_quantity=back.sum(),
        value=pl.col("line_value").sum(),
        mean_return_value=(pl.col("unit_price") * back).filter(returned).mean(),
        return_intensity=(back / pl.col("quantity")).filter(returned).mean(),
        mean_days_to_return=waited.mean(),
        std_days_to_return=waited.std(),
        high_value_return_affinity=returned.filter(expensive).mean() - returned.filter(other).mean(),
    )


def _measure_orders(orders: pl.LazyFrame) -> pl.LazyFrame:
    recent = pl.col("day") >= pl.col("as_of") - RECENT
    return orders.group_by("customer_id").agg(
        order_count=pl.len(),
        order_return_rate=(pl.col("returned") > 0).mean(),
        first_order_date=pl.col("date").min(),
        last_order_date=pl.col("date").max(),
        recent_order_count=recent.sum(),
        recent_lines=pl.col("lines").filter(recent).sum(),
        recent_return_count=pl.col("returned").filter(recent).sum(),
    )


def _streaks(orders: pl.LazyFrame) -> pl.LazyFrame:
    dated = orders.filter(pl.col("date").is_not_null()).sort("customer_id", "date", "order_id")
    some = pl.col("returned") > 0
    runs = (
        dated.with_columns(run=some.rle_id().over("customer_id"))
        .filter(some)
        .group_by("customer_id", "run")
        .agg(length=pl.len())
    )
    length = pl.col("length")
    return runs.group_by("customer_id").agg(return_streak_count=(length >= 2).sum(), mean_return_streak=length.mean())


def _categories(lines: pl.LazyFrame) -> pl.LazyFrame:
    own = (
        lines.filter(pl.col("category").is_not_null())
        .group_by("customer_id", "category")
        .agg(lines=pl.len().cast(pl.Int64), returned=pl.col("returned").sum().cast(pl.Int64))
    )
    shop = own.group_by("category").agg(shop_lines=pl.col("lines").sum(), shop_returned=pl.col("returned").sum())
    others = pl.col("shop_lines") - pl.col("lines")
    share = pl.col("lines") / pl.col("lines").sum()
    return (
        own.join(shop, on="category")
        .with_columns(expected=_ratio(pl.col("lines") * (pl.col("shop_returned") - pl.col("returned")), others))
        .group_by("customer_id")
        .agg(
            category_concentration=(share**2).sum(),
            category_diversity=(-(share * share.log()).sum()).exp(),
            category_loyalty=share.max(),
            expected_rate=_ratio(pl.col("expected").sum(), pl.col("lines").filter(others > 0).sum()),
        )
    )


def _adjacency(orders: pl.LazyFrame, name: str) -> pl.LazyFrame:
    days = orders.filter(pl.col("day").is_not_null()).group_by("customer_id", "day").agg(orders=pl.len())
    gap = pl.col("day").diff()
    before, after = gap <= NEAR, gap.shift(-1) <= NEAR
    return (
        days.sort("customer_id", "day")
        .group_by("customer_id", maintain_order=True)
        .agg(
            pl.col("orders")
            .filter(before.fill_null(False) | after.fill_null(False))
            .sum()
            .alias(f"adjacent_{name}_count"),
            gap.filter(before).mean().alias(f"mean_days_between_adjacent_{name}s"),
        )
    )


def _season(lines: pl.LazyFrame, name: str) -> pl.LazyFrame:
    quarters = (
        lines.filter(pl.col("order_date").is_not_null())
        .group_by("customer_id", pl.col("order_date").dt.quarter().alias("quarter"))
        .agg(lines=pl.len().cast(pl.Float64))
    )
    lines_, mean = pl.col("lines"), pl.col("lines").sum() / 4
    variation = ((lines_**2).sum() / 4 - mean**2).clip(0).sqrt() / mean
    return quarters.group_by("customer_id").agg(variation.alias(f"seasonal_{name}_variation"))


def _trend(lines: pl.LazyFrame) -> pl.LazyFrame:
    cells = (
        lines.filter(pl.col("category").is_not_null(), pl.col("month").is_not_null())
        .group_by("customer_id", "category", "month")
        .agg(lines=pl.len().cast(pl.Float64), returned=pl.col("returned").sum().cast(pl.Float64))
    )
    shop = cells.group_by("category", "month").agg(
        shop_lines=pl.col("lines").sum(), shop_returned=pl.col("returned").sum()
    )
    enough = pl.len() >= 6
    return (
        cells.join(shop, on=["category", "month"])
        .group_by("customer_id")
        .agg(
            category_order_trend=pl.when(enough).then(pl.corr("lines", "shop_lines").fill_nan(None)),
            category_return_trend=pl.when(enough).then(pl.corr("returned", "shop_returned").fill_nan(None)),
        )
    )


def _derive(customers: pl.LazyFrame) -> pl.LazyFrame:
    orders, lines, returned = pl.col("order_count"), pl.col("lines"), pl.col("returned_line_count")
    first = _day("first_order_date")
    tenure, rate = pl.col("as_of") - first, returned / lines
    recent_pace, pace = pl.col("recent_order_count") / RECENT, _ratio(orders.cast(pl.Float64), tenure)
    stability = pl.min_horizontal(recent_pace, pace) / pl.max_horizontal(recent_pace, pace)
    customers = customers.with_columns(
        lines_per_order=lines / orders,
        return_rate=rate,
        return_quantity_ratio=_ratio(pl.col("total_return_quantity"), pl.col("total_quantity")),
        returned_lines_per_order=returned / orders,
        lifetime_days=_day("last_order_date") - first,
        tenure_stage=pl.when(tenure <= 90)
        .then(pl.lit("New"))
        .when(tenure <= 180)
        .then(pl.lit("Growing"))
        .when(tenure <= 365)
        .then(pl.lit("Mature"))
        .when(tenure.is_not_null())
        .then(pl.lit("Veteran")),
        recent_return_rate_ratio=_ratio(_ratio(pl.col("recent_return_count"), pl.col("recent_lines")), rate),
        pace_stability=pl.when(tenure >= RECENT).then(stability),
        mean_order_value=pl.col("value") / orders,
        high_return_category_affinity=pl.col("expected_rate") - pl.col("shop_return_rate"),
    )
    counts = ("return_streak_count", "adjacent_order_count", "adjacent_return_count")
    seasons = ("seasonal_order_variation", "seasonal_return_variation")
    flags = {
        "HIGH_RETURN_RATE": pl.col("return_rate") > 0.95,
        "LATE_RETURNS": pl.col("mean_days_to_return") > 60,
        "LARGE_ORDERS": pl.col("lines_per_order") > 50,
    }
    return customers.with_columns(
        *(pl.col(name).fill_null(0) for name in counts),
        *(pl.when(pl.col("lifetime_days") > 730).then(pl.col(name)) for name in seasons),
        quality_flags=pl.concat_str(
            [pl.when(holds).then(pl.lit(code)) for code, holds in flags.items()], separator=";", ignore_nulls=True
        ),
    )
