"""Discriminants and prediction strength against values worked out by hand or by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from clustering_assets.segmentation.partition import discriminants, prediction_strength
from clustering_assets_tests.segmentation.planted import blobs


def test_prediction_strength_by_hand():
    # Segment 0 of four rows keeps 2 * (2 choose 2) = 2 of its 6 pairs, segment 1 keeps all of its own. Of all 15 pairs
    # 1 + 6 = 7 are predicted to be together.
    labels = np.array([0, 0, 0, 0, 1, 1])
    predicted = np.array([0, 0, 1, 1, 1, 1])
    assert prediction_strength(labels, predicted) == pytest.approx((2 / 6 - 7 / 15) / (1 - 7 / 15))


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.1], [0.25] * 4])
def test_prediction_strength_of_unrelated_partitions_is_about_0(shares):
    random = np.random.default_rng(0)
    labels, predicted = (random.choice(len(shares), 4000, p=shares) for _ in range(2))
    assert abs(prediction_strength(labels, predicted)) < 0.05


def test_prediction_strength_of_the_same_partition_renumbered_is_1():
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert prediction_strength(labels, 2 - labels) == 1


def test_segment_of_one_row_is_not_confirmed():
    assert prediction_strength(np.array([0, 0, 1]), np.array([0, 0, 1])) < 0


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
