"""Segments within a segment, where its inner structure is as stable as the segments themselves have to be."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from clustering_assets.segmentation.hybrid import OUTLIER, HybridSegmenter
from clustering_assets.segmentation.partition import centre_distances

FEWEST_ROWS = 200
"""A smaller segment is not looked into: a half of it says little about two or three parts."""
MOST_SUB_SEGMENTS = 4
SPLITS = 5


def sub_segments(segmenter: HybridSegmenter, X: ArrayLike) -> NDArray[np.intp]:
    """Return the sub-segment of each row, of shape (n_samples,); -1 where its segment has no stable inner structure.

    Each segment of at least ``FEWEST_ROWS`` rows is segmented like the whole, without setting outliers aside, on
    features scaled anew. It is divided where halves of its rows confirm the parts (see `HybridSegmenter`), and else
    left whole.

    Parameters
    ----------
    segmenter : HybridSegmenter
        Fitted on X.
    X : array-like of shape (n_samples, n_features)

    Returns
    -------
    ndarray of shape (n_samples,)
        0 for the largest part of a segment, and so on.
    """
    rows = np.asarray(X, dtype=np.float64)
    found = np.full(len(rows), OUTLIER, dtype=np.intp)
    within = clone(segmenter).set_params(
        eps=None,
        min_outlier_share=0.0,
        max_outlier_share=0.0,
        n_clusters=None,
        init=None,
        min_clusters=2,
        max_clusters=MOST_SUB_SEGMENTS,
        n_splits=SPLITS,
    )
    fitted = segmenter.fitted_rows_
    for segment in range(segmenter.n_clusters_):
        inside = segmenter.labels_ == segment
        learnt_from = fitted[inside[fitted]]
        if len(learnt_from) >= FEWEST_ROWS and within.fit(rows[learnt_from]).confirmed_:
            distances = centre_distances(within.project(rows[inside]), within.cluster_centers_)
            found[inside] = distances.argmin(axis=1)
    return found
