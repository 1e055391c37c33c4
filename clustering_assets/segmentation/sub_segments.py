"""Segments within a segment, where its inner structure is as stable as the segments themselves have to be."""

from __future__ import annotations

from collections.abc import Mapping

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
    return sub_segments_of(X, segmenter.labels_, fit_within(segmenter, X))


def fit_within(segmenter: HybridSegmenter, X: ArrayLike) -> dict[int, HybridSegmenter]:
    """Return what divides each segment that is divided; the segmenter was fitted on X."""
    rows = np.asarray(X, dtype=np.float64)
    found = {}
    for segment in range(segmenter.n_clusters_):
        learnt_from = segmenter.fitted_rows_[segmenter.labels_[segmenter.fitted_rows_] == segment]
        if len(learnt_from) >= FEWEST_ROWS:
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
            if within.fit(rows[learnt_from]).confirmed_:
                found[segment] = within
    return found


def sub_segments_of(X: ArrayLike, labels: NDArray[np.intp], within: Mapping[int, HybridSegmenter]) -> NDArray[np.intp]:
    """Return the sub-segment of rows that are in these segments, of shape (n_samples,), as `sub_segments` does."""
    rows = np.asarray(X, dtype=np.float64)
    found = np.full(len(rows), OUTLIER, dtype=np.intp)
    for segment, parts in within.items():
        inside = labels == segment
        if inside.any():
            found[inside] = centre_distances(parts.project(rows[inside]), parts.cluster_centers_).argmin(axis=1)
    return found
