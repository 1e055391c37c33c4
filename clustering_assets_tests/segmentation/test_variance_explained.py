"""Shares of variance: against the tests they belong to, row by row, and by what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from clustering_assets.segmentation.variance_explained import compare, jackknife_error, variance_explained

Sample = tuple[NDArray[np.float64], NDArray[np.int_]]


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Values with ties, zeros and far-out ones, in up to five groups, some of them of one row."""
    n = draw(st.integers(4, 30))
    values = draw(arrays(np.float64, n, elements=st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0, -2.0, 40.0])))
    groups = draw(arrays(np.int_, n, elements=st.integers(0, 4)))
    assume(len(set(values)) > 1)
    assume(n - len(set(groups)) >= 2)
    return values, groups


def some_rows(n: int = 200, n_groups: int = 4, effect: float = 1.0, seed: int = 0) -> Sample:
    random = np.random.default_rng(seed)
    groups = random.integers(n_groups, size=n)
    return random.normal(size=n) + effect * (groups == 0), groups


@given(samples())
def test_eta_squared_is_that_of_the_analysis_of_variance(sample: Sample) -> None:
    values, groups = sample
    found = variance_explained(values, groups)
    assert found is not None
    names = np.unique(groups)
    n, k = len(values), len(names)
    parts = [values[groups == name] for name in names]
    if k > 1 and found.eta_squared < 1 - 1e-12:
        f = stats.f_oneway(*parts).statistic
        assert found.eta_squared == pytest.approx(f * (k - 1) / (f * (k - 1) + n - k), abs=1e-12)
    within_variance = sum(((part - part.mean()) ** 2).sum() for part in parts) / (n - k)
    assert found.epsilon_squared == pytest.approx(1 - within_variance / values.var(ddof=1), abs=1e-12)


@given(samples())
def test_on_ranks_it_is_that_of_kruskal_and_wallis(sample: Sample) -> None:
    values, groups = sample
    names = np.unique(groups)
    assume(len(names) > 1)
    found = variance_explained(stats.rankdata(values), groups)
    assert found is not None
    h = stats.kruskal(*(values[groups == name] for name in names)).statistic
    n, k = len(values), len(names)
    assert found.eta_squared == pytest.approx(h / (n - 1), abs=1e-9)
    assert found.epsilon_squared == pytest.approx((h - k + 1) / (n - k), abs=1e-9)


@given(samples())
def test_leaving_one_out_is_what_comes_out_without_the_row(sample: Sample) -> None:
    values, groups = sample
    found = variance_explained(values, groups)
    assert found is not None
    for row, without in enumerate(found.leaving_one_out):
        kept = np.delete(values, row)
        if len(set(kept)) == 1:
            assert np.isnan(without)
            continue
        n, parts = len(kept), np.delete(groups, row)
        within = sum(((kept[parts == name] - kept[parts == name].mean()) ** 2).sum() for name in np.unique(parts))
        expected = 1 - within / (n - len(np.unique(parts))) / kept.var(ddof=1)
        assert without == pytest.approx(expected, rel=1e-5, abs=1e-5)


@given(samples(), st.floats(-50, 50), st.floats(0.01, 100), st.randoms())
def test_unit_zero_names_and_order_do_not_matter(sample: Sample, shift: float, unit: float, random: object) -> None:
    values, groups = sample
    order = np.random.default_rng(abs(hash(random)) % 2**32).permutation(len(values))
    found, other = (
        variance_explained(values, groups),
        variance_explained((values * unit + shift)[order], np.array(["c", "a", "e", "b", "d"])[groups][order]),
    )
    assert found is not None
    assert other is not None
    assert other.eta_squared == pytest.approx(found.eta_squared, abs=1e-6)
    assert other.epsilon_squared == pytest.approx(found.epsilon_squared, abs=1e-6)


def test_groups_by_lot_explain_nothing_once_their_number_is_taken_into_account() -> None:
    random = np.random.default_rng(0)
    values = random.lognormal(0, 1, 300)
    found = [variance_explained(values, random.integers(60, size=300)) for _ in range(300)]
    eta = np.mean([one.eta_squared for one in found if one])
    epsilon = np.mean([one.epsilon_squared for one in found if one])
    assert eta == pytest.approx(59 / 299, abs=0.01)
    assert epsilon == pytest.approx(0, abs=0.01)


def test_groups_that_settle_the_value_explain_everything() -> None:
    found = variance_explained([1, 1, 5, 5, 5], ["a", "a", "b", "b", "b"])
    assert found is not None
    assert found.eta_squared == found.epsilon_squared == 1


@pytest.mark.parametrize(
    ("values", "groups"),
    [([], []), ([3.0], [0]), ([2.0, 2.0, 2.0, 2.0], [0, 0, 1, 1]), ([1.0, 2.0, 3.0], [0, 1, 1])],
    ids=["nobody", "one row", "no variance", "hardly more rows than groups"],
)
def test_without_variance_or_rows_it_is_not_defined(values: list[float], groups: list[int]) -> None:
    assert variance_explained(values, groups) is None
    assert compare(values, {"a": groups, "b": groups}, "a")["b"] == {
        "groups": len(set(groups)),
        **dict.fromkeys(["eta_squared", "epsilon_squared", "standard_error", "lead", "lead_standard_error"]),
    }


def test_the_standard_error_is_how_far_samples_differ() -> None:
    found = [variance_explained(*some_rows(seed=seed)) for seed in range(400)]
    spread = np.std([one.epsilon_squared for one in found if one], ddof=1)
    errors = [jackknife_error(one.leaving_one_out) for one in found if one]
    assert np.mean([error for error in errors if error]) == pytest.approx(spread, rel=0.1)


def test_one_value_that_is_all_the_variance_has_no_standard_error() -> None:
    found = variance_explained([0.0, 0.0, 0.0, 0.0, 9.0, 0.0], [0, 0, 0, 1, 1, 1])
    assert found is not None
    assert jackknife_error(found.leaving_one_out) is None


def test_the_lead_is_over_the_same_rows() -> None:
    values, groups = some_rows(n=400)
    coarse = groups // 2
    found = compare(values, {"fine": groups, "same": groups, "coarse": coarse}, "fine")
    assert found["fine"]["lead"] is None
    assert (found["same"]["lead"], found["same"]["lead_standard_error"]) == (0, 0)
    fine, rough = variance_explained(values, groups), variance_explained(values, coarse)
    assert fine is not None
    assert rough is not None
    assert found["coarse"]["lead"] == fine.epsilon_squared - rough.epsilon_squared
    assert found["coarse"]["groups"] == 2


@settings(max_examples=20)
@given(samples())
def test_inputs_are_not_modified(sample: Sample) -> None:
    values, groups = sample
    before = values.copy(), groups.copy()
    compare(values, {"a": groups}, "a")
    assert (values == before[0]).all()
    assert (groups == before[1]).all()
