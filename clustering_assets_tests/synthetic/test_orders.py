"""The drawn shop: exact sizes, repeatable, consistent line by line, and with the planted differences."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from clustering_assets.synthetic import ALL_KINDS, EXTREMES, KINDS, SyntheticOrders, generate


@pytest.fixture(scope="module")
def shop() -> SyntheticOrders:
    return generate(2000, 120_000, seed=3)


@pytest.fixture(scope="module")
def lines(shop: SyntheticOrders) -> pd.DataFrame:
    frame = shop.lines.to_pandas()
    frame["returned"] = frame["return_quantity"] > 0
    frame["waited"] = (frame["return_date"].dt.normalize() - frame["order_date"].dt.normalize()).dt.days
    frame["kind"] = frame["customer_id"].map(shop.truth)
    return frame


def test_has_exactly_the_lines_and_customers_asked_for(shop: SyntheticOrders, lines: pd.DataFrame) -> None:
    assert len(lines) == 120_000
    assert lines["customer_id"].nunique() == len(shop.truth) == 2000
    assert set(lines["customer_id"]) == set(shop.truth.index)


@pytest.mark.parametrize(("customers", "count"), [(10, 50), (10, 5000), (37, 185), (500, 2500)])
def test_small_shops_are_exact_too(customers: int, count: int) -> None:
    lines = generate(customers, count, seed=1).lines.to_pandas()
    assert len(lines) == count
    assert lines["customer_id"].nunique() == customers


def test_an_sku_stands_once_in_an_order_and_an_order_has_one_customer_and_moment(lines: pd.DataFrame) -> None:
    assert not lines.duplicated(["order_id", "sku"]).any()
    assert (lines.groupby("order_id")[["customer_id", "order_date"]].nunique() == 1).all(axis=None)


def test_orders_are_numbered_in_the_sequence_of_their_dates_within_the_period(lines: pd.DataFrame) -> None:
    assert lines["order_date"].is_monotonic_increasing
    assert lines["order_id"].is_monotonic_increasing
    assert lines["order_date"].min() >= pd.Timestamp(2023, 1, 1)
    assert lines["order_date"].max() < pd.Timestamp(2026, 1, 1)


def test_values_and_returns_keep_the_rules_of_the_contract(lines: pd.DataFrame) -> None:
    assert (lines["quantity"] >= 1).all()
    assert (lines["line_value"] > 0).all()
    assert lines["return_quantity"].between(0, lines["quantity"]).all()
    assert (lines["return_date"].notna() == lines["returned"]).all()
    assert (lines["return_reason"].notna() == lines["returned"]).all()
    assert (lines.loc[lines["returned"], "return_date"] > lines.loc[lines["returned"], "order_date"]).all()
    assert lines["return_date"].max() < pd.Timestamp(2026, 1, 1)


def test_a_sku_has_one_category_and_brand(lines: pd.DataFrame) -> None:
    assert (lines.groupby("sku")[["category", "brand"]].nunique() == 1).all(axis=None)
    assert lines["category"].nunique() >= 20


def test_customer_ids_are_addresses_at_reserved_domains(shop: SyntheticOrders) -> None:
    assert shop.truth.index.is_unique
    assert shop.truth.index.str.fullmatch(r"[a-z]+\.[a-z]+[0-9]*@example\.(com|org|net)").all()


def test_the_same_seed_gives_the_same_shop_and_another_seed_another() -> None:
    shop, again, other = (generate(60, 3000, seed=seed) for seed in (5, 5, 6))
    assert shop.lines.equals(again.lines)
    pd.testing.assert_series_equal(shop.truth, again.truth)
    assert not shop.lines.equals(other.lines)


def test_about_fifteen_percent_of_the_lines_come_back(lines: pd.DataFrame) -> None:
    assert 0.12 < lines["returned"].mean() < 0.18


def test_kinds_differ_in_what_makes_them(lines: pd.DataFrame) -> None:
    by_kind = lines.groupby("kind")
    rate, waited = by_kind["returned"].mean(), by_kind["waited"].median()
    lines_per_order = by_kind.size() / by_kind["order_id"].nunique()
    unit_price = (lines["line_value"] / lines["quantity"]).groupby(lines["kind"]).mean()
    year_end = (lines["order_date"].dt.month >= 11).groupby(lines["kind"]).mean()
    style = lines["sku"].str[:6]
    same_style = lines.groupby(["kind", "order_id", style]).ngroup().duplicated().groupby(lines["kind"]).mean()

    assert rate["never_returns"] < 0.01
    assert rate["serial_returner"] > 3 * rate["occasional_returner"]
    assert rate["returns_everything"] > 0.95
    assert waited["slow_returner"] > 3 * waited["occasional_returner"]
    assert same_style["bracket_buyer"] > 5 * same_style["occasional_returner"]
    assert year_end["holiday_shopper"] > 0.9 > 2 * year_end["occasional_returner"]
    assert unit_price["high_value"] > 1.5 * unit_price["occasional_returner"]
    assert lines_per_order["bracket_buyer"] > 2 * lines_per_order["high_value"]


def test_extreme_customers_are_few_and_far_out(shop: SyntheticOrders, lines: pd.DataFrame) -> None:
    counts = shop.truth.value_counts()
    assert {counts[kind] for kind in EXTREMES} == {2}
    units = lines.groupby("customer_id")["quantity"].sum()
    resellers = shop.truth.index[shop.truth == "reseller"]
    assert units[resellers].min() > units.drop(resellers).quantile(0.99)


def test_customers_join_and_leave_during_the_period(lines: pd.DataFrame) -> None:
    orders = lines.groupby("customer_id")["order_date"]
    assert 0.2 < (orders.min() > pd.Timestamp(2023, 7, 1)).mean() < 0.8
    assert 0.1 < (orders.max() < pd.Timestamp(2025, 7, 1)).mean() < 0.5


def test_december_is_the_peak_and_summer_the_dip(lines: pd.DataFrame) -> None:
    by_month = lines.groupby(lines["order_date"].dt.month).size()
    assert by_month.idxmax() == 12
    assert by_month.idxmin() in (2, 7, 8)


def test_dresses_and_pumps_come_back_more_often_than_scarves_and_jewellery(lines: pd.DataFrame) -> None:
    rate = lines.groupby("category")["returned"].mean()
    assert rate[["Dresses", "Pumps"]].min() > 2 * rate[["Scarves", "Jewellery"]].max()


def test_order_values_are_nearer_to_lognormal_than_to_normal(lines: pd.DataFrame) -> None:
    value = lines[~lines["kind"].isin(EXTREMES)].groupby("order_id")["line_value"].sum()
    assert abs(np.log(value).skew()) < 1 < value.skew()


def test_a_mix_says_which_kinds_there_are() -> None:
    shop = generate(400, 8000, mix={"never_returns": 3, "serial_returner": 1})
    counts = shop.truth.value_counts()
    assert set(counts.index) == {"never_returns", "serial_returner", *EXTREMES}
    assert counts["never_returns"] == pytest.approx(3 * counts["serial_returner"], abs=2)
    assert set(generate(400, 8000).truth) == set(ALL_KINDS) == {*KINDS, *EXTREMES}


def test_start_and_years_set_the_period() -> None:
    dates = generate(100, 2000, start=date(2020, 3, 1), years=1).lines["order_date"].to_pandas()
    assert dates.min() >= pd.Timestamp(2020, 3, 1)
    assert dates.max() < pd.Timestamp(2021, 3, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"customers": 9, "lines": 100}, "at least 10 customers"),
        ({"customers": 100, "lines": 499}, "5 lines a customer"),
        ({"customers": 100, "lines": 1000, "mix": {"nobody": 1.0}}, "unknown kind of customer 'nobody'"),
        ({"customers": 100, "lines": 1000, "mix": {"high_value": 0.0}}, "not all zero"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(**arguments)  # type: ignore[arg-type]
