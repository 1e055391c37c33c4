"""The customer map: a t-SNE embedding in two dimensions, for looking at. Nothing is clustered on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from openTSNE import TSNE, TSNEEmbedding
from openTSNE.affinity import MultiscaleMixture
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
PLACING_ITERATIONS, PLACING_RATE, PLACING_PERPLEXITY = 50, 1.0, 5
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
    rows = landmark_rows(len(X), max_landmarks, random_state)
    others = np.setdiff1d(np.arange(len(X)), rows, assume_unique=True)
    fitted = CustomerMap.fit(X[rows], are_all=not len(others), random_state=random_state, perplexity=perplexity)
    placed = np.empty((len(X), 2))
    placed[rows], placed[others] = fitted.places, fitted.place(X[others])
    return placed


def landmark_rows(n: int, max_landmarks: int, random_state: int | None) -> NDArray[np.intp]:
    """Return the positions, ascending, of at most ``max_landmarks`` of n rows: those that are embedded."""
    return np.sort(check_random_state(random_state).permutation(n)[:max_landmarks])


@dataclass(frozen=True)
class CustomerMap:
    """A map that others can be placed on, each by itself, so that it does not matter who else is.

    Parameters
    ----------
    landmarks : ndarray of shape (m, n_features)
        Scaled features of who was embedded.
    places : ndarray of shape (m, 2)
        Where they are.
    plane : ndarray of shape (n_features, 2) or None
        The principal axes, where there are too few landmarks for an embedding.
    """

    landmarks: FloatArray
    places: FloatArray
    plane: FloatArray | None

    @classmethod
    def fit(
        cls, landmarks: FloatArray, *, are_all: bool, random_state: int | None = 0, perplexity: float = 30.0
    ) -> Self:
        """Embed the landmarks, which ``are_all`` or have others to be placed among them."""
        # Sums over several threads are not repeatable to the bit. The neighbours of a row are found by one thread each.
        with threadpool_limits(1, user_api="blas"):
            if len(np.unique(landmarks, axis=0)) < FEWEST_ROWS:
                plane = _principal_axes(landmarks)
                return cls(landmarks, (landmarks - landmarks.mean(axis=0)) @ plane, plane)
            rows = _wide(landmarks)
            perplexity = min(perplexity, (len(rows) - 1) / 3)
            embedding = _tsne(len(rows), perplexity, random_state).fit(rows)
        if not are_all:  # as placing others does, before it begins
            embedding -= (np.max(embedding, axis=0) + np.min(embedding, axis=0)) / 2
        return cls(landmarks, np.array(embedding), None)

    def place(self, X: FloatArray) -> FloatArray:
        """Return where others, of shape (n, n_features), belong, of shape (n, 2)."""
        if not len(X):
            return np.empty((0, 2))
        with threadpool_limits(1, user_api="blas"):
            if self.plane is not None:
                plane: FloatArray = (X - self.landmarks.mean(axis=0)) @ self.plane
                return plane
            return np.concatenate(
                [
                    self._embedding.transform(
                        _wide(X[first : first + PLACED_AT_ONCE]),
                        perplexity=PLACING_PERPLEXITY,
                        n_iter=PLACING_ITERATIONS,
                        learning_rate=PLACING_RATE,
                    )
                    for first in range(0, len(X), PLACED_AT_ONCE)
                ]
            )

    @cached_property
    def _embedding(self) -> TSNEEmbedding:
        """The embedding as it was fitted, from where the landmarks are."""
        n = len(self.landmarks)
        neighbours = MultiscaleMixture(_wide(self.landmarks), PLACING_PERPLEXITY, method=_search(n), random_state=0)
        embedding = _tsne(n).prepare_initial(affinities=neighbours, initialization=np.zeros((n, 2)))
        embedding[:] = self.places
        return embedding


def _tsne(landmarks: int, perplexity: float = PLACING_PERPLEXITY, random_state: int | None = 0) -> Any:
    return TSNE(
        perplexity=perplexity,
        initialization="pca",
        early_exaggeration_iter=EXAGGERATED_ITERATIONS,
        n_iter=ITERATIONS,
        neighbors=_search(landmarks),
        negative_gradient_method="bh" if landmarks <= TREE_ROWS else "fft",
        ints_in_interval=CELL,
        n_jobs=1,
        random_state=random_state,
    )


def _search(landmarks: int) -> str:
    return "exact" if landmarks <= EXACT_ROWS else "annoy"


def _wide(X: FloatArray) -> FloatArray:
    """Return rows of two columns at least: the start has two principal components."""
    return X if X.shape[1] > 1 else np.column_stack([X, np.zeros(len(X))])


def _principal_axes(X: FloatArray) -> FloatArray:
    """Return the first two principal axes, of shape (n_features, 2); 0 where there are none."""
    axes = np.zeros((X.shape[1], 2))
    if len(X) > 1 and np.ptp(X, axis=0).any():
        found = PCA(min(2, *X.shape), svd_solver="full").fit(X).components_
        axes[:, : len(found)] = found.T
    return axes
