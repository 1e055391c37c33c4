"""The estimator: outliers by density, segments by K-means, with parameters that come from the data."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.metrics import adjusted_rand_score, calinski_harabasz_score, davies_bouldin_score, silhouette_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from clustering_assets.segmentation.density import choose_eps, nearest, neighbour_distances
from clustering_assets.segmentation.partition import Partition, fit_partition, fit_partitions, prediction_strength
from clustering_assets.segmentation.scaling import SCALERS, FeatureScaler

FloatArray = NDArray[np.float64]
Labels = NDArray[np.intp]

OUTLIER = -1
ROWS_PER_SEGMENT = 10
"""A number of segments is tried only where each would have this many rows on average."""
SPLIT_ROWS = 1_500
"""Most rows of each half of a split that prediction strength is measured on."""
SHRINKAGES = (0.1, 0.5)
"""Tried when the shrinkage comes from the data: little, for segments that differ in few features, and much, for
segments that overlap or few rows, where discriminants follow chance."""
STRENGTH_OF_TWO = 0.8
"""Least prediction strength of two segments: one long cloud, cut in the middle, reaches 0.7."""
SILHOUETTE_ROWS = 10_000
"""Most rows that a final silhouette is computed from; it takes all pairs of them."""
CURVE_ROWS = 3_000
"""The same for the silhouettes beside each number of segments that was tried."""
START_BOUND = 3.0
"""Bound, in standard deviations, of a feature in the space in which K-means starts."""


class ChoiceOfK(NamedTuple):
    """What one number of segments would have given.

    ``prediction_strength`` is the mean over the splits and ``standard_error`` that of this mean, with the
    ``shrinkage`` for which it is highest. ``agreement`` is the mean adjusted Rand index between the partitions of two
    halves, with the least shrinkage that was tried. The indices are those of the partition with that many segments, in
    the space of the clustering (``silhouette_full``: in the scaled space), on at most ``CURVE_ROWS`` rows; None where
    they are undefined. ``smallest_share`` is the share of the smallest segment.
    """

    k: int
    prediction_strength: float
    standard_error: float
    silhouette: float | None
    silhouette_full: float | None
    calinski_harabasz: float | None
    davies_bouldin: float | None
    smallest_share: float
    agreement: float
    shrinkage: float


class HybridSegmenter(ClusterMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Segment rows by K-means after setting outliers aside by density.

    1. Features are scaled. Constant and all-missing ones scale to 0 and play no part; a missing value scales to 0.
    2. A row is an outlier if DBSCAN calls it noise. ``eps`` is the knee of the curve of k-distances, moved as little as
       needed to keep the share of outliers within bounds. This step sees the features standardised and compressed by an
       inverse hyperbolic sine, since a power transform pulls in just the extremes it looks for.
    3. The other rows are partitioned by K-means, by turns with a projection on the discriminants of the segments.
    4. The number of segments is the largest that halves of the rows confirm: even in the weakest segment, the pairs
       that the other half's partition keeps together exceed chance by ``min_strength`` of what is possible
       (prediction strength, mean over splits less its standard error; two segments need 0.8 at least, since any long
       cloud can be cut in the middle). If there is none, it is the one on which the halves agree best (adjusted Rand
       index), and `notes_` says so.

    Parameters
    ----------
    scaling : {"yeo-johnson", "robust", "standard"}, default="yeo-johnson"
        Scale of the features that the segments are made from, and of `transform`.
    reduction : {"discriminant", "pca"} or None, default="discriminant"
        Projection in which K-means runs: linear discriminants of the segments, the principal components that hold 90 %
        of the variance, or none.
    shrinkage : float in [0, 1] or None, default=None
        Shrinkage of the covariance within segments that the discriminants use. None takes 0.1 or 0.5, whichever gives
        the higher prediction strength; 0.1 if ``n_clusters`` is given.
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
    min_strength : float in [0, 1], default=0.5
        Prediction strength, corrected for chance and less its standard error, that a number of segments has to reach.
    n_splits : int, default=6
        Splits in halves that prediction strength is averaged over.
    n_init : int, default=10
        Starts of K-means, of which the best is kept.
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
        Distance of each row to the ``min_samples_``-th nearest, itself included; sorted it is the curve of which
        the knee gives `eps_`.
    core_sample_mask_ : ndarray of shape (n_samples,), bool
        Rows whose k-distance is at most `eps_`.
    outlier_score_ : ndarray of shape (n_samples,)
        `k_distances_` / `eps_`. Above 1 and away from every core row is an outlier.
    confidence_ : ndarray of shape (n_samples,)
        1 - (distance to the own centre / distance to the next centre): 1 at the centre of a segment, 0 on the border
        between two; 1 if there is one segment only, 0 for an outlier.
    shrinkage_ : float
        Shrinkage as used.
    silhouette_, silhouette_full_ : float or None
        Mean silhouette of the rows in a segment, in the space of the clustering and in the scaled space of all
        features. A projection made from the labels flatters the first. From a sample of 10,000 above that many rows.
    calinski_harabasz_, davies_bouldin_ : float or None
        Indices of the rows in a segment, in the space of the clustering. None, like the silhouettes, for fewer than
        two segments.
    choices_of_k_ : list of ChoiceOfK
        What each number of segments that was tried would have given; empty if ``n_clusters`` was given.
    ignored_features_ : ndarray of str
        Features (by name, or ``x0``, ``x1``, ...) that are constant or missing everywhere.
    notes_ : list of str
        What a reader has to know about this fit, such as why there is one segment only; empty if nothing.
    scaler_ : FeatureScaler
        The fitted scale; `transform` uses it.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
    Time is O(n^2 d) for the neighbours (one blocked matrix product) and O(n d k) for each K-means; memory is
    O(n (d + min_samples)). Fitting and predicting run on one thread, since sums over several threads are not
    repeatable to the bit.

    References
    ----------
    Ester, Kriegel, Sander and Xu 1996, "A density-based algorithm for discovering clusters" (DBSCAN).
    Satopaa, Albrecht, Irwin and Raghavan 2011, "Finding a 'kneedle' in a haystack".
    Ding and Li 2007, "Adaptive dimension reduction using discriminant analysis and K-means clustering".
    Tibshirani and Walther 2005, "Cluster validation by prediction strength".
    Hubert and Arabie 1985, "Comparing partitions".

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
        min_strength: float = 0.5,
        n_splits: int = 6,
        n_init: int = 10,
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
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: ARG002
        """Segment the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers; NaN where a value is missing.
        y : ignored
            Present by convention.

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
        rows: FloatArray = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        with threadpool_limits(1):
            return self._fit(rows)

    def _fit(self, X: FloatArray) -> Self:
        random = check_random_state(self.random_state)
        self.notes_: list[str] = []
        self.scaler_ = FeatureScaler(self.scaling).fit(X)
        names = getattr(self, "feature_names_in_", np.array([f"x{i}" for i in range(X.shape[1])], dtype=object))
        self.ignored_features_ = names[~self.scaler_.varying_]
        self._density_scaler = _Compression().fit(X)
        outlier = self._fit_density(self._density_scaler.transform(X))
        inside = X[~outlier]
        scaled_in = self._scaled(inside)
        # Learnt without the outliers, lest they stretch it; bounded, lest a feature that few customers have leads.
        compressed_in = np.clip(_Compression().fit(inside).transform(inside), -START_BOUND, START_BOUND)

        self.choices_of_k_: list[ChoiceOfK] = []
        self.shrinkage_ = self._shrinkages()[0]
        k = self._choose_k(scaled_in, compressed_in, random) if self.n_clusters is None else self.n_clusters
        self._partition = self._fit_partition(scaled_in, compressed_in, k, self.shrinkage_, random)
        self.n_clusters_ = len(self._partition.centres)
        if self.n_clusters_ < k:
            self.notes_.append(f"Only {self.n_clusters_} of {k} segments: there are no more distinct rows.")

        self.labels_ = np.full(len(X), OUTLIER, dtype=np.intp)
        self.labels_[~outlier] = self._partition.labels
        self.confidence_ = np.zeros(len(X))
        self.confidence_[~outlier] = _confidence(self._partition.centre_distances(scaled_in))
        quality = _quality(scaled_in, self._partition, SILHOUETTE_ROWS, random)
        self.silhouette_, self.silhouette_full_, self.calinski_harabasz_, self.davies_bouldin_ = quality
        return self

    def predict(self, X: ArrayLike) -> Labels:
        """Return the segment of each row of X, of shape (n_samples,); -1 for a row that is no core row's neighbour."""
        rows = self._validated(X)
        with threadpool_limits(1):
            labels = self._partition.assign(self._scaled(rows))
            labels[self._is_outlier(rows)] = OUTLIER
        return labels

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return X scaled, of shape (n_samples, n_features), without missing values."""
        return self._scaled(self._validated(X))

    def project(self, X: ArrayLike) -> FloatArray:
        """Return X in the space of the clustering, of shape (n_samples, n_components)."""
        rows = self._validated(X)
        with threadpool_limits(1):
            projected: FloatArray = self._scaled(rows) @ self._partition.projection
        return projected

    def outlier_score(self, X: ArrayLike) -> FloatArray:
        """Return the distance to the ``min_samples_``-th nearest fitted row divided by `eps_`, of shape (n_samples,).

        A row that was fitted counts as its own nearest, as in `outlier_score_`.
        """
        rows = self._validated(X)
        with threadpool_limits(1):
            distances, _ = nearest(self._fitted_rows, self._density_scaler.transform(rows), self.min_samples_)
        return distances[:, -1] / self.eps_

    def confidence(self, X: ArrayLike) -> FloatArray:
        """Return how clearly each row belongs to its segment, of shape (n_samples,), as in `confidence_`."""
        rows = self._validated(X)
        with threadpool_limits(1):
            confidence = _confidence(self._partition.centre_distances(self._scaled(rows)))
            confidence[self._is_outlier(rows)] = 0.0
        return confidence

    def _validated(self, X: ArrayLike) -> FloatArray:
        check_is_fitted(self)
        validated: FloatArray = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        return validated

    def _scaled(self, X: FloatArray) -> FloatArray:
        scaled: FloatArray = self.scaler_.transform(X)
        return scaled

    def _fit_density(self, compressed: FloatArray) -> NDArray[np.bool_]:
        """Fit the density step and return which rows are outliers."""
        n = len(compressed)
        self.min_samples_ = min(self.min_samples, n)
        found = neighbour_distances(compressed, self.min_samples_)
        if self.eps is None:
            self.eps_ = choose_eps(found, self.min_outlier_share, self.max_outlier_share)
        else:
            self.eps_ = float(self.eps)
        self.k_distances_ = found.k_distances
        self.outlier_score_ = found.k_distances / self.eps_
        self.core_sample_mask_ = found.k_distances <= self.eps_
        self._fitted_rows = compressed
        outlier = found.noise_radii > self.eps_
        if outlier.all():
            raise ValueError(f"All {n} rows are outliers at eps={self.eps_}: no row is left for a segment.")
        return outlier

    def _is_outlier(self, X: FloatArray) -> NDArray[np.bool_]:
        distances, _ = nearest(self._fitted_rows[self.core_sample_mask_], self._density_scaler.transform(X), 1)
        return distances[:, 0] > self.eps_

    def _shrinkages(self) -> tuple[float, ...]:
        if self.shrinkage is not None:
            return (self.shrinkage,)
        return SHRINKAGES if self.reduction == "discriminant" else SHRINKAGES[:1]

    def _fit_partition(
        self, scaled: FloatArray, compressed: FloatArray, k: int, shrinkage: float, random: np.random.RandomState
    ) -> Partition:
        return fit_partition(
            scaled,
            compressed,
            min(k, len(scaled)),
            reduction=self.reduction,
            shrinkage=shrinkage,
            n_init=self.n_init,
            random=random,
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
        # Of shape (splits, candidates, shrinkages, 2).
        confirmed = np.array([self._confirmed(scaled, compressed, candidates, random) for _ in range(self.n_splits)])
        sample = random.permutation(n)[:CURVE_ROWS]
        for position, k in enumerate(candidates):
            strengths, agreements = np.moveaxis(confirmed[:, position], -1, 0)
            best = int(strengths.mean(axis=0).argmax())
            strength, shrinkage = strengths[:, best], self._shrinkages()[best]
            partition = self._fit_partition(scaled[sample], compressed[sample], k, shrinkage, random)
            self.choices_of_k_.append(
                ChoiceOfK(
                    k,
                    float(strength.mean()),
                    float(strength.std() / np.sqrt(self.n_splits)),
                    *_quality(scaled[sample], partition, CURVE_ROWS, random),
                    smallest_share=float(np.bincount(partition.labels).min() / len(sample)),
                    agreement=float(agreements[:, 0].mean()),
                    shrinkage=shrinkage,
                )
            )
        strong = [choice for choice in self.choices_of_k_ if self._is_strong(choice)]
        if strong:
            self.shrinkage_ = strong[-1].shrinkage
            return strong[-1].k
        # With the least shrinkage: much of it comes near plain K-means, which cuts any long cloud at the same places.
        chosen = max(self.choices_of_k_, key=lambda choice: choice.agreement)
        self.notes_.append(
            f"No number of segments reaches the prediction strength asked for; halves of the customers agree best on "
            f"{chosen.k} (strength {chosen.prediction_strength:.2f}, adjusted Rand index {chosen.agreement:.2f}). The "
            "segments are cuts through a continuum rather than groups apart."
        )
        return chosen.k

    def _is_strong(self, choice: ChoiceOfK) -> bool:
        bar = max(self.min_strength, STRENGTH_OF_TWO) if choice.k == 2 else self.min_strength
        return choice.prediction_strength - choice.standard_error >= bar

    def _confirmed(
        self, scaled: FloatArray, compressed: FloatArray, candidates: range, random: np.random.RandomState
    ) -> list[list[tuple[float, float]]]:
        """Return prediction strength and agreement of each number and shrinkage on one split, means of both ways."""
        order = random.permutation(len(scaled))
        half = min(len(scaled) // 2, SPLIT_ROWS)
        first, second = order[:half], order[half : 2 * half]
        return [
            [
                _mean_confirmation(scaled[first], scaled[second], *pair)
                for pair in zip(
                    *(
                        fit_partitions(
                            scaled[rows],
                            compressed[rows],
                            k,
                            reduction=self.reduction,
                            shrinkages=self._shrinkages(),
                            n_init=self.n_init,
                            random=random,
                        )
                        for rows in (first, second)
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


class _Compression:
    """Standardise, compress, standardise: nearly linear within half a standard deviation, logarithmic far out.

    Unlike a power transform it leaves extremes far out, and does not spread on/off features to both sides.
    """

    def fit(self, X: FloatArray) -> Self:
        self._before = FeatureScaler("standard").fit(X)
        self._after = StandardScaler().fit(np.arcsinh(2 * self._before.transform(X)))
        return self

    def transform(self, X: FloatArray) -> FloatArray:
        compressed: FloatArray = self._after.transform(np.arcsinh(2 * self._before.transform(X)))
        return compressed


def _mean_confirmation(first: FloatArray, second: FloatArray, one: Partition, other: Partition) -> tuple[float, float]:
    """Return prediction strength and adjusted Rand index of two partitions on each other's rows."""
    pairs = ((other.labels, one.assign(second)), (one.labels, other.assign(first)))
    strengths, agreements = zip(
        *((prediction_strength(*pair), adjusted_rand_score(*pair)) for pair in pairs), strict=True
    )
    return sum(strengths) / 2, sum(agreements) / 2


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
