"""Features on a common scale, and which of them are one. What is done with the scaled features does not belong here."""

from __future__ import annotations

import warnings
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.preprocessing import PowerTransformer, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

FloatArray = NDArray[np.float64]

SCALERS = {"yeo-johnson": PowerTransformer, "robust": RobustScaler, "standard": StandardScaler}

SAME = 1 - 1e-9
"""Two features whose correlation is beyond this, up to its sign, are one feature in two units."""
FEWEST_DISTINCT, DISTINCT_LOOKED_AT = 10, 1_000
"""That two features agree says something where so many of the first rows differ: two points always lie on a line."""
WIDEST_REACH = 1.5
"""A transform that is to pull the extremes in may throw them out by this factor at most."""


class FeatureScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Scale features by one method, whatever the features are like.

    A feature that is constant, or missing everywhere, scales to 0. A missing value scales to 0, the centre of its
    feature. Where the method cannot cope with a feature (interquartile range of 0, a power transform that leaves no
    spread or throws the extremes further out than they were), the feature is standardised instead. The last happens
    where most customers share one value, as after imputation by the mean.

    Parameters
    ----------
    method : {"yeo-johnson", "robust", "standard"}, default="yeo-johnson"
        Power transform to near-normal, median and interquartile range, or mean and standard deviation.

    Attributes
    ----------
    varying_ : ndarray of shape (n_features,), bool
        Features that are neither constant nor missing everywhere.
    standardised_ : ndarray of shape (n_features,), bool
        Features that were standardised because the method could not cope with them.
    """

    def __init__(self, method: str = "yeo-johnson") -> None:
        self.method = method

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: ARG002
        """Learn the scale of each column of X of shape (n_samples, n_features); NaN is allowed, infinity is not."""
        rows: FloatArray = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        self.varying_ = _varying(rows)
        columns = rows[:, self.varying_]
        if columns.shape[1]:
            self._standard = StandardScaler().fit(columns)
            # A Yeo-Johnson exponent can overflow on the way; what it leaves behind is looked at below.
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore", RuntimeWarning)
                self._method = SCALERS[self.method]().fit(columns)
                scaled = self._method.transform(columns)
                usable = _varying(scaled) & ~_reaches_further(scaled, self._standard.transform(columns))
            if self.method == "robust":
                usable &= np.nanquantile(columns, 0.75, axis=0) > np.nanquantile(columns, 0.25, axis=0)
        else:
            usable = np.ones(0, dtype=bool)
        self.standardised_ = np.zeros(rows.shape[1], dtype=bool)
        self.standardised_[self.varying_] = ~usable
        return self

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return X scaled, of shape (n_samples, n_features), without missing values."""
        check_is_fitted(self)
        rows: FloatArray = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        scaled = np.zeros(rows.shape)
        if self.varying_.any():
            columns = rows[:, self.varying_]
            with np.errstate(all="ignore"):
                values = self._method.transform(columns)
            fallback = self.standardised_[self.varying_]
            values[:, fallback] = self._standard.transform(columns)[:, fallback]
            scaled[:, self.varying_] = np.nan_to_num(values, nan=0.0)
        return scaled

    def __sklearn_tags__(self):  # type: ignore[no-untyped-def]
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class Compression:
    """Standardise, compress, standardise: nearly linear near the mean, logarithmic far out.

    Unlike a power transform it leaves extremes far out, and does not spread on/off features to both sides. Mean and
    deviation are those of the values pulled in to the quantiles ``tail`` and 1 - ``tail``, lest a few giants hide the
    lesser ones.
    """

    def __init__(self, steepness: float, tail: float = 0.0) -> None:
        self.steepness = steepness
        self.tail = tail

    def fit(self, X: FloatArray) -> Self:
        """Learn the scale of each column of X, of shape (n, n_features); NaN is allowed."""
        known = np.where(np.isnan(X).all(axis=0), 0.0, X)
        pulled_in = np.clip(known, *np.nanquantile(known, [self.tail, 1 - self.tail], axis=0))
        varying = FeatureScaler("standard").fit(pulled_in).varying_
        self._before = FeatureScaler("standard").fit(np.where(varying, pulled_in, known))
        self._after = StandardScaler().fit(self._compress(X))
        return self

    def transform(self, X: FloatArray) -> FloatArray:
        """Return X compressed, of shape (n, n_features), without missing values."""
        compressed: FloatArray = self._after.transform(self._compress(X))
        return compressed

    def _compress(self, X: FloatArray) -> FloatArray:
        compressed: FloatArray = np.arcsinh(self.steepness * self._before.transform(X))
        return compressed


def repeated_features(X: FloatArray, varying: NDArray[np.bool_]) -> dict[int, int]:
    """Return position of a feature -> position of an earlier one of which it is a linear function on every row."""
    if len(np.unique(X[:DISTINCT_LOOKED_AT], axis=0)) < FEWEST_DISTINCT:
        return {}
    places = np.flatnonzero(varying)
    unknown = np.isnan(X)
    values = np.nan_to_num(FeatureScaler("standard").fit(X).transform(X))
    correlations = np.abs(values.T @ values) / len(X)
    repeats: dict[int, int] = {}
    for position, place in enumerate(places):
        for first in places[:position]:
            alike = correlations[place, first] > SAME * np.sqrt(correlations[place, place] * correlations[first, first])
            if alike and first not in repeats and np.array_equal(unknown[:, place], unknown[:, first]):
                repeats[int(place)] = int(first)
                break
    return repeats


def _reaches_further(scaled: FloatArray, standardised: FloatArray) -> NDArray[np.bool_]:
    """Return in which columns the extremes lie much further out than after standardisation, infinity included."""
    reach = WIDEST_REACH * np.nanmax(np.abs(standardised), axis=0)
    further: NDArray[np.bool_] = ~(np.nanmax(np.abs(scaled), axis=0) <= reach)
    return further


def _varying(X: FloatArray) -> NDArray[np.bool_]:
    """Return which columns vary by more than the rounding of their values."""
    known = ~np.isnan(X)
    highest = np.where(known, X, -np.inf).max(axis=0)
    lowest = np.where(known, X, np.inf).min(axis=0)
    rounding = 1e-12 * np.maximum(np.abs(highest), np.abs(lowest))
    varying: NDArray[np.bool_] = known.any(axis=0) & (highest - lowest > rounding)
    return varying
