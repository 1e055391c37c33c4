"""Why a customer is in a segment: the features that decided between the nearest centre and the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from clustering_assets.segmentation.facts import FEATURES, Columns
from clustering_assets.segmentation.hybrid import OUTLIER

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

REASONS = 3
BLOCK: Final = 50_000
"""Customers that are looked at together; it bounds the memory."""
MAD_TO_DEVIATION = 1.4826
"""Median absolute deviation times this is the standard deviation of a normal distribution."""
NOTHING: Final = -1
"""Stands for a feature where there is none to name."""


def customer_reasons(
    customer_ids: ArrayLike,
    scaled: ArrayLike,
    labels: ArrayLike,
    projection: ArrayLike,
    centres: ArrayLike,
    centre_segment_ids: ArrayLike,
    features: pd.DataFrame,
    usual: Usual | None = None,
) -> pd.DataFrame:
    """Return per customer the distances to the own and the next segment, and three features that decided.

    Parameters
    ----------
    customer_ids : array-like of shape (n,)
    scaled : array-like of shape (n, 35)
        The clustering features scaled, in the order of the contract, without missing values.
    labels : array-like of shape (n,)
        Segment ids; -1 for outliers.
    projection : array-like of shape (35, n_components)
    centres : array-like of shape (n_segments, n_components)
        Centres of the segments in the projected space.
    centre_segment_ids : array-like of shape (n_segments,)
        Segment id of each centre.
    features : DataFrame of n rows
        The clustering features in their own units; other columns are not looked at.
    usual : Usual, optional
        What all customers are like, where these are some of them. By default what these are like.

    Returns
    -------
    DataFrame
        One row per customer, in the order given, with the columns of ``gold.customer_reasons``. For an outlier the next
        segment is the nearest one and there is no distance. Where there is no other segment, ``next_segment_id`` and
        ``next_distance`` are null, and so are the reasons of customers who are no outliers. A reason is a text such as
        "return_rate 0.48 (typical 0.06)"; there are fewer than three where fewer features speak for the segment.

    Raises
    ------
    ValueError
        If lengths differ, ids of centres repeat, or a label has no centre.

    Notes
    -----
    With x the scaled features, P the projection and c the centres, the margin of a customer is linear in x:
    ``|xP - c_next|^2 - |xP - c_own|^2 = 2 x'P(c_own - c_next) + |c_next|^2 - |c_own|^2``. So feature j contributes
    ``2 (x_j - r_j) (P(c_own - c_next))_j`` to how much clearer the margin is than that of the mean customer r, and
    the contributions add up to exactly that. Features with the largest positive contributions are named. For an
    outlier they are those that deviate most from the median in their own units, in median absolute deviations (in
    standard deviations where more than half of the customers have the same value). The typical value of a feature is
    the one that scales to the mean of the scaled feature.
    """
    X, P, C = (np.asarray(part, dtype=np.float64) for part in (scaled, projection, centres))
    segments, centre_ids = np.asarray(labels).astype(np.int64), np.asarray(centre_segment_ids).astype(np.int64)
    own_units = features[FEATURES].to_numpy(dtype=np.float64)
    ids = pd.Series(np.asarray(customer_ids, dtype=object))
    if not len(ids) == len(X) == len(segments) == len(own_units):
        raise ValueError(f"{len(ids)} ids, {len(X)} scaled rows, {len(segments)} labels, {len(own_units)} features")
    if len(C) != len(centre_ids) or len(np.unique(centre_ids)) < len(centre_ids):
        raise ValueError("Every centre needs a segment id of its own.")
    without = np.setdiff1d(segments, [*centre_ids, OUTLIER])
    if len(without):
        raise ValueError(f"No centre for the segments {without.tolist()}")

    inside = segments != OUTLIER
    with threadpool_limits(1):  # sums over several threads do not repeat to the bit
        projected = X @ P
    everybody = np.arange(len(X))
    distances = np.stack([np.linalg.norm(projected - centre, axis=1) for centre in C], axis=1)
    # For outliers a place that is not used.
    own = pd.Index(centre_ids).get_indexer(pd.Index(segments)).clip(min=0)
    own_distance = np.where(inside, distances[everybody, own], np.nan)
    distances[inside, own[inside]] = np.inf
    following = distances.argmin(axis=1)
    next_distance = distances[everybody, following]
    has_next = np.isfinite(next_distance)

    like = Usual.of(features, X.T) if usual is None else usual
    named = np.full((len(X), REASONS), NOTHING)
    for start in range(0, len(X), BLOCK):
        rows = slice(start, start + BLOCK)
        scores = margin_contributions(X[rows], own[rows], following[rows], P, C, like.mean)
        outlying = ~inside[rows]
        scores[outlying] = np.abs(own_units[rows][outlying] - like.median) / like.spread
        scores = np.where(like.varies, np.nan_to_num(scores), 0.0)
        strongest = np.argsort(-scores, axis=1, kind="stable")[:, :REASONS]
        named[rows] = np.where(np.take_along_axis(scores, strongest, axis=1) > 0, strongest, NOTHING)
    named[inside & ~has_next] = NOTHING
    return pd.DataFrame(
        {
            "customer_id": ids,
            "segment_id": segments,
            "distance": own_distance,
            "next_segment_id": pd.Series(centre_ids[following], dtype="Int64").where(has_next),
            "next_distance": np.where(has_next, next_distance, np.nan),
            **{f"reason_{place + 1}": _texts(named[:, place], own_units, like.typical) for place in range(REASONS)},
        }
    )


def margin_contributions(
    scaled: FloatArray,
    own: IntArray,
    following: IntArray,
    projection: FloatArray,
    centres: FloatArray,
    mean: FloatArray,
) -> FloatArray:
    """Return what each feature, of shape (n, n_features), adds to the margin between two centres.

    The rows sum to the difference of squared distances (next less own) of the customer, less that of ``mean``.
    """
    towards = (centres[:, None, :] - centres[None, :, :]) @ projection.T
    contributions: FloatArray = 2 * (scaled - mean) * towards[own, following]
    return contributions


@dataclass(frozen=True, slots=True)
class Usual:
    """What customers are like as a whole; each of shape (35,), by feature.

    Parameters
    ----------
    mean, varies
        Mean of the scaled feature, and whether it is not the same for everybody.
    typical
        The value, in its own unit, that scales to the mean: between the nearest two that occur.
    median, spread
        Median in its own unit, and what a deviation from it is measured in, which is never 0.
    """

    mean: FloatArray
    varies: NDArray[np.bool_]
    typical: FloatArray
    median: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, features: Columns, scaled: Iterable[FloatArray]) -> Usual:
        """Look at the columns of customers one after the other: the features, and the same scaled."""
        found = [
            _usual(np.asarray(features[name], dtype=np.float64), column)
            for name, column in zip(FEATURES, scaled, strict=True)
        ]
        mean, varies, typical, median, spread = (np.array(each) for each in zip(*found, strict=True))
        return cls(mean, varies, typical, median, spread)


def _usual(values: FloatArray, scales: FloatArray) -> tuple[float, bool, float, float, float]:
    mean, known = scales.mean(), ~np.isnan(values)
    typical = np.nan
    if known.any():
        order = np.argsort(scales[known], kind="stable")
        typical = np.interp(mean, scales[known][order], values[known][order])
    column = pd.Series(values)
    median = column.median()
    spread = MAD_TO_DEVIATION * (column - median).abs().median()
    spread = spread if spread > 0 else column.std(ddof=0)
    return mean, bool(np.ptp(scales) > 0), typical, median, spread if spread > 0 else 1.0


def _texts(named: IntArray, features: FloatArray, typical: FloatArray) -> list[str | None]:
    """Return for each row the feature it names, with its value and the typical one; None where it names nothing."""
    known = [f" (typical {_figure(value)})" for value in (typical.round(4) + 0.0).tolist()]
    values = features[np.arange(len(features)), named].round(4) + 0.0
    return [
        None if feature == NOTHING else f"{FEATURES[feature]} {_figure(value)}{known[feature]}"
        for feature, value in zip(named.tolist(), values.tolist(), strict=True)
    ]


def _figure(value: float) -> str:
    """Return a number in three figures, without an exponent."""
    if value != value:
        return "unknown"
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
