"""The density step against DBSCAN itself."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from clustering_assets.segmentation.density import choose_eps, knee, neighbour_distances


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("min_samples", [1, 5, 10])
def test_noise_and_core_rows_are_those_of_dbscan_at_every_eps(seed, min_samples):
    X = np.random.default_rng(seed).standard_t(3, (200, 3))
    found = neighbour_distances(X, min_samples)
    for eps in np.quantile(found.k_distances, [0.1, 0.5, 0.9, 0.99]) + 0.01:
        reference = DBSCAN(eps=eps, min_samples=min_samples).fit(X)
        np.testing.assert_array_equal(found.noise_radii > eps, reference.labels_ == -1)
        np.testing.assert_array_equal(np.flatnonzero(found.k_distances <= eps), reference.core_sample_indices_)


def test_distances_between_equal_rows_are_exactly_0():
    X = np.repeat(np.random.default_rng(0).normal(1e4, 1, (5, 8)), 12, axis=0)
    assert (neighbour_distances(X, 10).k_distances == 0).all()


def test_knee_of_a_bent_line_is_its_bend():
    curve = np.concatenate([np.linspace(1, 2, 91), np.linspace(3, 12, 10)])
    assert knee(curve) == 2


def test_eps_is_the_knee_where_the_share_of_outliers_allows_it():
    X = np.concatenate([np.random.default_rng(0).normal(size=(300, 2)), [[40, 0], [0, 60], [-50, 9], [9, -70]]])
    found = neighbour_distances(X, 5)
    eps = choose_eps(found, 0.005, 0.1)
    assert found.noise_radii[:300].max() < 40
    assert (found.noise_radii[300:] > eps).all()


def test_eps_is_positive_for_equal_rows():
    assert choose_eps(neighbour_distances(np.zeros((30, 2)), 10), 0.005, 0.1) == 1
