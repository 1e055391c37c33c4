"""The simple groupings: quantiles that respect ties, and RFM by its definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from clustering_assets.segmentation.baselines import baseline_groups, quantile_groups

AS_OF = pd.Timestamp("2024-06-30")


def customers(recency: list[int], orders: list[int], order_value: list[float], rate: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "last_order_date": [AS_OF + pd.Timedelta(hours=18) - pd.Timedelta(days=days) for days in recency],
            "order_count": orders,
            "mean_order_value": order_value,
            "return_rate": rate,
        }
    )


def random_customers(n: int = 500, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return customers(
        random.integers(0, 400, n).tolist(),
        random.geometric(0.3, n).tolist(),
        random.lognormal(3, 1, n).tolist(),
        np.where(random.random(n) < 0.5, 0, random.random(n)).tolist(),
    )


@given(st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.5, 0.7, 1.0]) | st.floats(0, 1), min_size=1), st.integers(1, 12))
def test_quantiles_keep_the_order_and_never_part_equal_values(values: list[float], n: int) -> None:
    groups = quantile_groups(pd.Series(values), n)
    assert groups.min() >= 1
    assert groups.max() <= n
    for a, own in zip(values, groups, strict=True):
        for b, other in zip(values, groups, strict=True):
            assert own == other if a == b else (own <= other) == (a < b) or own == other


def test_quantiles_of_different_values_are_equally_large() -> None:
    groups = quantile_groups(pd.Series(np.random.default_rng(0).permutation(1000)), 10)
    assert np.bincount(groups)[1:].tolist() == [100] * 10


def test_recent_frequent_and_large_buyers_score_high() -> None:
    found = baseline_groups(customers([1, 5, 20, 60, 300], [9, 7, 5, 3, 1], [9.0, 8, 7, 6, 5], [0.0] * 5), AS_OF, 2, 0)
    assert found["rfm_cells"].tolist() == [555, 444, 333, 222, 111]
    assert found["rfm_score"].tolist() == [15, 12, 9, 6, 3]


def test_the_monetary_value_is_all_that_was_spent() -> None:
    found = baseline_groups(customers([5] * 5, [1, 2, 3, 4, 5], [50.0, 20, 10, 5, 2], [0.0] * 5), AS_OF, 2, 0)
    assert (found["rfm_cells"] % 10).tolist() == [5, 4, 3, 2, 1]


def test_no_baseline_has_more_groups_than_it_may() -> None:
    found = baseline_groups(random_customers(), AS_OF, 7, 0)
    count = {method: len(np.unique(groups)) for method, groups in found.items()}
    assert count["rfm_kmeans"] == 7
    assert count["rfm_score"] <= 13
    assert count["rfm_cells"] <= 125
    assert 2 <= count["return_rate_deciles"] <= 10
    assert all(len(groups) == 500 for groups in found.values())


def test_k_means_finds_planted_buyers_and_repeats() -> None:
    random = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], 60)
    planted = customers(
        (np.array([5, 60, 300])[kind] + random.integers(0, 4, 180)).tolist(),
        (np.array([40, 10, 2])[kind] + random.integers(0, 2, 180)).tolist(),
        (np.array([200.0, 50, 20])[kind] * random.lognormal(0, 0.1, 180)).tolist(),
        [0.0] * 180,
    )
    found = baseline_groups(planted, AS_OF, 3, 0)["rfm_kmeans"]
    assert adjusted_rand_score(kind, found) == pytest.approx(1)
    assert (baseline_groups(planted, AS_OF, 3, 0)["rfm_kmeans"] == found).all()


def test_customers_without_values_or_differences_are_grouped_all_the_same() -> None:
    alike = customers([5] * 30, [2] * 30, [np.nan] * 30, [0.0] * 30)
    assert all(len(np.unique(groups)) == 1 for groups in baseline_groups(alike, AS_OF, 4, 0).values())
