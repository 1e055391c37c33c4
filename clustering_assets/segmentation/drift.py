"""How far data moved since a model was fitted: population stability indices. Nothing is fitted here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 10
"""Groups of equal size that a feature without repeated values is cut into; deciles are the custom of the field."""
EMPTY = 0.5
"""Rows that a bin without any counts as, since its logarithm would be infinite. Half a row is what so many rows leave
open; a fixed share, such as the usual 0.0001, makes much of one customer in a small shop."""
LITTLE, MUCH = 0.1, 0.25
"""Under the first a population is called stable, above the second it has shifted (Siddiqi 2006)."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How the values of a feature are spread.

    Parameters
    ----------
    points : tuple of float
        Values, ascending, that each have a bin of their own.
    edges : tuple of float
        Bounds, ascending, between the bins of all other values; a bound belongs to the bin below it.
    counts : tuple of int
        Rows without a value, at each of the points, and in each of the ``len(edges) + 1`` other bins.
    """

    points: tuple[float, ...]
    edges: tuple[float, ...]
    counts: tuple[int, ...]


def distribution(values: ArrayLike) -> Distribution:
    """Describe how values, of shape (n,), n > 0, are spread; NaN is a value that is not known.

    A value that at least one row in ``BINS`` has is a bin of its own, so that features which are 0 for most customers
    are told apart from constants. The others are cut at their quantiles, which are values that occur: whatever keeps
    the order of the values keeps the bins.
    """
    column = np.asarray(values, dtype=np.float64)
    known = column[~np.isnan(column)]
    distinct, times = np.unique(known, return_counts=True)
    points = distinct[times * BINS >= len(known)]
    rest = known[~np.isin(known, points)]
    bins = max(round(BINS * len(rest) / max(len(known), 1)), 1)
    cuts = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(rest, cuts, method="inverted_cdf")) if len(rest) else np.empty(0)
    return Distribution(tuple(points.tolist()), tuple(edges.tolist()), tuple(_counts(column, points, edges).tolist()))


def stability_index(reference: Distribution, values: ArrayLike) -> float:
    """Return the PSI of values, of shape (n,), n > 0, against a reference."""
    column = np.asarray(values, dtype=np.float64)
    return index_of_counts(reference.counts, _counts(column, np.array(reference.points), np.array(reference.edges)))


def index_of_counts(before: ArrayLike, after: ArrayLike) -> float:
    """Return the population stability index of two lists of counts of the same bins.

    With shares e before and a after, the sum over the bins of ``(a - e) * ln(a / e)``: 0 for equal shares, and the same
    both ways round. A bin without rows counts as ``EMPTY`` rows, one without any in both lists does not count.

    References
    ----------
    Siddiqi 2006, "Credit risk scorecards". It is the divergence J(1, 2) of Kullback and Leibler 1951, "On information
    and sufficiency".
    """
    counts = np.array([before, after], dtype=np.float64)
    counts = counts[:, counts.any(axis=0)]
    expected, actual = np.maximum(counts, EMPTY) / counts.sum(axis=1, keepdims=True)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def feature_drift(references: Mapping[str, Distribution], columns: Iterable[tuple[str, ArrayLike]]) -> dict[str, float]:
    """Return the PSI of each column, given with its name, that has a reference."""
    return {name: stability_index(references[name], values) for name, values in columns if name in references}


def size_drift(before: ArrayLike, after: ArrayLike) -> float:
    """Return the PSI of the segments' shares, from the segment id of each customer before and after."""
    segments = np.union1d(before, after)
    return index_of_counts(*((np.asarray(ids)[:, None] == segments).sum(axis=0) for ids in (before, after)))


def in_words(index: float) -> str:
    """Say what a PSI means."""
    return "little or none" if index < LITTLE else "some" if index <= MUCH else "much"


def _counts(column: NDArray[np.float64], points: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    known = column[~np.isnan(column)]
    at_point = np.isin(known, points)
    return np.concatenate(
        [
            [len(column) - len(known)],
            np.bincount(np.searchsorted(points, known[at_point]), minlength=len(points)),
            np.bincount(np.searchsorted(edges, known[~at_point]), minlength=len(edges) + 1),
        ]
    )
