"""Discriminants, soft memberships and prediction strength against values worked out by hand or by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from clustering_assets.segmentation.partition import discriminants, fit_partition, prediction_strengths, soften
from clustering_assets_tests.segmentation.planted import blobs


def test_prediction_strengths_by_hand():
    # Segment 0 of four rows keeps 2 * (2 choose 2) = 2 of its 6 pairs, segment 1 keeps all of its own. Of all 15 pairs
    # 1 + 6 = 7 are predicted to be together.
    labels = np.array([0, 0, 0, 0, 1, 1])
    predicted = np.array([0, 0, 1, 1, 1, 1])
    assert prediction_strengths(labels, predicted) == pytest.approx([(2 / 6 - 7 / 15) / (1 - 7 / 15), 1])


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.1], [0.25] * 4])
def test_prediction_strengths_of_unrelated_partitions_are_at_their_least_about_0(shares):
    random = np.random.default_rng(0)
    labels, predicted = (random.choice(len(shares), 4000, p=shares) for _ in range(2))
    assert abs(prediction_strengths(labels, predicted).min()) < 0.05


def test_prediction_strengths_of_the_same_partition_renumbered_are_1():
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert prediction_strengths(labels, 2 - labels).tolist() == [1, 1, 1]


def test_segment_of_one_row_is_not_confirmed():
    assert prediction_strengths(np.array([0, 0, 1]), np.array([0, 0, 1]))[1] < 0


def stretched() -> tuple[np.ndarray, np.ndarray]:
    """Three groups side by side, each far longer than they are apart."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 200)
    return np.column_stack([4 * labels + random.normal(size=600), 15 * random.normal(size=600)]), labels


def test_softening_finds_groups_that_k_means_cuts_across():
    X, truth = stretched()
    start = KMeans(3, n_init=10, random_state=0).fit_predict(X)
    assert adjusted_rand_score(truth, start) < 0.1
    partition = fit_partition(
        X, X / X.std(axis=0), 3, reduction="discriminant", shrinkage=0.0, n_init=10, random=np.random.RandomState(0)
    )
    assert adjusted_rand_score(truth, partition.labels) > 0.85


def test_softening_agrees_with_a_gaussian_mixture_of_one_covariance():
    X, truth = stretched()
    start = np.where(np.random.default_rng(1).random(600) < 0.8, truth, (truth + 1) % 3)
    residuals = np.concatenate([X[start == k] - X[start == k].mean(axis=0) for k in range(3)])
    mixture = GaussianMixture(
        3,
        covariance_type="tied",
        weights_init=np.bincount(start) / 600,
        means_init=np.stack([X[start == k].mean(axis=0) for k in range(3)]),
        precisions_init=np.linalg.inv(residuals.T @ residuals / 600),
    )
    assert np.mean(mixture.fit_predict(X) == soften(X, start, 0.0)) > 0.98


def test_softening_drops_a_segment_that_nobody_is_left_in():
    X = np.zeros((20, 2))
    assert set(soften(X, np.repeat([0, 1], [15, 5]), 0.5)) == {0}


def test_discriminants_span_the_space_of_scikit_learn_s():
    X, labels = blobs()
    ours = X @ discriminants(X, labels, 0.0)
    theirs = LinearDiscriminantAnalysis(solver="svd").fit_transform(X, labels)
    fitted = theirs @ np.linalg.lstsq(theirs, ours - ours.mean(axis=0), rcond=None)[0]
    np.testing.assert_allclose(fitted, ours - ours.mean(axis=0), atol=1e-3)


def test_spread_within_segments_is_1_after_projection():
    X, labels = blobs()
    projected = X @ discriminants(X, labels, 0.0)
    residuals = projected - np.stack([projected[labels == label].mean(axis=0) for label in range(4)])[labels]
    np.testing.assert_allclose(residuals.T @ residuals / len(X), np.eye(3), atol=1e-3)
