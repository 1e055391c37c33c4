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
EXACT_ROWS = 2_000
"""Up to this many rows neighbours are searched exactly, which is as fast there."""


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
    # Sums over several threads are not repeatable to the bit.
    with threadpool_limits(1):
        if len(np.unique(X, axis=0)) < FEWEST_ROWS:
            return _principal_plane(X)
        if X.shape[1] == 1:
            X = np.column_stack([X, np.zeros(n)])  # The start has two principal components.
        rows = np.sort(check_random_state(random_state).permutation(n)[:max_landmarks])
        embedding = TSNE(
            perplexity=min(perplexity, (len(rows) - 1) / 3),
            initialization="pca",
            neighbors="exact" if len(rows) <= EXACT_ROWS else "annoy",
            n_jobs=1,
            random_state=random_state,
        ).fit(X[rows])
        placed = np.empty((n, 2))
        placed[rows] = embedding
        others = np.setdiff1d(np.arange(n), rows)
        if len(others):
            placed[others] = embedding.transform(X[others])
    return placed


def _principal_plane(X: FloatArray) -> FloatArray:
    """Return the first two principal components, of shape (n, 2); 0 where there are none."""
    plane = np.zeros((len(X), 2))
    components = min(2, *X.shape)
    if len(X) > 1 and np.ptp(X, axis=0).any():
        plane[:, :components] = PCA(components, svd_solver="full").fit_transform(X)
    return plane
