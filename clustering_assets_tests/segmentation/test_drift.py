"""PSI against hand computations, and what it must not depend on."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustering_assets.segmentation.drift import (
    BINS,
    distribution,
    feature_drift,
    in_words,
    index_of_counts,
    size_drift,
    stability_index,
)

WHOLE = st.one_of(st.integers(-20, 20), st.integers(-(10**6), 10**6)).map(float)
COLUMNS = st.lists(st.one_of(WHOLE, st.just(math.nan)), min_size=1, max_size=80)


def test_the_index_is_that_of_a_hand_computation():
    # shares 0.5, 0.3, 0.2 and 0.4, 0.4, 0.2
    expected = -0.1 * math.log(0.4 / 0.5) + 0.1 * math.log(0.4 / 0.3) + 0
    assert index_of_counts([50, 30, 20], [8, 8, 4]) == pytest.approx(expected)


def test_an_empty_bin_counts_as_half_a_row():
    # 0.5 of 100 before, 10 of 100 after
    expected = (0.1 - 0.005) * math.log(0.1 / 0.005) + (0.9 - 1) * math.log(0.9)
    assert index_of_counts([0, 100], [10, 90]) == pytest.approx(expected)


def test_an_even_feature_is_cut_into_deciles():
    found = distribution(np.arange(200))
    assert found.points == ()
    assert len(found.edges) == BINS - 1
    assert found.counts == (0, *[20] * BINS)


def test_a_feature_that_is_mostly_0_keeps_its_zeros_apart():
    values = np.concatenate([np.zeros(80), np.linspace(1, 2, 20)])
    found = distribution(values)
    assert found.points == (0.0,)
    assert found.counts == (0, 80, 10, 10)
    shifted = np.concatenate([np.zeros(60), np.full(20, -3.0), np.linspace(1, 2, 20)])
    by_hand = (0.6 - 0.8) * math.log(0.6 / 0.8) + (0.3 - 0.1) * math.log(3) + 0
    assert stability_index(found, shifted) == pytest.approx(by_hand)


@pytest.mark.parametrize("others", [-1e-9, 1e-9, -5, 5])
def test_a_constant_that_stops_being_one_is_seen_on_either_side(others):
    constant = distribution(np.full(100, 7.0))
    assert stability_index(constant, np.full(40, 7.0)) == 0
    assert stability_index(constant, np.r_[np.full(50, 7.0), np.full(50, 7.0 + others)]) > 1


def test_values_that_go_missing_are_a_drift():
    full = distribution(np.arange(100))
    assert stability_index(full, np.r_[np.arange(0, 100, 2), np.full(50, np.nan)]) > 1
    nothing = distribution(np.full(10, np.nan))
    assert stability_index(nothing, np.full(99, np.nan)) == 0
    assert stability_index(nothing, np.arange(10)) > 1


@given(COLUMNS)
def test_the_same_data_did_not_drift_and_every_row_is_counted_once(values):
    found = distribution(values)
    assert sum(found.counts) == len(values)
    assert list(found.edges) == sorted(set(found.edges))
    assert stability_index(found, values) == 0
    assert stability_index(found, values[::-1]) == 0


@given(COLUMNS, COLUMNS)
def test_what_keeps_the_order_of_the_values_keeps_the_index(before, after):
    def bend(values: list[float]) -> list[float]:
        return [value**3 + 5 * value - 7 for value in values]  # exact for these whole numbers

    index = stability_index(distribution(before), after)
    assert index >= 0
    assert stability_index(distribution(bend(before)), bend(after)) == index


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=12))
def test_the_index_is_the_same_both_ways_round(pairs):
    before, after = np.array(pairs).T
    if before.sum() and after.sum():
        assert index_of_counts(before, after) == pytest.approx(index_of_counts(after, before))


def test_halves_of_one_population_drift_little_and_a_shift_much():
    random = np.random.default_rng(0)
    before, after = random.lognormal(size=(2, 1_000))
    reference = distribution(before)
    assert in_words(stability_index(reference, after)) == "little or none"
    assert in_words(stability_index(reference, after * 1.5)) == "some"
    assert in_words(stability_index(reference, after * 3)) == "much"


def test_features_are_compared_by_name():
    references = {"a": distribution([1, 2, 3]), "gone": distribution([1])}
    found = feature_drift(references, pd.DataFrame({"b": [1, 2, 3], "a": [1, 2, 3]}).items())
    assert found == {"a": 0.0}


def test_segment_sizes_born_and_retired_segments_included():
    before, after = np.repeat([0, 1, -1], [60, 30, 10]), np.repeat([0, 2, -1], [60, 30, 10])
    assert size_drift(before, before) == 0
    assert size_drift(before, np.repeat(before, 3)) == pytest.approx(0)
    assert size_drift(before, after) == pytest.approx(2 * (0.3 - 0.005) * math.log(0.3 / 0.005))
