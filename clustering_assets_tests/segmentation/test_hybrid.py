"""The estimator: invariants, planted truth, degenerate inputs."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from clustering_assets.segmentation.hybrid import HybridSegmenter
from clustering_assets_tests.segmentation.planted import blobs, shoppers


def quick(**parameters: object) -> HybridSegmenter:
    return HybridSegmenter(**{"random_state": 0, "n_splits": 3, "max_clusters": 6} | parameters)


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray, HybridSegmenter]:
    X, truth = blobs()
    return X, truth, quick().fit(X)


@parametrize_with_checks(
    [
        HybridSegmenter(n_splits=1, n_init=1, max_clusters=3),
        HybridSegmenter(n_splits=1, n_init=1, max_clusters=3, scaling="robust", reduction="pca"),
    ]
)
def test_scikit_learn_estimator_contract(estimator, check):
    check(estimator)


def test_planted_groups_and_their_number_are_found(planted):
    _, truth, segmenter = planted
    inside = segmenter.labels_ >= 0
    assert segmenter.n_clusters_ == 4
    assert adjusted_rand_score(truth[inside], segmenter.labels_[inside]) == 1
    assert inside.mean() >= 0.9
    assert segmenter.notes_ == []


@pytest.mark.parametrize(
    ("scaling", "reduction"),
    [("robust", "discriminant"), ("standard", "discriminant"), ("yeo-johnson", "pca"), ("yeo-johnson", None)],
)
def test_planted_groups_are_found_by_other_scalings_and_reductions(scaling, reduction):
    X, truth = blobs(seed=3)
    labels = quick(scaling=scaling, reduction=reduction, n_clusters=4).fit_predict(X)
    assert adjusted_rand_score(truth[labels >= 0], labels[labels >= 0]) > 0.95


def test_planted_kinds_of_shoppers_are_found():
    features, kind = shoppers()
    segmenter = quick().fit(features)
    inside = segmenter.labels_ >= 0
    assert segmenter.n_clusters_ == 4
    assert adjusted_rand_score(kind[inside], segmenter.labels_[inside]) > 0.95


def test_planted_extremes_are_outliers_and_do_not_bend_the_segments():
    features, kind = shoppers()
    extremes = features.iloc[:6].copy()
    extremes["order_count"] *= 1000
    extremes["mean_order_value"] *= np.geomspace(100, 10_000, 6)
    segmenter = quick().fit(pd.concat([features, extremes], ignore_index=True))
    assert (segmenter.labels_[-6:] == -1).all()
    inside = segmenter.labels_[:-6] >= 0
    assert adjusted_rand_score(kind[inside], segmenter.labels_[:-6][inside]) > 0.95


def test_labels_are_contiguous_and_largest_segment_first(planted):
    labels = planted[2].labels_
    sizes = np.bincount(labels[labels >= 0])
    assert set(labels) <= {-1, *range(planted[2].n_clusters_)}
    assert (sizes > 0).all()
    assert (np.diff(sizes) <= 0).all()


def test_outliers_are_those_beyond_reach_of_every_core_row(planted):
    _, _, segmenter = planted
    outlier = segmenter.labels_ == -1
    assert (segmenter.outlier_score_[outlier] > 1).all()
    assert not (outlier & segmenter.core_sample_mask_).any()
    np.testing.assert_array_equal(segmenter.core_sample_mask_, segmenter.outlier_score_ <= 1)
    np.testing.assert_allclose(segmenter.outlier_score_, segmenter.k_distances_ / segmenter.eps_)


def test_share_of_outliers_keeps_its_bounds():
    X = np.random.default_rng(0).standard_t(2, (1000, 4))
    for low, high in [(0.005, 0.1), (0.03, 0.04), (0.0, 0.0), (0.2, 0.3)]:
        labels = quick(min_outlier_share=low, max_outlier_share=high, n_clusters=2).fit_predict(X)
        assert low <= np.mean(labels == -1) <= high


def test_confidence_is_1_minus_the_ratio_of_centre_distances(planted):
    X, _, segmenter = planted
    inside = segmenter.labels_ >= 0
    projected = segmenter.project(X)
    centres = np.stack([projected[segmenter.labels_ == label].mean(axis=0) for label in range(4)])
    distances = np.sort(np.linalg.norm(projected[:, None] - centres, axis=2), axis=1)
    expected = np.where(inside, 1 - distances[:, 0] / distances[:, 1], 0)
    np.testing.assert_allclose(segmenter.confidence_, expected)
    assert ((segmenter.confidence_ >= 0) & (segmenter.confidence_ <= 1)).all()


def test_fitted_rows_are_predicted_as_they_were_fitted(planted):
    X, _, segmenter = planted
    np.testing.assert_array_equal(segmenter.predict(X), segmenter.labels_)
    np.testing.assert_allclose(segmenter.outlier_score(X), segmenter.outlier_score_)
    np.testing.assert_allclose(segmenter.confidence(X), segmenter.confidence_)
    np.testing.assert_array_equal(segmenter.predict(X[7:8]), segmenter.labels_[7:8])


def test_new_extreme_row_is_predicted_as_outlier(planted):
    X, _, segmenter = planted
    far = X.max(axis=0, keepdims=True) * 1000
    assert segmenter.predict(far) == [-1]
    assert segmenter.outlier_score(far) > 1
    assert segmenter.confidence(far) == [0]


def test_input_is_not_modified():
    X, _ = blobs()
    X[0, 0] = np.nan
    before = X.copy()
    segmenter = quick().fit(X)
    segmenter.predict(X)
    segmenter.transform(X)
    np.testing.assert_array_equal(X, before)


def test_frame_and_array_give_the_same_result():
    features, _ = shoppers(300)
    framed, plain = quick().fit(features), quick().fit(features.to_numpy())
    np.testing.assert_array_equal(framed.labels_, plain.labels_)
    np.testing.assert_array_equal(framed.transform(features), plain.transform(features.to_numpy()))
    assert list(framed.feature_names_in_) == list(features.columns)


def test_same_random_state_gives_the_same_bits():
    features, _ = shoppers(400)
    first, second = quick(random_state=5).fit(features), quick(random_state=5).fit(features)
    for name in ("labels_", "confidence_", "outlier_score_", "k_distances_"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.choices_of_k_ == second.choices_of_k_
    assert first.silhouette_ == second.silhouette_
    assert first.project(features).tobytes() == second.project(features).tobytes()


def test_order_of_rows_does_not_change_the_partition(planted):
    X, _, segmenter = planted
    order = np.random.default_rng(1).permutation(len(X))
    shuffled = quick().fit_predict(X[order])
    np.testing.assert_array_equal(shuffled == -1, segmenter.labels_[order] == -1)
    assert adjusted_rand_score(shuffled, segmenter.labels_[order]) == 1


def test_unit_of_a_feature_does_not_change_the_partition_under_linear_scaling():
    X, _ = blobs()
    labels = quick(scaling="standard").fit_predict(X)
    rescaled = quick(scaling="standard").fit_predict(X * [1, 100, 0.01, 1, 1, 60] + 5)
    assert adjusted_rand_score(labels, rescaled) == 1


def test_constant_and_missing_features_are_ignored_and_named():
    X, truth = blobs()
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(same=3.0, missing=np.nan)
    segmenter = quick().fit(frame)
    assert list(segmenter.ignored_features_) == ["same", "missing"]
    assert (segmenter.transform(frame)[:, -2:] == 0).all()
    np.testing.assert_array_equal(segmenter.labels_, quick().fit_predict(X))
    assert segmenter.predict(frame.assign(same=9.0, missing=1.0)).tolist() == segmenter.labels_.tolist()
    inside = segmenter.labels_ >= 0
    assert adjusted_rand_score(truth[inside], segmenter.labels_[inside]) == 1


def test_choices_of_k_record_every_number_that_was_tried(planted):
    _, _, segmenter = planted
    assert [choice.k for choice in segmenter.choices_of_k_] == [2, 3, 4, 5, 6]
    strong = [
        choice
        for choice in segmenter.choices_of_k_
        if choice.prediction_strength >= (0.85 if choice.k <= 3 else segmenter.min_strength)
    ]
    assert (segmenter.n_clusters_, segmenter.shrinkage_) == (strong[-1].k, strong[-1].shrinkage)
    assert all(choice.prediction_strength <= choice.mean_strength <= 1 for choice in segmenter.choices_of_k_)


def test_features_that_repeat_another_are_left_out_and_named():
    X, _ = blobs()
    frame = pd.DataFrame(X, columns=list("abcdef"))
    doubled = frame.assign(b_cents=100 * frame.b, again=frame.c, against=5 - frame.c, rounded=frame.d.round(1))
    segmenter = quick().fit(doubled)
    assert segmenter.duplicate_features_ == {"b_cents": "b", "again": "c", "against": "c"}
    assert segmenter.notes_ == [
        "Left out because they are another feature in another unit: b_cents (b), again (c), against (c)."
    ]
    without = quick().fit(doubled.drop(columns=["b_cents", "again", "against"]))
    np.testing.assert_array_equal(segmenter.labels_, without.labels_)
    assert (segmenter.projection_[6:9] == 0).all()


def test_above_the_limit_a_sample_is_fitted_and_everybody_is_assigned():
    X, truth = blobs(sizes=(1500, 1200, 900, 300))
    segmenter = quick(max_fit_rows=800).fit(X)
    inside = segmenter.labels_ >= 0
    assert len(segmenter.fitted_rows_) == len(set(segmenter.fitted_rows_)) == 800
    assert segmenter.n_clusters_ == 4
    assert inside.mean() > 0.9
    assert adjusted_rand_score(truth[inside], segmenter.labels_[inside]) > 0.99
    np.testing.assert_array_equal(segmenter.predict(X), segmenter.labels_)
    # The sample stands for all: each group has its share of it, to within a few rows.
    np.testing.assert_allclose(np.bincount(truth[segmenter.fitted_rows_]), [308, 246, 185, 62], atol=8)


def test_a_segment_is_the_nearest_centre_of_the_projection():
    X, _ = blobs()
    segmenter = quick().fit(X)
    np.testing.assert_allclose(segmenter.project(X), segmenter.transform(X) @ segmenter.projection_)
    distances = np.linalg.norm(segmenter.project(X)[:, None] - segmenter.cluster_centers_, axis=2)
    inside = segmenter.labels_ >= 0
    np.testing.assert_array_equal(distances.argmin(axis=1)[inside], segmenter.labels_[inside])


def test_number_of_segments_can_be_given(planted):
    segmenter = clone(planted[2]).set_params(n_clusters=3).fit(planted[0])
    assert segmenter.n_clusters_ == 3
    assert segmenter.choices_of_k_ == []


@pytest.mark.parametrize("seed", range(4))
def test_one_cloud_of_correlated_features_is_not_confirmed(seed):
    random = np.random.default_rng(seed)
    X = random.normal(size=(800, 6)) @ random.normal(size=(6, 12)) + random.normal(size=(800, 12))
    segmenter = quick(n_splits=5).fit(X)
    assert "continuum" in segmenter.notes_[0]
    strengths = {choice.k: choice.mean_strength for choice in segmenter.choices_of_k_ if choice.k > 2}
    assert segmenter.n_clusters_ == max(k for k in strengths if strengths[k] >= max(strengths.values()) - 0.1)


@pytest.mark.parametrize("seed", range(4))
def test_small_segment_beside_large_ones_is_found(seed):
    X, truth = blobs(sizes=(500, 300, 30), seed=seed)
    labels = quick().fit_predict(X)
    assert adjusted_rand_score(truth[labels >= 0], labels[labels >= 0]) > 0.95


def test_shrinkage_can_be_given():
    X, _ = blobs()
    segmenter = quick(shrinkage=0.3).fit(X)
    assert segmenter.shrinkage_ == 0.3
    assert {choice.shrinkage for choice in segmenter.choices_of_k_} == {0.3}


@pytest.mark.parametrize(
    "X",
    [
        pytest.param(np.array([[1.0, 2.0, 3.0]]), id="one row"),
        pytest.param(np.arange(9.0).reshape(3, 3), id="three rows"),
        pytest.param(np.array([[0.0, 1.0], [5.0, 2.0]]), id="two distinct rows"),
        pytest.param(np.ones((40, 3)), id="all alike"),
        pytest.param(np.full((40, 3), np.nan), id="all missing"),
    ],
)
def test_too_little_to_segment_gives_one_segment_and_says_why(X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segmenter = HybridSegmenter(random_state=0).fit(X)
    assert segmenter.labels_.tolist() == [0] * len(X)
    assert segmenter.confidence_.tolist() == [1] * len(X)
    assert segmenter.n_clusters_ == 1
    assert segmenter.silhouette_ is None
    assert "too few" in segmenter.notes_[0]
    assert np.isfinite(segmenter.outlier_score_).all()
    assert segmenter.predict(X).tolist() == segmenter.labels_.tolist()


@pytest.mark.parametrize("reduction", ["discriminant", "pca", None])
def test_two_distinct_customers_many_times_are_two_segments(reduction):
    X = np.repeat([[0.0, 1.0, 7.0], [5.0, 2.0, 7.0]], [60, 40], axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segmenter = quick(reduction=reduction).fit(X)
    assert segmenter.labels_.tolist() == [0] * 60 + [1] * 40
    assert segmenter.predict(X).tolist() == segmenter.labels_.tolist()


def test_more_segments_than_distinct_rows_are_not_made():
    X = np.repeat([[0.0, 1.0], [5.0, 2.0]], 20, axis=0)
    segmenter = quick(n_clusters=4).fit(X)
    assert segmenter.n_clusters_ == 2
    assert "no more distinct rows" in segmenter.notes_[0]


@settings(max_examples=25, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 40), st.integers(1, 4)),
        elements=st.one_of(
            st.sampled_from([0.0, 1.0, np.nan, 1e-300, 1e12, -1e12]), st.floats(-1e6, 1e6, allow_nan=False)
        ),
    )
)
def test_any_numbers_give_finite_results_without_warnings(X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segmenter = quick(n_splits=1, n_init=1, max_clusters=3).fit(X)
    assert np.isfinite(segmenter.transform(X)).all()
    assert np.isfinite(segmenter.outlier_score_).all()
    assert ((segmenter.confidence_ >= 0) & (segmenter.confidence_ <= 1)).all()
    assert set(segmenter.labels_) - {-1} == set(range(segmenter.n_clusters_))


@pytest.mark.parametrize(
    "parameters",
    [
        {"scaling": "none"},
        {"reduction": "umap"},
        {"shrinkage": 1.5},
        {"min_samples": 0},
        {"eps": 0.0},
        {"min_outlier_share": 0.2},
        {"n_clusters": 0},
        {"min_clusters": 13},
        {"min_strength": -0.1},
        {"random_state": "seed"},
    ],
)
def test_parameters_out_of_range_are_refused_at_fit(parameters):
    name = next(iter(parameters))
    with pytest.raises(ValueError, match=name):
        HybridSegmenter(**parameters).fit(blobs()[0])


def test_radius_that_leaves_nobody_is_refused():
    with pytest.raises(ValueError, match="eps"):
        HybridSegmenter(eps=1e-9).fit(blobs()[0])
