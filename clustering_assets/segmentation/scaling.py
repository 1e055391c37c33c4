"""Features on a common scale, for the clustering. What is done with the scaled features does not belong here."""

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
