"""Simple ways to group customers, which segments have to be better than. Judging them does not belong here."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler

Groups = NDArray[np.int_]


def baseline_groups(features: pd.DataFrame, as_of: pd.Timestamp, n_groups: int, random_state: int) -> dict[str, Groups]:
    """Group customers in the ways that need no model, or the simplest one.

    Parameters
    ----------
    features : DataFrame of n rows
        silver.customer_features, one row per customer.
    as_of
        Day that the features look from.
    n_groups
        Groups that K-means makes; fewer where there are not that many distinct customers.
    random_state
        Seed of K-means.

    Returns
    -------
    dict
        The group of each customer, of shape (n,), by method. ``rfm_cells``: the quintiles of recency, frequency and
        monetary value, 125 cells at most (Hughes 1994, "Strategic database marketing"). ``rfm_score``: the sum of the
        three scores, 3 to 15. ``rfm_kmeans``: K-means on their standardised logarithms. ``return_rate_deciles``.
        Customers of the same value are never put into different quantiles, so that there can be fewer of these.
    """
    recency = (as_of.normalize() - features["last_order_date"].dt.normalize()).dt.days
    frequency = features["order_count"]
    value = (features["mean_order_value"] * frequency).fillna(0)
    scores = [quantile_groups(figure, 5) for figure in (-recency, frequency, value)]
    rfm = np.log1p(np.column_stack([recency, frequency, value.clip(lower=0)]).astype(np.float64))
    n_groups = min(n_groups, len(np.unique(rfm, axis=0)))
    k_means = KMeans(n_groups, n_init=10, random_state=random_state)
    return {
        "rfm_cells": scores[0] * 100 + scores[1] * 10 + scores[2],
        "rfm_score": np.sum(scores, axis=0),
        "rfm_kmeans": k_means.fit_predict(StandardScaler().fit_transform(rfm)),
        "return_rate_deciles": quantile_groups(features["return_rate"], 10),
    }


def quantile_groups(figure: pd.Series[float], n: int) -> Groups:
    """Return the quantile of each value, 1 (lowest) to n; equal values share the one that their middle rank is in."""
    share = figure.rank(method="average", pct=True)
    return np.ceil(share.to_numpy(dtype=np.float64) * n).astype(np.int_)
