"""The map keeps neighbourhoods, repeats, and is defined for every number of customers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from clustering_assets.segmentation import map as map_module
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


@pytest.mark.parametrize("landmarks", [300, 600, 2_500])
def test_customers_alike_lie_together_whether_landmark_or_placed(landmarks):
    # Above 2,000 landmarks their repulsion is interpolated on a grid.
    each, _ = blobs((landmarks // 2, landmarks // 3, landmarks // 6))
    X = np.concatenate([each, each])
    place = customer_map(X, max_landmarks=landmarks)
    assert place.tobytes() == customer_map(X, max_landmarks=landmarks).tobytes()
    chosen = np.zeros(len(X), dtype=bool)
    chosen[np.random.RandomState(0).permutation(len(X))[:landmarks]] = True
    first, second = np.split(place, 2)
    one, other = np.split(chosen, 2)
    apart = np.where((one & ~other)[:, None], first - second, second - first)[one != other]
    span = np.ptp(place, axis=0)
    assert (np.abs(np.median(apart, axis=0)) < 0.01 * span).all()
    assert np.median(np.linalg.norm(apart, axis=1)) < 0.03 * np.linalg.norm(span)


def test_many_customers_alike_do_not_break_the_map():
    X, _ = blobs()
    many = np.concatenate([X, np.repeat(X[:1], 700, axis=0)])
    place = customer_map(many, max_landmarks=800)
    assert np.isfinite(place).all()
    assert trustworthiness(X, place[: len(X)], n_neighbors=10) > 0.95


def test_the_map_does_not_depend_on_how_many_are_placed_at_once(monkeypatch):
    X, _ = blobs()
    at_once = customer_map(X, max_landmarks=200)
    monkeypatch.setattr(map_module, "PLACED_AT_ONCE", 50)
    np.testing.assert_allclose(customer_map(X, max_landmarks=200), at_once, atol=1e-6)
