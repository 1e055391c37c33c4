"""The oracle itself, on cases small enough to compute by hand."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings

from clustering_assets.contracts import CUSTOMER_FEATURES, IMPUTATION_LOG
from clustering_assets_tests.awkward_lines import (
    AS_OF,
    EARLIER_AS_OF,
    awkward_lines,
    order_lines_frame,
    order_lines_strategy,
)
from clustering_assets_tests.oracle import FEATURE_COLUMNS, expected_features, expected_imputation

# Each test writes lines in a compact form: (customer, order, date, {what else}).
Row = tuple[str, str, str | None, dict[str, Any]]


def features_of(*rows: Row, as_of: dt.date | None = None) -> pd.DataFrame:
    """Index the expected features by customer_id; lines have one unit and a SKU of their own unless told otherwise."""
    lines = [
        {
            "sku": f"sku-{number}",
            "quantity": 1,
            "customer_id": customer_id,
            "order_id": order_id,
            "order_date": None if date is None else dt.datetime.fromisoformat(date),
            **values,
        }
        for number, (customer_id, order_id, date, values) in enumerate(rows)
    ]
    return expected_features(order_lines_frame(lines), as_of).set_index("customer_id")


def back_on(date: str, units: int = 1) -> dict[str, Any]:
    """Values of a line of which ``units`` came back on ``date``."""
    return {"return_quantity": units, "return_date": dt.datetime.fromisoformat(date)}


BACK = {"return_quantity": 1}


def assert_values(features: pd.DataFrame, customer_id: str, **expected: object) -> None:
    """Compare some features of one customer; None stands for null."""
    for name, value in expected.items():
        actual = features.loc[customer_id, name]
        if value is None:
            assert pd.isna(actual), name
        else:
            assert actual == (pytest.approx(value) if isinstance(value, int | float) else value), name


def test_volume_and_record_count_orders_lines_skus_and_units() -> None:
    features = features_of(
        ("c", "o1", "2024-01-05 10:00", {"sku": "a", "quantity": 2, "source_file": "b.csv", "source_row": 1}),
        ("c", "o1", "2024-01-04 10:00", {"sku": "b", "quantity": 4, "return_quantity": 3}),
        ("c", "o2", "2024-01-14 10:00", {"sku": "a", "quantity": None, "return_quantity": 5}),
        ("c", "o2", "2024-01-15 10:00", {"sku": "c", "source_file": "a.csv", "source_customer_id": "C"}),
        ("c", "o3", None, {"sku": "a"}),
    )
    assert_values(
        features,
        "c",
        source_customer_id="C",
        order_count=3,
        sku_count=3,
        returned_line_count=2,
        mean_line_quantity=8 / 4,
        lines_per_order=5 / 3,
        lifetime_days=10,
        total_quantity=8,
        total_return_quantity=8,
        first_order_date=pd.Timestamp("2024-01-04 10:00"),
        last_order_date=pd.Timestamp("2024-01-14 10:00"),
    )


def test_return_features_divide_by_lines_units_and_orders() -> None:
    features = features_of(
        ("c", "o1", "2024-01-01", {"quantity": 4, "return_quantity": 1, "sku": "a"}),
        ("c", "o1", "2024-01-01", {"quantity": 2, "return_quantity": 2, "sku": "b"}),
        ("c", "o2", "2024-01-02", {"quantity": 4, "sku": "a"}),
        ("c", "o3", None, {"quantity": None, "return_quantity": 9, "sku": "a"}),
        ("never", "o1", "2024-01-01", {}),
    )
    assert_values(
        features,
        "c",
        return_rate=3 / 4,
        return_quantity_ratio=3 / 10,
        returned_sku_count=2,
        returned_lines_per_order=1.0,
        order_return_rate=2 / 3,
        return_intensity=(1 / 4 + 1) / 2,
    )
    assert_values(
        features,
        "never",
        returned_line_count=0,
        return_rate=0,
        return_quantity_ratio=0,
        order_return_rate=0,
        return_intensity=None,
        return_streak_count=0,
        mean_return_streak=None,
        mean_days_to_return=None,
    )


def test_streaks_are_maximal_runs_of_dated_orders_with_a_return() -> None:
    features = features_of(
        # In sequence: returned, returned, kept, returned, kept. The undated order interrupts nothing.
        ("runs", "o5", "2024-01-05", {}),
        ("runs", "o1", "2024-01-01", BACK),
        ("runs", "o2", "2024-01-02", BACK),
        ("runs", "o2", "2024-01-02", {}),
        ("runs", "o3", "2024-01-03", {}),
        ("runs", "o4", "2024-01-04", BACK),
        ("runs", "o9", None, BACK),
        # At the same moment order ids decide, as strings: 10 (returned), 9 (returned), B (kept), a (returned).
        ("ties", "9", "2024-01-01", BACK),
        ("ties", "10", "2024-01-01", BACK),
        ("ties", "a", "2024-01-01", BACK),
        ("ties", "B", "2024-01-01", {}),
    )
    assert_values(features, "runs", return_streak_count=1, mean_return_streak=1.5)
    assert_values(features, "ties", return_streak_count=1, mean_return_streak=1.5)


def test_days_to_return_are_calendar_days() -> None:
    features = features_of(
        ("c", "o1", "2024-02-28 23:59", back_on("2024-03-01 00:00")),
        ("c", "o1", "2024-02-28 08:00", back_on("2024-02-28 09:00")),
        ("c", "o1", "2024-02-28 08:00", back_on("2024-03-03 09:00")),
        ("c", "o1", "2024-02-28 08:00", BACK),
        ("c", "o1", None, back_on("2024-03-03 09:00")),
        ("c", "o1", "2024-02-28 08:00", back_on("2024-03-20", units=0)),
    )
    # 2, 0 and 4 days: mean 2, squared deviations 0 + 4 + 4 over 2.
    assert_values(features, "c", mean_days_to_return=2, std_days_to_return=2)


@pytest.mark.parametrize(
    ("first_order", "stage"),
    [
        ("2024-04-01 23:59", "New"),
        ("2024-03-31 23:59", "Growing"),
        ("2024-01-02", "Growing"),
        ("2024-01-01", "Mature"),
        ("2023-07-01", "Mature"),
        ("2023-06-30", "Veteran"),
    ],
)
def test_tenure_stage_changes_after_90_180_and_365_days(first_order: str, stage: str) -> None:
    features = features_of(("c", "o1", first_order, {}), ("other", "o1", "2024-06-30 00:00", {}))
    assert_values(features, "c", tenure_stage=stage)


def test_recency_looks_at_orders_of_the_last_90_days_both_ends_in() -> None:
    features = features_of(
        # Tenure 180 days. 90 and 0 days ago are recent, 91 days ago is not.
        ("c", "o1", "2024-01-02", BACK),
        ("c", "o2", "2024-03-31", BACK),
        ("c", "o3", "2024-04-01", BACK),
        ("c", "o3", "2024-04-02", {}),
        ("c", "o3", None, {}),
        ("c", "o4", "2024-06-30 23:00", {}),
        ("new", "o1", "2024-04-02", {}),
        ("lapsed", "o1", "2024-01-02", BACK),
        ("undated", "o1", None, BACK),
    )
    # Recent lines: 1 of 4 returned; all lines: 3 of 6. Paces: 2 / 90 and 4 / 180, which are equal.
    assert_values(
        features, "c", recent_order_count=2, recent_return_count=1, recent_return_rate_ratio=0.5, pace_stability=1
    )
    assert_values(features, "new", recent_order_count=1, recent_return_rate_ratio=None, pace_stability=None)
    assert_values(features, "lapsed", recent_order_count=0, recent_return_count=0, pace_stability=0)
    assert_values(features, "lapsed", recent_return_rate_ratio=None)
    assert_values(features, "undated", recent_order_count=None, recent_return_count=None, tenure_stage=None)


def test_pace_stability_is_smaller_over_larger_pace() -> None:
    features = features_of(
        ("c", "o1", "2024-04-01", {}),
        ("c", "o2", None, {}),
        ("slower", "o1", "2023-09-04", {}),
        ("slower", "o2", "2023-09-05", {}),
        ("slower", "o3", "2024-06-30", {}),
    )
    # Tenure 90: 1 / 90 against 2 / 90. Tenure 300: 1 / 90 against 3 / 300.
    assert_values(features, "c", pace_stability=0.5)
    assert_values(features, "slower", pace_stability=0.9)


def test_monetary_features_use_the_shops_price_threshold() -> None:
    features = features_of(
        # Unit prices of the shop: 2, 4, 6, 8, 10; their 75th percentile is 8.
        ("c", "o1", "2024-01-01", {"quantity": 2, "line_value": 4.0, "return_quantity": 1}),
        ("c", "o1", "2024-01-01", {"line_value": 4.0}),
        ("c", "o2", "2024-01-02", {"line_value": 6.0}),
        ("c", "o2", "2024-01-02", {"quantity": 4, "line_value": 32.0, "return_quantity": 3}),
        ("c", "o2", "2024-01-02", {"quantity": None, "line_value": 14.0, "return_quantity": 1}),
        ("c", "o2", "2024-01-02", {"line_value": None, "return_quantity": 1}),
        ("dear", "o1", "2024-01-02", {"line_value": 10.0}),
        ("unpriced", "o1", "2024-01-02", {"line_value": None}),
    )
    # Values 4 + 4 + 6 + 32 + 14 over two orders; 4 * 1/2 and 32 * 3/4 came back; 1 of 1 dear lines, 1 of 3 others.
    assert_values(features, "c", mean_order_value=30, mean_return_value=13, high_value_return_affinity=2 / 3)
    assert_values(features, "dear", mean_order_value=10, mean_return_value=None, high_value_return_affinity=None)
    assert_values(features, "unpriced", mean_order_value=None, high_value_return_affinity=None)


def test_price_threshold_is_interpolated() -> None:
    # Of the prices 1, 2 and 4 the 75th percentile is 3: the line of 2 is not dear, the line of 4 is.
    features = features_of(
        ("c", "o1", "2024-01-01", {"line_value": 1.0}),
        ("c", "o1", "2024-01-01", {"line_value": 2.0, **BACK}),
        ("c", "o1", "2024-01-01", {"line_value": 4.0}),
    )
    assert_values(features, "c", high_value_return_affinity=-1 / 2)


def test_category_shares_concentration_diversity_and_loyalty() -> None:
    features = features_of(
        *[("c", "o1", "2024-01-01", {"category": category}) for category in ["a", "a", "b", "c", None]],
        *[("even", "o1", "2024-01-01", {"category": category}) for category in ["a", "b", "c", "d"]],
        ("none", "o1", "2024-01-01", {}),
    )
    # Shares 1/2, 1/4, 1/4: entropy (1/2) ln 2 + (1/2) ln 4 = (3/2) ln 2.
    assert_values(
        features, "c", category_concentration=3 / 8, category_diversity=2 * math.sqrt(2), category_loyalty=1 / 2
    )
    assert_values(features, "even", category_concentration=1 / 4, category_diversity=4, category_loyalty=1 / 4)
    assert_values(features, "none", category_concentration=None, category_diversity=None, category_loyalty=None)


def test_high_return_category_affinity_leaves_the_customers_own_lines_out() -> None:
    features = features_of(
        ("c", "o1", "2024-01-01", {"category": "shoes"}),
        ("c", "o1", "2024-01-01", {"category": "shoes", **BACK}),
        ("c", "o1", "2024-01-01", {"category": "hats", **BACK}),
        ("c", "o1", "2024-01-01", {"category": "kites", **BACK}),
        ("c", "o1", "2024-01-01", {}),
        ("d", "o1", "2024-01-01", {"category": "shoes", **BACK}),
        ("d", "o2", "2024-01-01", {"category": "shoes"}),
        ("e", "o1", "2024-01-01", {"category": "hats"}),
        ("only", "o1", "2024-01-01", {"category": "boats"}),
        ("bare", "o1", "2024-01-01", {}),
    )
    # Shop: 4 of 10. For c: shoes 1/2 twice, hats 0, kites left out. For d: shoes 1/2 twice. For e: hats 1.
    assert_values(features, "c", high_return_category_affinity=1 / 3 - 0.4)
    assert_values(features, "d", high_return_category_affinity=0.1)
    assert_values(features, "e", high_return_category_affinity=0.6)
    assert_values(features, "only", high_return_category_affinity=None, category_loyalty=1)
    assert_values(features, "bare", high_return_category_affinity=None)


def test_adjacency_counts_orders_on_other_days_up_to_14_days_away() -> None:
    features = features_of(
        # Days 1, 1, 15, 30 and 40: gaps 14, 15, 10. Returned on days 1, 30 and 40.
        ("c", "o1", "2024-01-01 23:59", BACK),
        ("c", "o2", "2024-01-01 08:00", {}),
        ("c", "o3", "2024-01-15 23:59", {}),
        ("c", "o4", "2024-01-30 00:00", BACK),
        ("c", "o5", "2024-02-09", BACK),
        ("c", "o6", None, BACK),
        ("same day", "o1", "2024-01-01 08:00", BACK),
        ("same day", "o2", "2024-01-01 09:00", BACK),
        ("far", "o1", "2024-01-01 23:59", {}),
        ("far", "o2", "2024-01-16 00:00", {}),
    )
    assert_values(
        features,
        "c",
        adjacent_order_count=5,
        adjacent_return_count=2,
        mean_days_between_adjacent_orders=12,
        mean_days_between_adjacent_returns=10,
    )
    for customer_id in ("same day", "far"):
        assert_values(
            features,
            customer_id,
            adjacent_order_count=0,
            adjacent_return_count=0,
            mean_days_between_adjacent_orders=None,
            mean_days_between_adjacent_returns=None,
        )


def test_season_needs_a_lifetime_above_730_days() -> None:
    features = features_of(
        # Quarters 1, 1, 1 and 3: counts 3, 0, 1, 0 with mean 1 and population variance 6/4.
        ("long", "o1", "2021-01-01", BACK),
        ("long", "o2", "2022-03-31 23:59", {}),
        ("long", "o3", "2022-07-01 00:00", {}),
        ("long", "o4", "2023-01-02", {}),
        ("long", "o5", None, BACK),
        ("two years", "o1", "2021-01-01", BACK),
        ("two years", "o2", "2023-01-01", {}),
        ("kept", "o1", "2021-01-01", {}),
        ("kept", "o2", "2023-01-02", {}),
    )
    # One returned line: counts 1, 0, 0, 0 with mean 1/4 and variance 3/16.
    assert_values(
        features,
        "long",
        lifetime_days=731,
        seasonal_order_variation=math.sqrt(1.5),
        seasonal_return_variation=math.sqrt(3),
    )
    assert_values(
        features,
        "two years",
        lifetime_days=730,
        seasonal_order_variation=None,
        seasonal_return_variation=None,
    )
    assert_values(features, "kept", seasonal_order_variation=math.sqrt(3), seasonal_return_variation=None)


def test_trend_correlates_lines_per_category_and_month_with_the_shop() -> None:
    def monthly(customer_id: str, counts: list[int], returned: list[int]) -> list[Row]:
        return [
            (customer_id, f"o{month}", f"2024-{month:02d}-10", {"category": "a", **(BACK if line < back else {})})
            for month, (count, back) in enumerate(zip(counts, returned, strict=True), start=1)
            for line in range(count)
        ]

    features = features_of(
        *monthly("six", [1, 2, 1, 2, 1, 2], [1, 0, 0, 0, 0, 0]),
        *monthly("five", [1, 2, 1, 2, 1], [1, 0, 0, 0, 0]),
        *monthly("seven", [1, 1, 1, 1, 1, 1, 3], [0] * 7),
        *monthly("flat", [1] * 6, [0, 1, 0, 0, 0, 0]),
        ("six", "o9", None, {"category": "a"}),
        ("six", "o9", "2024-01-20", {}),
        ("six", "o10", "2023-01-20", {"category": "b"}),
    )
    # Cells of "six": x = 1 2 1 2 1 2 1 against y = 4 6 4 6 4 4 1.
    # Means 10/7 and 29/7; 7 Sxy = 7*45 - 10*29 = 25, 7 Sxx = 7*16 - 100 = 12, 7 Syy = 7*137 - 841 = 118.
    # Returns: x = 1 0 0 0 0 0 0 against y = 2 1 0 0 0 0 0; 7 Sxy = 11, 7 Sxx = 6, 7 Syy = 26.
    assert_values(
        features, "six", category_order_trend=25 / math.sqrt(12 * 118), category_return_trend=11 / math.sqrt(6 * 26)
    )
    assert_values(features, "five", category_order_trend=None, category_return_trend=None)
    # Cells of "flat": x is constant; returned x = 0 1 0 0 0 0 against y = 2 1 0 0 0 0: 6 Sxy = 3, Sxx 5, Syy 21.
    assert_values(features, "flat", category_order_trend=None, category_return_trend=3 / math.sqrt(5 * 21))
    # "seven": x = 1 1 1 1 1 1 3 against y = 4 6 4 6 4 4 3; 7 Sxy = 7*37 - 9*31 = -20, Sxx 24, Syy 7*145 - 961 = 54.
    assert_values(features, "seven", category_order_trend=-20 / math.sqrt(24 * 54), category_return_trend=None)


def test_quality_flags_come_in_order_and_only_above_their_limits() -> None:
    features = features_of(
        *[("all", "o1", "2024-01-01", back_on("2024-03-02")) for _ in range(50)],
        ("all", "o1", "2024-01-01", {"quality_flags": "BAD_QUANTITY;RETURN_BEFORE_ORDER", **BACK}),
        *[("limits", "o1", "2024-01-01", back_on("2024-03-01")) for _ in range(19)],
        ("limits", "o1", "2024-01-01", {"quality_flags": "BAD_QUANTITY"}),
        *[("fifty", "o1", "2024-01-01", {}) for _ in range(50)],
    )
    assert_values(features, "all", quality_flags="HIGH_RETURN_RATE;LATE_RETURNS;LARGE_ORDERS;DATES_REPAIRED")
    assert_values(features, "limits", return_rate=0.95, mean_days_to_return=60, quality_flags="")
    assert_values(features, "fifty", lines_per_order=50, quality_flags="")


def test_configured_as_of_sees_nothing_that_came_later() -> None:
    rows: list[Row] = [
        ("c", "o1", "2024-01-01", back_on("2024-01-10 23:59")),
        ("c", "o1", "2024-01-01", back_on("2024-01-11 00:00")),
        ("c", "o2", "2024-01-10 23:59", {}),
        ("c", "o3", "2024-01-11 00:00", BACK),
        ("c", "o4", None, BACK),
        ("later", "o1", "2024-01-11", {}),
    ]
    features = features_of(*rows, as_of=dt.date(2024, 1, 10))
    assert list(features.index) == ["c"]
    assert_values(features, "c", order_count=3, returned_line_count=2, total_return_quantity=2, recent_order_count=2)
    assert_values(features, "c", mean_days_to_return=9, return_rate=2 / 4)
    # Without a configured day, as_of is 11 January and the return of that day has happened, as would later ones.
    assert_values(features_of(*rows), "c", order_count=4, returned_line_count=4, recent_order_count=3)


def test_imputation_drops_fills_and_records() -> None:
    features = features_of(
        ("a", "o1", "2024-01-01", {"line_value": 10.0, "category": "x"}),
        ("b", "o1", "2024-01-01", {"line_value": 20.0, "category": "x", **BACK}),
        ("c", "o1", "2024-01-01", {}),
        ("dropped", "o1", None, {"quantity": None, "line_value": 90.0}),
        ("undated", "o1", None, {}),
    ).reset_index()
    result = expected_imputation(features, pd.Series({"a": 1, "b": 1, "c": 1, "dropped": 4, "undated": 2}))

    assert result.dropped.to_dict("list") == {
        "customer_id": ["dropped", "undated"],
        "missing": [
            "mean_line_quantity;lifetime_days;first_order_date;last_order_date",
            "lifetime_days;first_order_date;last_order_date",
        ],
        "line_count": [4, 2],
    }
    filled = result.features.set_index("customer_id")
    assert_values(filled, "c", mean_order_value=15, category_loyalty=1, return_intensity=0, recent_order_count=1)
    assert_values(filled, "b", mean_order_value=20, return_intensity=1, pace_stability=None)

    log = result.log.set_index("feature")
    assert len(log) == 37
    assert log.loc["mean_order_value"].to_list() == ["mean", 2, 1, 15.0]
    assert log.loc["return_intensity"].to_list() == ["zero", 4, 2, 0.0]
    assert log.loc["order_count"].to_list()[:3] == ["core", 0, 0]
    assert log.loc["last_order_date"].to_list()[:3] == ["core", 2, 0]
    assert log.loc["pace_stability"].to_list()[:3] == ["mean", 5, 0]
    assert log.loc[["order_count", "last_order_date", "pace_stability"], "fill_value"].isna().all()

    imputed = result.imputed.set_index("customer_id")
    assert list(imputed.index) == ["a", "b", "c"]
    assert imputed.loc["b", "imputed_count"] == 6
    # The return of b has no date; one line is one price, one day and one month. No mean exists for what all lack.
    assert imputed.loc["b", "imputed"] == (
        "mean_days_to_return;std_days_to_return;high_value_return_affinity;mean_days_between_adjacent_returns;"
        "seasonal_return_variation;category_return_trend"
    )
    # c returned nothing, has no value and no category: five more of the zero rule and four of the mean rule.
    assert imputed.loc["c", "imputed_count"] == 15
    assert imputed.loc["c", "imputed"] == (
        "return_intensity;mean_return_streak;mean_days_to_return;std_days_to_return;recent_return_rate_ratio;"
        "mean_order_value;mean_return_value;high_value_return_affinity;category_concentration;category_diversity;"
        "category_loyalty;high_return_category_affinity;mean_days_between_adjacent_returns;seasonal_return_variation;"
        "category_return_trend"
    )


def test_a_filled_integer_is_the_mean_rounded_half_to_even() -> None:
    features = features_of(*[(name, "o1", "2024-01-01", {}) for name in "abc"]).reset_index()
    features["recent_order_count"] = pd.array([2, 3, None], dtype="Int64")
    result = expected_imputation(features, pd.Series({"a": 1, "b": 1, "c": 1}))
    assert result.features["recent_order_count"].to_list() == [2, 3, 2]


def test_no_lines_give_empty_tables_with_all_columns() -> None:
    features = expected_features(order_lines_frame([]))
    result = expected_imputation(features, pd.Series(dtype="int64"))
    names = [column.name for column in FEATURE_COLUMNS]
    assert list(features.columns) == list(result.features.columns) == names
    assert len(features) == len(result.features) == len(result.dropped) == len(result.imputed) == 0
    assert list(result.log.columns) == list(IMPUTATION_LOG.column_names)


@pytest.mark.parametrize("as_of", [None, AS_OF, EARLIER_AS_OF])
@pytest.mark.parametrize("options", [{}, {"with_values": False}, {"with_categories": False}])
def test_awkward_lines_give_features_within_the_contract(as_of: dt.date | None, options: dict[str, bool]) -> None:
    assert_within_contract(expected_features(awkward_lines(seed=1, **options), as_of))


@settings(max_examples=50, deadline=None)
@given(lines=order_lines_strategy())
def test_any_lines_give_features_within_the_contract(lines: pd.DataFrame) -> None:
    assert_within_contract(expected_features(lines))


def test_awkward_lines_hit_what_they_promise() -> None:
    lines = awkward_lines(seed=1)
    features = expected_features(lines).set_index("customer_id")
    assert lines["order_date"].max().date() == AS_OF
    prices = (lines["line_value"] / lines["quantity"]).dropna().astype(float)
    assert (prices == prices.quantile(0.75)).mean() > 0.1
    assert {730, 731} <= set(features["lifetime_days"].dropna())
    for days in (89, 90, 91, 180, 181, 365, 366):
        assert (pd.Timestamp(AS_OF) - features.loc[f"tenure-{days}", "first_order_date"].normalize()).days == days
    assert_values(features, "tenure-89", pace_stability=None)
    assert_values(features, "tenure-90", pace_stability=1)
    assert_values(features, "gap-14-days", adjacent_return_count=2)
    assert_values(features, "gap-14-days-by-minutes", adjacent_order_count=2)
    assert_values(features, "gap-15-days", adjacent_return_count=0)
    assert_values(features, "recent-90", recent_order_count=1)
    assert_values(features, "recent-91", recent_order_count=0)
    assert_values(features, "same-moment-orders", return_streak_count=1, mean_return_streak=1.5)
    assert_values(features, "same-moment-numbers", return_streak_count=1, mean_return_streak=2)
    assert_values(features, "skus-differ-in-case", sku_count=3, order_count=2)
    assert_values(features, "streaks-of-2-1-3", return_streak_count=2, mean_return_streak=2)
    assert_values(features, "returned-after-60", mean_days_to_return=60, quality_flags="")
    assert_values(features, "returned-after-61", mean_days_to_return=61, quality_flags="LATE_RETURNS")
    assert_values(features, "trend-of-5-cells", category_order_trend=None)
    assert not math.isnan(features.loc["trend-of-6-cells", "category_order_trend"])
    for customer_id in ("trend-without-variance", "balances-a", "balances-b"):
        assert_values(features, customer_id, category_order_trend=None)
    assert_values(features, "flag-that-only-looks-alike", quality_flags="")
    assert_values(features, "mixed@example.com", source_customer_id="mixed@example.com")


def assert_within_contract(features: pd.DataFrame) -> None:
    """Types, keys, required values and ranges that silver.customer_features promises, nulls allowed to features."""
    assert list(features.columns) == list(CUSTOMER_FEATURES.column_names[:-1])
    assert features["customer_id"].is_unique
    assert features["customer_id"].is_monotonic_increasing
    for column in FEATURE_COLUMNS:
        values = features[column.name].dropna()
        assert len(values) == len(features) or not column.required, column.name
        if column.minimum is not None:
            assert (values >= column.minimum - 1e-12).all(), column.name
        if column.maximum is not None:
            assert (values <= column.maximum + 1e-12).all(), column.name
