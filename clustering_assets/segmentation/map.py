"""The customer map: a t-SNE embedding in two dimensions, for looking at. Nothing is clustered on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from openTSNE import TSNE
from sklearn.decomposition import PCA
from sklearn.utils import check_array, check_random_state
from threadpoolctl import threadpool_limits

FloatArray = NDArray[np.float64]

FEWEST_ROWS = 10
"""Below this many distinct rows there are no neighbourhoods to keep: principal components are drawn instead."""
EXACT_ROWS = 50_000
"""Up to this many landmarks neighbours are searched exactly: there that is faster than an approximate index."""
PLACED_AT_ONCE = 100_000
"""Customers that are placed among the landmarks at a time, which bounds the memory for their neighbours."""

EXAGGERATED_ITERATIONS, ITERATIONS = 100, 200
"""Steps of the descent. From a start in principal components more of them lower the divergence further and leave the
trustworthiness as it is."""
TREE_ROWS = 2_000
"""Up to this many landmarks repulsion is summed over a tree (Barnes and Hut), above it is interpolated on a grid (fast
Fourier transform), where that is faster."""
CELL = 2
"""Side of a cell of the grid; with 1 a step takes twice as long for the same map."""
PLACING_ITERATIONS, PLACING_RATE = 50, 1.0
"""Few large steps for a customer who is placed: as good as the library's 250 of 0.1, in a third of the time."""


def customer_map(
    X_scaled: ArrayLike,
    *,
    random_state: int | None = 0,
    perplexity: float = 30.0,
    max_landmarks: int = 10_000,
) -> FloatArray:
    """Place customers on a plane so that neighbours in the scaled features are neighbours there.

    Parameters
    ----------
    X_scaled : array-like of shape (n, n_features)
        Scaled features, without missing values.
    random_state : int or None
        With an int the map repeats to the bit on the same machine and library versions.
    perplexity : float
        Effective number of neighbours that are kept; lowered to a third of the rows where there are few.
    max_landmarks : int
        Above this many rows a random sample of that size is embedded and the others are placed among it.

    Returns
    -------
    ndarray of shape (n, 2)
        Coordinates without unit; distances between groups far apart mean little.

    References
    ----------
    Policar, Strazar and Zupan 2019, "openTSNE: a modular Python library for t-SNE dimensionality reduction and
    embedding". Kobak and Berens 2019, "The art of using t-SNE for single-cell transcriptomics", for initialisation and
    learning rate.
    """
    X = check_array(X_scaled, dtype=np.float64)
    n = len(X)
    rows = np.sort(check_random_state(random_state).permutation(n)[:max_landmarks])
    others = np.setdiff1d(np.arange(n), rows, assume_unique=True)
    # Sums over several threads are not repeatable to the bit. The neighbours of a row are found by one thread each.
    with threadpool_limits(1, user_api="blas"):
        if len(np.unique(X[rows], axis=0)) < FEWEST_ROWS:
            return _principal_plane(X)
        if X.shape[1] == 1:
            X = np.column_stack([X, np.zeros(n)])  # The start has two principal components.
        embedding = TSNE(
            perplexity=min(perplexity, (len(rows) - 1) / 3),
            initialization="pca",
            early_exaggeration_iter=EXAGGERATED_ITERATIONS,
            n_iter=ITERATIONS,
            neighbors="exact" if len(rows) <= EXACT_ROWS else "annoy",
            negative_gradient_method="bh" if len(rows) <= TREE_ROWS else "fft",
            ints_in_interval=CELL,
            n_jobs=1,
            random_state=random_state,
        ).fit(X[rows])
        placed = np.empty((n, 2))
        for first in range(0, len(others), PLACED_AT_ONCE):
            chunk = others[first : first + PLACED_AT_ONCE]
            placed[chunk] = embedding.transform(X[chunk], n_iter=PLACING_ITERATIONS, learning_rate=PLACING_RATE)
        # Last, because placing moves the origin of the landmarks.
        placed[rows] = embedding
    return placed


def _principal_plane(X: FloatArray) -> FloatArray:
    """Return the first two principal components, of shape (n, 2); 0 where there are none."""
    plane = np.zeros((len(X), 2))
    components = min(2, *X.shape)
    if len(X) > 1 and np.ptp(X, axis=0).any():
        plane[:, :components] = PCA(components, svd_solver="full").fit_transform(X)
    return plane
