"""Which customers stand for all where there are too many to fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clustering_assets.segmentation.scaling import Compression

FloatArray = NDArray[np.float64]

STEEPNESS = 2.0
STRATA = 100


@dataclass(frozen=True, slots=True)
class Directions:
    """The two main directions in which rows differ, and where along the first of them a hundredth of the rows ends.

    Parameters
    ----------
    compression
        Fitted on the rows.
    axes : ndarray of shape (n_features, 2)
    bounds : ndarray of shape (99,)
        Place along the first direction at which each stratum but the first begins.
    """

    compression: Compression
    axes: FloatArray
    bounds: FloatArray

    @classmethod
    def of(cls, X: FloatArray) -> Directions:
        """Learn them from rows, of shape (n, n_features), n > 0."""
        compression = Compression(STEEPNESS).fit(X)
        compressed = compression.transform(X)
        _, vectors = np.linalg.eigh(compressed.T @ compressed)
        axes = np.zeros((X.shape[1], 2))
        axes[:, : min(2, X.shape[1])] = vectors[:, ::-1][:, :2]
        first = np.append(np.sort((compressed @ axes)[:, 0]), np.inf)  # the last strata of few rows are empty
        return cls(compression, axes, first[-(-np.arange(1, STRATA) * len(X) // STRATA)])

    def places(self, X: FloatArray) -> FloatArray:
        """Return where rows are along both, of shape (n, 2)."""
        places: FloatArray = self.compression.transform(X) @ self.axes
        return places

    def strata(self, places: FloatArray) -> NDArray[np.intp]:
        """Return the stratum, from 0 to 99, of rows that are at these places."""
        return np.searchsorted(self.bounds, places[:, 0], side="right")


def picked(n: int, size: int, random: np.random.RandomState) -> NDArray[np.intp]:
    """Return which of n rows in the order of their strata a systematic sample takes: every n / size-th of them."""
    return ((np.arange(size) + random.uniform()) * n / size).astype(np.intp)


def spread_sample(X: FloatArray, size: int, random: np.random.RandomState) -> NDArray[np.intp]:
    """Return the positions, ascending, of at most ``size`` rows that stand for all.

    Every n-th row of an order by the first principal component and, within a hundredth of the rows, by the second:
    a systematic sample, which is stratified by both (Cochran 1977, "Sampling Techniques", chapter 8).
    """
    n = len(X)
    if n <= size:
        return np.arange(n)
    directions = Directions.of(X)
    places = directions.places(X)
    order = np.lexsort((places[:, 1], directions.strata(places)))
    return np.sort(order[picked(n, size, random)])
