"""Which customers stand for all where there are too many to fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clustering_assets.segmentation.scaling import Compression

FloatArray = NDArray[np.float64]

STEEPNESS = 2.0
STRATA = 100


def spread_sample(X: FloatArray, size: int, random: np.random.RandomState) -> NDArray[np.intp]:
    """Return the positions, ascending, of at most ``size`` rows that stand for all.

    Every n-th row of an order by the first principal component and, within a hundredth of the rows, by the second:
    a systematic sample, which is stratified by both (Cochran 1977, "Sampling Techniques", chapter 8).
    """
    n = len(X)
    if n <= size:
        return np.arange(n)
    compressed = Compression(STEEPNESS).fit(X).transform(X)
    _, axes = np.linalg.eigh(compressed.T @ compressed)
    first, second = (compressed @ axes[:, [-1, -2]]).T if X.shape[1] > 1 else (compressed[:, 0], np.zeros(n))
    stratum = np.argsort(np.argsort(first, kind="stable"), kind="stable") * STRATA // n
    order = np.lexsort((second, stratum))
    return np.sort(order[((np.arange(size) + random.uniform()) * n / size).astype(np.intp)])
