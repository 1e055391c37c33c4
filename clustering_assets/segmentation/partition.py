"""The segments proper: K-means, softened, on discriminants; and what confirms a number of segments."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, solve
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

FloatArray = NDArray[np.float64]
Labels = NDArray[np.intp]
Random = np.random.RandomState

PCA_VARIANCE = 0.9
SOFT_ROUNDS = 30
SOFT_TOLERANCE = 1e-2
"""The soft rounds end when no membership changes by more."""


class Partition(NamedTuple):
    """Segments as a linear projection of the scaled features and a centre per segment in it.

    ``projection`` has shape (n_features, n_components), ``centres`` (n_segments, n_components), the largest segment
    first, and ``labels`` (n_samples,): the segments of the rows that the partition was fitted on.
    """

    projection: FloatArray
    centres: FloatArray
    labels: Labels

    def assign(self, scaled: FloatArray) -> Labels:
        """Return the nearest segment of each scaled row."""
        nearest: Labels = np.argmin(centre_distances(scaled @ self.projection, self.centres), axis=1)
        return nearest


def centre_distances(projected: FloatArray, centres: FloatArray) -> FloatArray:
    """Return the distances, of shape (n, n_segments), of projected rows to the centres."""
    return np.stack([np.linalg.norm(projected - centre, axis=1) for centre in centres], axis=1)


def fit_partition(
    scaled: FloatArray,
    compressed: FloatArray,
    n_segments: int,
    *,
    reduction: str | None,
    shrinkage: float,
    n_init: int,
    random: Random,
    start: Labels | None = None,
) -> Partition:
    """Partition the rows into at most ``n_segments`` segments: `fit_partitions` with one shrinkage.

    With ``start``, the labels of an earlier partition and -1 for rows that it did not know, discriminants go on from
    there instead of from K-means.
    """
    if start is not None and reduction == "discriminant":
        return _discriminant_partition(scaled, start, shrinkage)
    [partition] = fit_partitions(
        scaled, compressed, n_segments, reduction=reduction, shrinkages=(shrinkage,), n_init=n_init, random=random
    )
    return partition


def fit_partitions(
    scaled: FloatArray,
    compressed: FloatArray,
    n_segments: int,
    *,
    reduction: str | None,
    shrinkages: Sequence[float],
    n_init: int,
    random: Random,
) -> list[Partition]:
    """Partition the rows into at most ``n_segments`` segments, once per shrinkage and from the same start.

    With ``reduction="discriminant"``, K-means on ``compressed`` gives a start, which `soften` improves on ``scaled``;
    a row then belongs to the nearest centre on the discriminants of the result. With ``"pca"`` K-means runs on
    principal components of ``scaled``, with None on ``scaled`` itself, and shrinkage has no effect.

    Parameters
    ----------
    scaled, compressed : ndarray of shape (n, n_features)
        The same rows: in the space that is projected, and in one that keeps more of the size of a feature and in
        which on/off features weigh less.
    n_segments : int
        At least 1. Where fewer distinct rows exist, there are fewer segments.
    """
    if reduction == "discriminant":
        start = _k_means(compressed, n_segments, n_init, random)
        return [_discriminant_partition(scaled, start, shrinkage) for shrinkage in shrinkages]
    if reduction == "pca":
        projection = PCA(PCA_VARIANCE, svd_solver="full").fit(scaled).components_.T
    else:
        projection = np.eye(scaled.shape[1])
    return [_ordered(scaled, projection, _k_means(scaled @ projection, n_segments, n_init, random))] * len(shrinkages)


def _discriminant_partition(scaled: FloatArray, start: Labels, shrinkage: float) -> Partition:
    labels = soften(scaled, start, shrinkage)
    if labels.max() == 0:
        return _ordered(scaled, np.eye(scaled.shape[1]), labels)
    return _ordered(scaled, discriminants(scaled, labels, shrinkage), labels)


def soften(scaled: FloatArray, labels: Labels, shrinkage: float) -> Labels:
    """Improve a partition by letting rows belong to several segments in part.

    The segments are taken for Gaussian with one covariance in common, so that directions in which all segments vary
    count for less, and with sizes of their own. Expectation maximisation from the given labels, at most ``SOFT_ROUNDS``
    rounds; the covariance is shrunk as by `discriminants`. At a shrinkage of 1 this is K-means with soft borders.

    Parameters
    ----------
    scaled : ndarray of shape (n, n_features)
    labels : ndarray of shape (n,)
        The start, 0 and up without a gap; -1 for rows of which it says nothing.
    shrinkage : float in [0, 1]

    Returns
    -------
    ndarray of shape (n,)
        The likeliest segment of each row, 0 and up without a gap; segments that nobody is left in are gone.

    Notes
    -----
    Takes O(n d (d + k)) a round. Celeux and Govaert 1995, "Gaussian parsimonious clustering models" (the model with
    equal covariances); Friedman 1989, "Regularized discriminant analysis" (the shrinkage).
    """
    centred = np.ascontiguousarray((scaled - scaled.mean(axis=0)).T)
    squares = centred @ centred.T
    n = centred.shape[1]
    # A row per segment: sums over segments then run along the rows.
    memberships = np.eye(labels.max() + 1)[:, labels] * (labels >= 0)
    for _ in range(SOFT_ROUNDS):
        sizes = memberships.sum(axis=1)
        kept = sizes > 1e-6
        memberships, sizes = memberships[kept], sizes[kept]
        centres = memberships @ centred.T / sizes[:, None]
        within = _shrunk((squares - (centres.T * sizes) @ centres) / n, shrinkage)
        # The log density but for a part that all segments share: linear in the row, since the covariance is common.
        directions = solve(within, centres.T, assume_a="pos")
        offsets = np.log(sizes / n) - (centres.T * directions).sum(axis=0) / 2
        previous, memberships = memberships, directions.T @ centred + offsets[:, None]
        memberships -= memberships.max(axis=0)
        np.exp(memberships, out=memberships)
        memberships /= memberships.sum(axis=0)
        if np.abs(memberships - previous).max() < SOFT_TOLERANCE:
            break
    return np.unique(memberships.argmax(axis=0), return_inverse=True)[1]


def _ordered(scaled: FloatArray, projection: FloatArray, labels: Labels) -> Partition:
    # The labels are those of the centres, so that a fitted row gets the same segment again.
    partition = Partition(projection, _centres(scaled @ projection, labels), labels)
    assigned = partition.assign(scaled)
    sizes = np.bincount(assigned)
    order = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    return Partition(projection, partition.centres[order], np.argsort(np.argsort(-sizes, kind="stable"))[assigned])


def discriminants(scaled: FloatArray, labels: Labels, shrinkage: float) -> FloatArray:
    """Return Fisher's linear discriminants of the labels, of shape (n_features, min(n_labels - 1, n_features)).

    The covariance within segments, S, is shrunk to ``(1 - shrinkage) S + shrinkage * trace(S) / n_features * I``, and
    is the identity after projection: distances are in standard deviations within a segment.
    """
    n, width = scaled.shape
    centres = _centres(scaled, labels)
    residuals = scaled - centres[labels]
    within = _shrunk(residuals.T @ residuals / n, shrinkage)
    offsets = (centres - scaled.mean(axis=0)) * np.sqrt(np.bincount(labels) / n)[:, None]
    _, vectors = eigh(offsets.T @ offsets, within)
    return np.ascontiguousarray(vectors[:, ::-1][:, : min(len(centres) - 1, width)])


def _shrunk(covariance: FloatArray, shrinkage: float) -> FloatArray:
    level = np.trace(covariance) / len(covariance)
    if level <= 0:
        level = 1.0  # Every row sits on its centre: any unit will do.
    shrunk: FloatArray = (1 - shrinkage) * covariance + max(shrinkage, 1e-6) * level * np.eye(len(covariance))
    return shrunk


def prediction_strengths(labels: Labels, predicted: Labels) -> FloatArray:
    """Return for each segment the share of its pairs that stay together, beyond chance.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Segments that were found on these rows.
    predicted : ndarray of shape (n,)
        Segments of the same rows by a partition fitted on other rows.

    Returns
    -------
    ndarray of shape (n_segments,)
        1 if every pair of the segment stays together, 0 if no more than of any two rows, below 0 if fewer. The
        prediction strength is the least of them.

    Notes
    -----
    Tibshirani and Walther 2005, "Cluster validation by prediction strength", corrected for chance in the way of
    Hubert and Arabie 1985, "Comparing partitions": (share - expected) / (1 - expected), where expected is the share of
    all pairs that ``predicted`` puts together. Without that, few segments and large ones look strong whatever the
    rows are like. A segment of one row has no pairs and counts as none kept: nothing confirms it.
    """
    table = np.zeros((labels.max() + 1, predicted.max() + 1))
    np.add.at(table, (labels, predicted), 1)
    together: FloatArray = _pairs(table).sum(axis=1) / np.maximum(_pairs(table.sum(axis=1)), 1)
    expected = float(_pairs(table.sum(axis=0)).sum() / max(_pairs(table.sum()), 1))
    return (together - expected) / (1 - expected) if expected < 1 else together


def _pairs(counts: FloatArray) -> FloatArray:
    pairs: FloatArray = counts * (counts - 1) / 2
    return pairs


def _k_means(X: FloatArray, n_clusters: int, n_init: int, random: Random) -> Labels:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # Fewer distinct rows than segments: fewer segments.
        labels = KMeans(n_clusters, n_init=n_init, random_state=random).fit_predict(X)
    return np.unique(labels, return_inverse=True)[1]


def _centres(X: FloatArray, labels: Labels) -> FloatArray:
    return np.stack([X[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
