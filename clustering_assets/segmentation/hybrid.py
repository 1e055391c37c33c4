"""The estimator: outliers by density, segments by K-means, with parameters that come from the data."""

from __future__ import annotations

import logging
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from clustering_assets.segmentation.density import (
    NeighbourDistances,
    choose_eps,
    distances_of_new_rows,
    neighbour_distances,
)
from clustering_assets.segmentation.partition import (
    Partition,
    centre_distances,
    fit_partition,
    fit_partitions,
    prediction_strengths,
)
from clustering_assets.segmentation.sampling import spread_sample
from clustering_assets.segmentation.scaling import SCALERS, Compression, FeatureScaler, repeated_features

FloatArray = NDArray[np.float64]
Labels = NDArray[np.intp]

_log = logging.getLogger(__name__)

OUTLIER = -1
ROWS_PER_SEGMENT = 10
"""A number of segments is tried only where each would have this many rows on average."""
SPLIT_ROWS, SPLIT_STARTS = 1_500, 5
"""Most rows of each half of a split that prediction strength is measured on, and most starts of K-means there."""
SHRINKAGES = (0.3, 0.7, 0.9)
"""Tried when the shrinkage comes from the data: little, for segments that differ in few features or in size, and much,
for segments that overlap or few rows, where discriminants follow chance."""
STRENGTH_LOST = 0.1
"""Where no number of segments is confirmed, the mean strength that a larger number may cost: business is served by more
segments, and near the best number the curve is flat."""
STRENGTH_OF_FEW = 0.85
"""Least prediction strength of two or three segments: one long cloud, cut across, reaches 0.82 and 0.71, but hardly
more than 0.6 in four pieces and more."""
SILHOUETTE_ROWS = 10_000
"""Most rows that a final silhouette is computed from; it takes all pairs of them."""
CURVE_ROWS = 3_000
"""The same for the silhouettes beside each number of segments that was tried."""
DENSITY_ROWS = 20_000
"""Most rows that the density of a row is measured against where not all rows are fitted."""
START_STEEPNESS, DENSITY_STEEPNESS, DENSITY_TAIL = 2.0, 0.5, 0.01
"""How strongly features are compressed: where K-means starts, so that no feature leads, and less where the density step
looks for extremes. Its mean and deviation leave out so much at both ends, lest extremes hide each other."""
START_BOUND = 3.0
"""Bound, in standard deviations, of a feature in the space in which K-means starts."""


class ChoiceOfK(NamedTuple):
    """What one number of segments would have given.

    ``prediction_strength`` is the mean over the splits and ``standard_error`` that of this mean, with the
    ``shrinkage`` for which it is highest; ``mean_strength`` is the same of the average segment instead of the weakest.
    The indices are those of the partition with that many segments, in the space of the clustering (``silhouette_full``:
    in the scaled space), on at most ``CURVE_ROWS`` rows; None where they are undefined. ``smallest_share`` is the share
    of the smallest segment.
    """

    k: int
    prediction_strength: float
    standard_error: float
    mean_strength: float
    silhouette: float | None
    silhouette_full: float | None
    calinski_harabasz: float | None
    davies_bouldin: float | None
    smallest_share: float
    shrinkage: float


class Assignment(NamedTuple):
    """The segment of each row, how surely it is in it and its outlier score, each of shape (n,)."""

    labels: Labels
    confidence: FloatArray
    outlier_score: FloatArray


