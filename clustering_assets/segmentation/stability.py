"""How well segments survive a resample of the rows. Choosing parameters does not belong here."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state

from clustering_assets.segmentation.hybrid import HybridSegmenter


def segment_stability(
    segmenter: HybridSegmenter,
    X: ArrayLike,
    *,
    n_resamples: int = 20,
    max_rows: int = 5_000,
    random_state: int | np.random.RandomState | None = None,
) -> NDArray[np.float64]:
    """Return the mean bootstrap Jaccard similarity of each segment, of shape (n_clusters_,).

    Parameters
    ----------
    segmenter : HybridSegmenter
        Fitted on X.
    X : array-like of shape (n_samples, n_features)
    n_resamples : int
        Bootstrap samples, each of which is fitted anew with the same number of segments.
    max_rows : int
        Most rows of a bootstrap sample.
    random_state : int, RandomState instance or None

    Returns
    -------
    ndarray of shape (n_clusters_,)
        For each segment the mean over samples of the greatest Jaccard similarity with a segment of the sample's fit,
        over the rows of the sample. Below 0.6 a segment should not be trusted, above 0.85 it is highly stable.

    References
    ----------
    Hennig 2007, "Cluster-wise assessment of cluster stability".
    """
    random = check_random_state(random_state)
    # Rows are picked from a frame or an array alike, so that feature names stay.
    rows_of = X.iloc.__getitem__ if hasattr(X, "iloc") else np.asarray(X).__getitem__
    similarities = np.zeros(segmenter.n_clusters_)
    n = len(segmenter.labels_)
    for _ in range(n_resamples):
        # Drawn with replacement, each row used once: repeats would pass for density.
        rows = np.unique(random.randint(n, size=n))
        rows = np.sort(random.permutation(rows)[:max_rows])
        resampled = clone(segmenter).set_params(
            n_clusters=segmenter.n_clusters_,
            shrinkage=segmenter.shrinkage_,
            init=None,
            random_state=random.randint(np.iinfo(np.int32).max),
        )
        resampled.fit(rows_of(rows))
        similarities += _best_jaccard(segmenter.labels_[rows], resampled.labels_, segmenter.n_clusters_)
    return similarities / n_resamples


def _best_jaccard(labels: NDArray[np.intp], resampled: NDArray[np.intp], n_segments: int) -> NDArray[np.float64]:
    """Return for each segment of ``labels`` its greatest Jaccard similarity with one of ``resampled``; -1 is none."""
    shared = np.zeros((n_segments + 1, resampled.max() + 2))
    np.add.at(shared, (labels + 1, resampled + 1), 1)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    best: NDArray[np.float64] = (shared / np.maximum(union, 1))[1:, 1:].max(axis=1)
    return best
