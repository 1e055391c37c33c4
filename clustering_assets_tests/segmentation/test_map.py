"""The map keeps neighbourhoods, repeats, and is defined for every number of customers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from clustering_assets.segmentation.map import customer_map
from clustering_assets_tests.segmentation.planted import blobs


def test_neighbours_stay_neighbours_and_the_map_repeats():
    X, _ = blobs()
    first, second = customer_map(X), customer_map(X)
    assert first.tobytes() == second.tobytes()
    assert trustworthiness(X, first, n_neighbors=10) > 0.95


def test_customers_beyond_the_landmarks_are_placed_among_their_own_group():
    X, truth = blobs()
    placed = customer_map(X, max_landmarks=200)
    assert placed.tobytes() == customer_map(X, max_landmarks=200).tobytes()
    centres = np.stack([np.median(placed[truth == label], axis=0) for label in range(4)])
    nearest = np.argmin(np.linalg.norm(placed[:, None] - centres, axis=2), axis=1)
    assert (nearest == truth).mean() > 0.98
    assert trustworthiness(X, placed, n_neighbors=10) > 0.9


@pytest.mark.parametrize("n", [1, 2, 3, 9, 10, 11, 40])
def test_few_customers_have_a_finite_place(n):
    placed = customer_map(np.random.default_rng(0).normal(size=(n, 5)))
    assert placed.shape == (n, 2)
    assert np.isfinite(placed).all()


@pytest.mark.parametrize("X", [np.zeros((30, 3)), np.arange(30.0)[:, None], np.repeat(np.eye(2), 20, axis=0)])
def test_customers_alike_or_on_a_line_have_a_finite_place(X):
    placed = customer_map(X)
    assert placed.shape == (len(X), 2)
    assert np.isfinite(placed).all()
