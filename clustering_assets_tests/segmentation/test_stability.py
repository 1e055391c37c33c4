"""Bootstrap stability: high for real groups, low for cuts through a continuum."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clustering_assets.segmentation.hybrid import HybridSegmenter
from clustering_assets.segmentation.stability import segment_stability
from clustering_assets_tests.segmentation.planted import blobs


def test_groups_apart_are_stable_and_cuts_through_a_continuum_are_not():
    X, _ = blobs()
    apart = HybridSegmenter(n_clusters=4, random_state=0).fit(X)
    cloud = np.random.default_rng(0).normal(size=(400, 6))
    cut = HybridSegmenter(n_clusters=7, random_state=0).fit(cloud)
    stable = segment_stability(apart, X, n_resamples=5, random_state=0)
    unstable = segment_stability(cut, cloud, n_resamples=5, random_state=0)
    assert stable.shape == (4,)
    assert stable.min() > 0.85
    assert 0 <= unstable.min() < 0.7
    assert unstable.mean() < stable.mean()


def test_frame_and_array_give_the_same_and_repeat():
    X, _ = blobs()
    frame = pd.DataFrame(X, columns=list("abcdef"))
    results = [
        segment_stability(HybridSegmenter(n_clusters=4, random_state=0).fit(rows), rows, n_resamples=2, random_state=0)
        for rows in (X, frame)
    ]
    np.testing.assert_array_equal(*results)
