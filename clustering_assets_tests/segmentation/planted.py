"""Customers whose segments are known, for the tests of the segmentation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clustering_assets.segmentation.profiles import FEATURES


def blobs(
    sizes: tuple[int, ...] = (120, 100, 80, 60), n_features: int = 6, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return rows and labels of groups far apart, in random order."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = 12 * np.eye(max(len(sizes), n_features))[: len(sizes), :n_features]
    rows = centres[labels] + random.normal(size=(len(labels), n_features))
    order = random.permutation(len(labels))
    return rows[order], labels[order]


def shoppers(n: int = 600, seed: int = 0) -> tuple[pd.DataFrame, NDArray[np.intp]]:
    """Return the 35 features of n shoppers of four kinds, and the kinds.

    0 never returns, 1 orders seldom, 2 returns half of much, 3 returns late.
    """
    random = np.random.default_rng(seed)
    kind = random.integers(4, size=n)
    typical = pd.DataFrame(
        {
            "order_count": [9, 2, 20, 10],
            "lines_per_order": [3, 1.5, 6, 3],
            "return_rate": [0, 0.1, 0.5, 0.2],
            "mean_days_to_return": [0, 10, 9, 40],
            "mean_order_value": [90, 40, 250, 100],
            "mean_return_value": [0, 20, 40, 35],
            "lifetime_days": [500, 100, 600, 550],
        }
    )
    features = typical.iloc[kind].reset_index(drop=True) * random.lognormal(0, 0.15, (n, typical.shape[1]))
    features["returned_line_count"] = features.order_count * features.lines_per_order * features.return_rate
    features["order_return_rate"] = np.minimum(features.return_rate * 1.5, 1)
    for name in FEATURES:
        if name not in features:
            features[name] = random.lognormal(0, 0.3, n)
    return features[FEATURES], kind
