"""Planted segments within segments are found, and none are made up."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import adjusted_rand_score

from clustering_assets.segmentation.hybrid import HybridSegmenter
from clustering_assets.segmentation.sub_segments import FEWEST_ROWS, sub_segments


def test_parts_of_a_segment_are_found_where_they_are_planted_and_nowhere_else():
    random = np.random.default_rng(0)
    segment = np.repeat([0, 1, 2], [900, 500, FEWEST_ROWS - 80])
    part = np.where(segment == 0, np.arange(len(segment)) % 3, 0)
    X = random.normal(size=(len(segment), 13))
    X[:, :5] += 10 * (segment == 1)[:, None]
    X[:, 5:10] += 10 * (segment == 2)[:, None]
    X[np.arange(len(segment)), 10 + part] += 7 * (segment == 0)
    segmenter = HybridSegmenter(n_clusters=3, random_state=0).fit(X)
    inside = segmenter.labels_ >= 0
    assert adjusted_rand_score(segment[inside], segmenter.labels_[inside]) == 1
    found = sub_segments(segmenter, X)
    divided = inside & (segment == 0)
    assert set(found[divided]) == {0, 1, 2}
    assert adjusted_rand_score(part[divided], found[divided]) > 0.98
    assert (found[~divided] == -1).all()
    np.testing.assert_array_equal(found, sub_segments(segmenter, X))
