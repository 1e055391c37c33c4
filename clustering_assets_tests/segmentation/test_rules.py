"""A surrogate rule is found where there is one, and its fidelity is that on new customers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustering_assets.segmentation.rules import surrogate_rule


def customers(n: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "return_rate": random.uniform(size=n),
            "order_count": random.integers(1, 12, size=n).astype(float),
            "mean_order_value": random.lognormal(5, 1, size=n),
            "lifetime_days": random.integers(0, 1_000, size=n).astype(float),
        }
    )


def serial(features: pd.DataFrame) -> np.ndarray:
    return ((features["return_rate"] > 0.31) & (features["order_count"] > 4)).to_numpy()


def test_a_planted_rule_is_found():
    features = customers(2_000, 0)
    found = surrogate_rule(features, serial(features))
    assert set(found.rule.split(" and ")) == {"return_rate > 0.31", "order_count > 4"}
    assert found.precision > 0.98
    assert found.recall > 0.98


def test_an_interval_is_one_condition():
    features = customers(2_000, 0)
    inside = features["mean_order_value"].between(100, 250).to_numpy()
    found = surrogate_rule(features, inside)
    low, name, high = found.rule.replace("<=", "<").split(" < ")
    assert name == "mean_order_value"
    assert float(low) == pytest.approx(100, rel=0.02)
    assert float(high) == pytest.approx(250, rel=0.02)


def test_two_ways_into_a_segment_make_a_union():
    features = customers(2_000, 0)
    inside = ((features["return_rate"] > 0.8) | (features["lifetime_days"] <= 150)).to_numpy()
    found = surrogate_rule(features, inside)
    assert " or " in found.rule
    assert min(found.precision, found.recall) > 0.9


@pytest.mark.parametrize("noise", [0.02, 0.15])
def test_fidelity_is_that_on_new_customers(noise):
    def drawn(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
        features = customers(n, seed)
        flipped = np.random.default_rng(seed + 100).uniform(size=n) < noise
        return features, serial(features) ^ flipped

    found = surrogate_rule(*drawn(2_000, 0))
    features, inside = drawn(20_000, 1)
    follows = features.eval(found.rule).to_numpy()
    assert found.precision == pytest.approx(inside[follows].mean(), abs=0.04)
    assert found.recall == pytest.approx(follows[inside].mean(), abs=0.04)


def test_chance_is_not_sold_as_a_rule():
    """A rule of three conditions fits chance well where it was learnt; held out it is no better than guessing."""
    features = customers(400, 0)
    inside = np.random.default_rng(1).uniform(size=400) < 0.1
    found = surrogate_rule(features, inside)
    assert found.precision < 0.25


def test_a_sample_stands_for_all_customers():
    features = customers(20_000, 0)
    # One in ten look alike, two thirds of whom are in the segment; in the sample, unweighted, it would be nine tenths.
    alike = features["return_rate"].to_numpy() > 0.9
    inside = alike & (np.random.default_rng(1).uniform(size=20_000) < 2 / 3)
    found = surrogate_rule(features, inside, max_rows=3_000)
    follows = features.eval(found.rule).to_numpy()
    assert found.precision == pytest.approx(inside[follows].mean(), abs=0.05)
    assert found.recall == pytest.approx(follows[inside].mean(), abs=0.05)


def test_missing_values_follow_no_condition_on_them():
    features = customers(1_000, 0)
    inside = serial(features)
    features.loc[~inside, "order_count"] = np.nan
    features["lifetime_days"] = np.nan
    found = surrogate_rule(features, inside)
    assert "lifetime_days" not in found.rule
    follows = features.eval(found.rule).to_numpy()
    assert found.precision == pytest.approx(inside[follows].mean(), abs=0.05)


@pytest.mark.parametrize(("n", "members"), [(0, 0), (1, 1), (30, 9), (30, 21), (30, 30), (30, 0)])
def test_too_few_customers_make_no_rule(n, members):
    assert surrogate_rule(customers(n, 0), np.arange(n) < members) == (None, None, None)


def test_customers_all_alike_make_no_rule():
    assert surrogate_rule(customers(1, 0).loc[[0] * 60], np.arange(60) < 30) == (None, None, None)
    assert surrogate_rule(customers(60, 0)[[]], np.arange(60) < 30) == (None, None, None)


def test_it_repeats():
    features = customers(500, 3)
    inside = serial(features) ^ (np.random.default_rng(0).uniform(size=500) < 0.2)
    assert surrogate_rule(features, inside) == surrogate_rule(features, inside)


@given(st.integers(0, 10_000), st.floats(0.05, 0.9), st.floats(1e-6, 1e9))
@settings(max_examples=15, deadline=None)
def test_a_threshold_is_found_on_any_scale(seed, share, scale):
    features = customers(300, seed)
    features["mean_order_value"] *= scale
    inside = (features["mean_order_value"] > features["mean_order_value"].quantile(share)).to_numpy()
    found = surrogate_rule(features, inside)
    follows = features.eval(found.rule).to_numpy()
    assert np.mean(follows == inside) > 0.97
    assert found.rule.count("mean_order_value") == 1
