"""The density step: who is an outlier, and at which radius. DBSCAN's noise, read off nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from os import cpu_count, environ

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NeighbourDistances:
    """What the nearest neighbours of n points say about density.

    Parameters
    ----------
    k_distances : ndarray of shape (n,)
        Distance to the ``min_samples``-th nearest point, the point itself being the first: the point is a core point
        of DBSCAN for every eps that is at least this.
    noise_radii : ndarray of shape (n,)
        The point is noise of DBSCAN for every eps below this.
    """

    k_distances: FloatArray
    noise_radii: FloatArray


def nearest(reference: FloatArray, X: FloatArray, count: int) -> tuple[FloatArray, NDArray[np.intp]]:
    """Return distances and indices, both of shape (len(X), count), of the nearest rows of ``reference``."""
    # Each row is searched on its own, so that the threads, unlike those of a sum, do not change the result. Spark says
    # in OMP_NUM_THREADS how many cores a task of its has.
    with threadpool_limits(int(environ.get("OMP_NUM_THREADS") or cpu_count() or 1), "openmp"):
        search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(reference)
        indices = search.kneighbors(X, return_distance=False)
    # The fast search takes differences of squares, which rounds; the few distances that are kept are computed exactly.
    distances = np.stack([_distances(X, reference[indices[:, j]]) for j in range(count)], axis=1)
    rank = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, rank, axis=1), np.take_along_axis(indices, rank, axis=1)


def neighbour_distances(X: FloatArray, min_samples: int) -> NeighbourDistances:
    """Return from which radius on each row of X, of shape (n, d), is a core point, and is no longer noise.

    Row i is no noise at eps if a core point j lies within eps, thus from ``min over j of max(distance(i, j),
    k_distance(j))`` on. Only the ``min_samples`` nearest rows can attain the minimum, the others being farther than
    row i's own k-distance. So one neighbour search gives DBSCAN's noise for every eps, in O(n * min_samples) memory.
    """
    distances, indices = nearest(X, X, min_samples)
    return _reachable(distances, indices, distances[:, -1])


def distances_of_new_rows(
    X: FloatArray, reference: FloatArray, k_distances: FloatArray, min_samples: int
) -> NeighbourDistances:
    """Return the same for rows of X that are looked at one by one, beside the ``reference`` and its k-distances.

    A row that is in the reference finds itself there, and so gets the values it was fitted with.
    """
    return _reachable(*nearest(reference, X, min_samples), k_distances)


def _reachable(distances: FloatArray, indices: NDArray[np.intp], k_distances: FloatArray) -> NeighbourDistances:
    own = distances[:, -1]
    return NeighbourDistances(own, np.minimum(np.maximum(distances, k_distances[indices]).min(axis=1), own))


def _distances(X: FloatArray, others: FloatArray) -> FloatArray:
    """Return the distance of each row to the row beside it; in blocks, which a million rows need."""
    blocks = range(0, len(X), 65_536)
    return np.concatenate([np.linalg.norm(X[i : i + 65_536] - others[i : i + 65_536], axis=1) for i in blocks])


def knee(ascending: FloatArray) -> float:
    """Return the value at the knee of an ascending curve: the point farthest below the chord from end to end.

    Satopaa et al. 2011, "Finding a 'kneedle' in a haystack", without its smoothing.
    """
    span = ascending[-1] - ascending[0]
    if len(ascending) < 3 or span <= 0:
        return float(ascending[-1])
    below = np.linspace(0, 1, len(ascending)) - (ascending - ascending[0]) / span
    return float(ascending[np.argmax(below)])


def choose_eps(found: NeighbourDistances, min_share: float, max_share: float) -> float:
    """Return the radius nearest to the knee of the k-distances that keeps the share of outliers within bounds.

    Radii are taken halfway between those at which a point changes sides, so that rounding moves nobody across. Where
    no radius keeps both bounds (few points, or many alike), the upper bound holds and the share is as high as it
    allows. A lower bound of less than one point asks for none. Where points do not differ at all the radius is 1.
    """
    n = len(found.noise_radii)
    most = math.floor(max_share * n)
    fewest = math.ceil(min_share * n) if min_share * n >= 1 else 0
    radii = np.unique(found.noise_radii)
    beyond = 2 * radii[-1] if radii[-1] > 0 else 1.0
    candidates = np.append((radii[:-1] + radii[1:]) / 2, beyond)
    outliers = n - np.searchsorted(np.sort(found.noise_radii), candidates, side="right")
    allowed = outliers <= most
    within = allowed & (outliers >= fewest)
    if not within.any():
        within = allowed & (outliers == outliers[allowed].max())
    candidates = candidates[within]
    return float(candidates[np.argmin(np.abs(candidates - knee(np.sort(found.k_distances))))])