class HybridSegmenter(ClusterMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Segment rows by K-means after setting outliers aside by density.

    1. Features are scaled. Constant and all-missing ones scale to 0 and play no part; a missing value scales to 0. Of
       features that repeat each other in another unit one plays a part.
    2. A row is an outlier if DBSCAN calls it noise. ``eps`` is the knee of the curve of k-distances, moved as little as
       needed to keep the share of outliers within bounds. This step sees the features standardised and compressed by an
       inverse hyperbolic sine, since a power transform pulls in just the extremes it looks for.
    3. The other rows are partitioned by K-means, which soft memberships and a covariance within segments refine. A row
       belongs to the nearest centre in the space of the discriminants.
    4. The number of segments is the largest that halves of the rows confirm: even in the weakest segment, the pairs
       that the other half's partition keeps together exceed chance by ``min_strength`` of what is possible
       (prediction strength, mean over splits; two or three segments need 0.85 at least, since any long cloud can be cut
       across). If there is none, it is the largest whose average segment is about as strong as at any number above two,
       and `notes_` says so.

    Parameters
    ----------
    scaling : {"yeo-johnson", "robust", "standard"}, default="yeo-johnson"
        Scale of the features that the segments are made from, and of `transform`.
    reduction : {"discriminant", "pca"} or None, default="discriminant"
        Space of the clustering: linear discriminants of the segments, the principal components that hold 90 % of the
        variance (plain K-means there), or none (plain K-means on the scaled features).
    shrinkage : float in [0, 1] or None, default=None
        Shrinkage of the covariance within segments that the discriminants use. None takes 0.3, 0.7 or 0.9, whichever
        gives the highest prediction strength; 0.7 if ``n_clusters`` is given.
    min_samples : int, default=10
        Rows within ``eps``, itself included, that make a row a core row.
    eps : float or None, default=None
        Radius of the density step; None takes it from the data.
    min_outlier_share, max_outlier_share : float, default=0.005 and 0.1
        Bounds of the share of outliers when ``eps`` comes from the data. The upper one always holds, the lower one
        wherever the rows can be told apart; below one row it asks for none.
    n_clusters : int or None, default=None
        Number of segments; None takes it from the data. Never more than there are distinct rows.
    min_clusters, max_clusters : int, default=2 and 12
        Numbers of segments that are tried when it comes from the data.
    min_strength : float in [0, 1], default=0.62
        Prediction strength, corrected for chance, that a number of segments has to reach.
    n_splits : int, default=6
        Splits in halves that prediction strength is averaged over.
    n_init : int, default=10
        Starts of K-means, of which the best is kept.
    max_fit_rows : int, default=50,000
        Above this many rows a sample of that size is fitted, spread evenly over the two main directions in which the
        rows differ, and the others are assigned. Densities are then measured against 20,000 of them.
    init : array-like of shape (n_samples,) or None, default=None
        Segments to go on from, such as those of an earlier fit, in place of a start by K-means; -1 where there is none.
        Only with ``n_clusters`` and the discriminants.
    random_state : int, RandomState instance or None, default=None
        With an int the result repeats to the bit on the same machine and library versions.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Segment of each row, 0 for the largest and so on; -1 for outliers.
    n_clusters_ : int
        Segments found, the outliers aside.
    eps_, min_samples_ : float, int
        Parameters of the density step as used, in standard deviations of a feature and in rows.
    k_distances_ : ndarray of shape (n_samples,)
        Distance of each row to the ``min_samples_``-th nearest of the rows that densities are measured against, which
        include it as a rule; sorted it is the curve of which the knee gives `eps_`.
    core_sample_mask_ : ndarray of shape (n_samples,), bool
        Rows whose k-distance is at most `eps_`.
    outlier_score_ : ndarray of shape (n_samples,)
        `k_distances_` / `eps_`. Above 1 and away from every core row is an outlier.
    confidence_ : ndarray of shape (n_samples,)
        1 - (distance to the own centre / distance to the next centre): 1 at the centre of a segment, 0 on the border
        between two; 1 if there is one segment only, 0 for an outlier.
    projection_ : ndarray of shape (n_features, n_components)
        From the scaled features to the space of the clustering.
    cluster_centers_ : ndarray of shape (n_clusters_, n_components)
        Centres of the segments there: a row that is no outlier is in the segment of the nearest.
    shrinkage_ : float
        Shrinkage as used.
    fitted_rows_ : ndarray of int
        Positions of the rows that were fitted; the others were assigned.
    silhouette_, silhouette_full_ : float or None
        Mean silhouette of the rows in a segment, in the space of the clustering and in the scaled space of all
        features. A projection made from the labels flatters the first. From a sample of 10,000 above that many rows.
    calinski_harabasz_, davies_bouldin_ : float or None
        Indices of the rows in a segment, in the space of the clustering. None, like the silhouettes, for fewer than
        two segments.
    choices_of_k_ : list of ChoiceOfK
        What each number of segments that was tried would have given; empty if ``n_clusters`` was given.
    confirmed_ : bool
        Whether halves of the rows confirm the number of segments. False where it was given or there is one only.
    ignored_features_ : ndarray of str
        Features (by name, or ``x0``, ``x1``, ...) that are constant or missing everywhere.
    duplicate_features_ : dict of str to str
        Features left out because they repeat another, which is the value, in another unit.
    notes_ : list of str
        What a reader has to know about this fit, such as why there is one segment only; empty if nothing.
    scaler_ : FeatureScaler
        The fitted scale; `transform` uses it.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
    With n rows, m = min(n, ``max_fit_rows``) of them fitted, d features and k segments, time is O(m^2 d) for the
    neighbours (one blocked matrix product), O(m d (d + k)) for a round of the partition and O(n d) for assigning;
    memory is O(n (d + min_samples)). Sums run on one thread, since those over several are not repeatable to the bit.

    References
    ----------
    Ester, Kriegel, Sander and Xu 1996, "A density-based algorithm for discovering clusters" (DBSCAN).
    Satopaa, Albrecht, Irwin and Raghavan 2011, "Finding a 'kneedle' in a haystack".
    Celeux and Govaert 1995, "Gaussian parsimonious clustering models".
    Friedman 1989, "Regularized discriminant analysis".
    Tibshirani and Walther 2005, "Cluster validation by prediction strength".

    Examples
    --------
    >>> import numpy as np
    >>> from clustering_assets.segmentation.hybrid import HybridSegmenter
    >>> random = np.random.default_rng(0)
    >>> X = np.concatenate([random.normal(centre, 1, (100, 3)) for centre in (0, 10, 20)])
    >>> segmenter = HybridSegmenter(random_state=0).fit(X)
    >>> segmenter.n_clusters_
    3
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "scaling": [StrOptions(set(SCALERS))],
        "reduction": [StrOptions({"discriminant", "pca"}), None],
        "shrinkage": [Interval(Real, 0, 1, closed="both"), None],
        "min_samples": [Interval(Integral, 1, None, closed="left")],
        "eps": [Interval(Real, 0, None, closed="neither"), None],
        "min_outlier_share": [Interval(Real, 0, 1, closed="left")],
        "max_outlier_share": [Interval(Real, 0, 1, closed="left")],
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "min_clusters": [Interval(Integral, 1, None, closed="left")],
        "max_clusters": [Interval(Integral, 1, None, closed="left")],
        "min_strength": [Interval(Real, 0, 1, closed="both")],
        "n_splits": [Interval(Integral, 1, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_fit_rows": [Interval(Integral, 1, None, closed="left")],
        "init": ["array-like", None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        scaling: str = "yeo-johnson",
        reduction: str | None = "discriminant",
        shrinkage: float | None = None,
        min_samples: int = 10,
        eps: float | None = None,
        min_outlier_share: float = 0.005,
        max_outlier_share: float = 0.1,
        n_clusters: int | None = None,
        min_clusters: int = 2,
        max_clusters: int = 12,
        min_strength: float = 0.62,
        n_splits: int = 6,
        n_init: int = 10,
        max_fit_rows: int = 50_000,
        init: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.scaling = scaling
        self.reduction = reduction
        self.shrinkage = shrinkage
        self.min_samples = min_samples
        self.eps = eps
        self.min_outlier_share = min_outlier_share
        self.max_outlier_share = max_outlier_share
        self.n_clusters = n_clusters
        self.min_clusters = min_clusters
        self.max_clusters = max_clusters
        self.min_strength = min_strength
        self.n_splits = n_splits
        self.n_init = n_init
        self.max_fit_rows = max_fit_rows
        self.init = init
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: ArrayLike, y: object = None, *, is_sample: bool = False) -> Self:  # noqa: ARG002
        """Segment the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers; NaN where a value is missing.
        y : ignored
            Present by convention.
        is_sample : bool, default=False
            Whether X was drawn from more rows as ``max_fit_rows`` would have been: the model is then that of all rows.

        Returns
        -------
        HybridSegmenter
            The fitted estimator.

        Raises
        ------
        ValueError
            For parameters out of range, infinite values, or an empty X.
        """
        if self.min_outlier_share > self.max_outlier_share:
            raise ValueError("min_outlier_share must not be above max_outlier_share")
        if self.min_clusters > self.max_clusters:
            raise ValueError("min_clusters must not be above max_clusters")
        if self.init is not None and self.n_clusters is None:
            raise ValueError("init needs n_clusters")
        rows: FloatArray = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        with threadpool_limits(1):
            return self._fit(rows, is_sample)

    def _fit(self, X: FloatArray, is_sample: bool) -> Self:
        random = check_random_state(self.random_state)
        self.notes_: list[str] = []
        if is_sample:
            random.uniform()  # what drawing the sample has taken
        self.fitted_rows_ = spread_sample(X, self.max_fit_rows, random)
        fitted = X[self.fitted_rows_]
        self.scaler_ = FeatureScaler(self.scaling).fit(fitted)
        self._leave_out_features(fitted)
        density = self._fit_density(fitted, len(fitted) == len(X) and not is_sample, random)
        outlier = density.noise_radii > self.eps_
        inside = fitted[~outlier]
        scaled_in = self._scaled(inside)[:, self._used]
        # Learnt without the outliers, lest they stretch it; bounded, lest a feature that few customers have leads.
        compressed_in = Compression(START_STEEPNESS).fit(inside).transform(inside)[:, self._used]
        compressed_in = np.clip(compressed_in, -START_BOUND, START_BOUND)

        self.choices_of_k_: list[ChoiceOfK] = []
        self.confirmed_ = False
        self.shrinkage_ = self._shrinkages()[len(self._shrinkages()) // 2]
        k = self._choose_k(scaled_in, compressed_in, random) if self.n_clusters is None else self.n_clusters
        start = self._start(len(X), self.fitted_rows_[~outlier])
        partition = self._fit_partition(scaled_in, compressed_in, k, self.shrinkage_, random, start)
        self.n_clusters_ = len(partition.centres)
        if self.n_clusters_ < k:
            self.notes_.append(f"Only {self.n_clusters_} of {k} segments: there are no more distinct rows.")
        self.cluster_centers_ = partition.centres
        self.projection_ = np.zeros((X.shape[1], partition.projection.shape[1]))
        self.projection_[self._used] = partition.projection
        quality = _quality(scaled_in, partition, SILHOUETTE_ROWS, random)
        self.silhouette_, self.silhouette_full_, self.calinski_harabasz_, self.davies_bouldin_ = quality

        assigned = self._assign(X, density if len(fitted) == len(X) else None)
        self.labels_, self.confidence_, self.outlier_score_ = assigned
        self.k_distances_ = self.outlier_score_ * self.eps_
        self.core_sample_mask_ = self.outlier_score_ <= 1
        return self

    def predict(self, X: ArrayLike) -> Labels:
        """Return the segment of each row of X, of shape (n_samples,); -1 for a row that DBSCAN would call noise."""
        return self.assign(X).labels

    def assign(self, X: ArrayLike) -> Assignment:
        """Return segment, confidence and outlier score of each row of X: `predict` and the two below in one search."""
        rows = self._validated(X)
        with threadpool_limits(1):
            return self._assign(rows)

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return X scaled, of shape (n_samples, n_features), without missing values."""
        return self._scaled(self._validated(X))

    def project(self, X: ArrayLike) -> FloatArray:
        """Return X in the space of the clustering, of shape (n_samples, n_components)."""
        rows = self._validated(X)
        with threadpool_limits(1):
            return self._projected(rows)

    def outlier_score(self, X: ArrayLike) -> FloatArray:
        """Return the distance to the ``min_samples_``-th nearest fitted row divided by `eps_`, of shape (n_samples,).

        A row that was fitted counts as its own nearest, as in `outlier_score_`.
        """
        return self.assign(X).outlier_score

    def confidence(self, X: ArrayLike) -> FloatArray:
        """Return how clearly each row belongs to its segment, of shape (n_samples,), as in `confidence_`."""
        return self.assign(X).confidence

    def _validated(self, X: ArrayLike) -> FloatArray:
        check_is_fitted(self)
        validated: FloatArray = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        return validated

    def _scaled(self, X: FloatArray) -> FloatArray:
        scaled: FloatArray = self.scaler_.transform(X)
        return scaled

    def _projected(self, X: FloatArray) -> FloatArray:
        # The same sums as in fitting, of the features in use alone.
        projected: FloatArray = self._scaled(X)[:, self._used] @ self.projection_[self._used]
        return projected

    def _assign(self, X: FloatArray, density: NeighbourDistances | None = None) -> Assignment:
        distances = centre_distances(self._projected(X), self.cluster_centers_)
        labels, confidence = np.argmin(distances, axis=1), _confidence(distances)
        density = density or self._density(self._compressed(X))
        outlier = density.noise_radii > self.eps_
        labels[outlier], confidence[outlier] = OUTLIER, 0.0
        return Assignment(labels, confidence, density.k_distances / self.eps_)

    def _leave_out_features(self, X: FloatArray) -> None:
        names = getattr(self, "feature_names_in_", np.array([f"x{i}" for i in range(X.shape[1])], dtype=object))
        self.ignored_features_ = names[~self.scaler_.varying_]
        repeats = repeated_features(X, self.scaler_.varying_)
        self.duplicate_features_ = {str(names[repeat]): str(names[first]) for repeat, first in repeats.items()}
        if repeats:
            named = ", ".join(f"{repeat} ({first})" for repeat, first in self.duplicate_features_.items())
            self.notes_.append(f"Left out because they are another feature in another unit: {named}.")
        self._used = self.scaler_.varying_.copy()
        self._used[list(repeats)] = False
        if not self._used.any():
            self._used[:] = True  # All rows are alike: whatever is used is 0.

    def _compressed(self, X: FloatArray) -> FloatArray:
        return self._compression.transform(X)[:, self._used]

    def _density(self, compressed: FloatArray) -> NeighbourDistances:
        return distances_of_new_rows(compressed, self._density_rows, self._density_distances, self.min_samples_)

    def _fit_density(self, X: FloatArray, are_all: bool, random: np.random.RandomState) -> NeighbourDistances:
        """Fit the density step and return what it says of the rows, which ``are_all`` or else a sample."""
        self._compression = Compression(DENSITY_STEEPNESS, DENSITY_TAIL).fit(X)
        compressed = self._compressed(X)
        measures_all = are_all or len(X) <= DENSITY_ROWS
        places = slice(None) if measures_all else np.sort(random.permutation(len(X))[:DENSITY_ROWS])
        self._density_rows = compressed[places]
        self.min_samples_ = min(self.min_samples, len(self._density_rows))
        found = neighbour_distances(self._density_rows, self.min_samples_)
        self._density_distances = found.k_distances
        if not measures_all:
            found = self._density(compressed)
        if self.eps is None:
            self.eps_ = choose_eps(found, self.min_outlier_share, self.max_outlier_share)
        else:
            self.eps_ = float(self.eps)
        if (found.noise_radii > self.eps_).all():
            raise ValueError(f"All {len(X)} rows are outliers at eps={self.eps_}: no row is left for a segment.")
        return found

    def _shrinkages(self) -> tuple[float, ...]:
        if self.shrinkage is not None:
            return (self.shrinkage,)
        return SHRINKAGES if self.reduction == "discriminant" else SHRINKAGES[:1]

    def _start(self, n: int, rows: NDArray[np.intp]) -> Labels | None:
        """Return what ``init`` says of the rows, 0 and up without a gap and -1 for nothing; None if it says nothing."""
        if self.init is None:
            return None
        labels = np.asarray(self.init, dtype=np.intp)
        if labels.shape != (n,):
            raise ValueError(f"init has the shape {labels.shape}, but there are {n} rows")
        start, known = labels[rows], labels[rows] >= 0
        if not known.any():
            return None
        start[known] = np.unique(start[known], return_inverse=True)[1]
        return start

    def _fit_partition(
        self,
        scaled: FloatArray,
        compressed: FloatArray,
        k: int,
        shrinkage: float,
        random: np.random.RandomState,
        start: Labels | None = None,
    ) -> Partition:
        return fit_partition(
            scaled,
            compressed,
            min(k, len(scaled)),
            reduction=self.reduction,
            shrinkage=shrinkage,
            n_init=self.n_init,
            random=random,
            start=start,
        )

    def _choose_k(self, scaled: FloatArray, compressed: FloatArray, random: np.random.RandomState) -> int:
        """Measure each number of segments, set the shrinkage and return the number to take."""
        n, distinct = len(scaled), len(np.unique(scaled, axis=0))
        most = min(self.max_clusters, distinct, n // ROWS_PER_SEGMENT)
        if most < self.min_clusters:
            reason = (
                f"{distinct} distinct rows"
                if distinct < self.min_clusters
                else f"{n} rows, {ROWS_PER_SEGMENT} a segment"
            )
            self.notes_.append(f"One segment: {reason} are too few for {self.min_clusters} segments.")
            return 1
        candidates = range(self.min_clusters, most + 1)
        _log.info(
            "comparing %s to %s segments of %s rows on %s splits in halves",
            self.min_clusters,
            most,
            f"{n:,}",
            self.n_splits,
        )
        # Of shape (splits, candidates, shrinkages, 2).
        confirmed = np.array([self._confirmed(scaled, compressed, candidates, random) for _ in range(self.n_splits)])
        sample = random.permutation(n)[:CURVE_ROWS]
        for position, k in enumerate(candidates):
            best = int(confirmed[:, position, :, 0].mean(axis=0).argmax())
            weakest, average = confirmed[:, position, best].T
            shrinkage = self._shrinkages()[best]
            partition = self._fit_partition(scaled[sample], compressed[sample], k, shrinkage, random)
            self.choices_of_k_.append(
                ChoiceOfK(
                    k,
                    float(weakest.mean()),
                    float(weakest.std() / np.sqrt(self.n_splits)),
                    float(average.mean()),
                    *_quality(scaled[sample], partition, CURVE_ROWS, random),
                    smallest_share=float(np.bincount(partition.labels).min() / len(sample)),
                    shrinkage=shrinkage,
                )
            )
        strong = [choice for choice in self.choices_of_k_ if choice.prediction_strength >= self._bar(choice.k)]
        self.confirmed_ = bool(strong)
        chosen = strong[-1] if strong else self._least_weak()
        self.shrinkage_ = chosen.shrinkage
        return chosen.k

    def _bar(self, k: int) -> float:
        return max(self.min_strength, STRENGTH_OF_FEW) if k <= 3 else self.min_strength

    def _least_weak(self) -> ChoiceOfK:
        above_two = [choice for choice in self.choices_of_k_ if choice.k > 2] or self.choices_of_k_
        enough = max(choice.mean_strength for choice in above_two) - STRENGTH_LOST
        chosen = [choice for choice in above_two if choice.mean_strength >= enough][-1]
        self.notes_.append(
            f"No number of segments reaches the prediction strength asked for; {chosen.k} come nearest (strength "
            f"{chosen.prediction_strength:.2f}, of the average segment {chosen.mean_strength:.2f}). The segments are "
            "cuts through a continuum rather than groups apart."
        )
        return chosen

    def _confirmed(
        self, scaled: FloatArray, compressed: FloatArray, candidates: range, random: np.random.RandomState
    ) -> list[list[tuple[float, float]]]:
        """Return the strength of the weakest and of the average segment for each number and shrinkage on one split."""
        order = random.permutation(len(scaled))
        half = min(len(scaled) // 2, SPLIT_ROWS)
        halves = order[:half], order[half : 2 * half]
        return [
            [
                _mean_strengths(scaled[halves[0]], scaled[halves[1]], *pair)
                for pair in zip(
                    *(
                        fit_partitions(
                            scaled[rows],
                            compressed[rows],
                            k,
                            reduction=self.reduction,
                            shrinkages=self._shrinkages(),
                            n_init=min(self.n_init, SPLIT_STARTS),
                            random=random,
                        )
                        for rows in halves
                    ),
                    strict=True,
                )
            ]
            for k in candidates
        ]

    def __sklearn_tags__(self):  # type: ignore[no-untyped-def]
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _mean_strengths(first: FloatArray, second: FloatArray, one: Partition, other: Partition) -> tuple[float, float]:
    """Return the strength of the weakest and of the average segment, of two partitions on each other's rows."""
    pairs = ((other.labels, one.assign(second)), (one.labels, other.assign(first)))
    strengths = [prediction_strengths(*pair) for pair in pairs]
    return sum(float(each.min()) for each in strengths) / 2, sum(float(each.mean()) for each in strengths) / 2


def _confidence(centre_distances: FloatArray) -> FloatArray:
    if centre_distances.shape[1] == 1:
        return np.ones(len(centre_distances))
    own, following = np.partition(centre_distances, 1, axis=1)[:, :2].T
    confidence: FloatArray = 1 - np.divide(own, following, out=np.ones(len(own)), where=following > 0)
    return confidence


def _quality(
    scaled: FloatArray, partition: Partition, most_rows: int, random: np.random.RandomState
) -> tuple[float | None, float | None, float | None, float | None]:
    """Return silhouette, silhouette in the scaled space, Calinski-Harabasz and Davies-Bouldin index."""
    labels = partition.labels
    if not 2 <= labels.max() + 1 < len(labels):
        return None, None, None, None
    projected = scaled @ partition.projection
    sample = random.permutation(len(labels))[:most_rows]
    if not 2 <= len(np.unique(labels[sample])) < len(sample):
        sample = np.arange(len(labels))
    return (
        float(silhouette_score(projected[sample], labels[sample])),
        float(silhouette_score(scaled[sample], labels[sample])),
        float(calinski_harabasz_score(projected, labels)),
        float(davies_bouldin_score(projected, labels)),
    )
