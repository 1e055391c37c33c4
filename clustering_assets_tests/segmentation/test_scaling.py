"""Scaling copes with every kind of feature."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import PowerTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from clustering_assets.segmentation.scaling import FeatureScaler


@parametrize_with_checks([FeatureScaler()])
def test_scikit_learn_estimator_contract(estimator, check):
    check(estimator)


def test_ordinary_features_are_scaled_by_the_method():
    X = np.random.default_rng(0).lognormal(size=(200, 3))
    np.testing.assert_allclose(FeatureScaler().fit_transform(X), PowerTransformer().fit_transform(X))


def test_missing_value_scales_to_the_centre():
    X = np.random.default_rng(0).lognormal(size=(200, 2))
    X[3, 1] = np.nan
    scaled = FeatureScaler().fit_transform(X)
    assert scaled[3, 1] == 0
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("method", ["yeo-johnson", "robust", "standard"])
def test_every_varying_feature_keeps_a_spread_that_can_be_compared(method):
    random = np.random.default_rng(0)
    X = np.column_stack(
        [
            random.normal(size=200),
            np.where(np.arange(200) < 10, random.lognormal(5, 1, 200), 0),  # mostly 0: no interquartile range
            1e9 + random.normal(size=200),  # far from 0 for its spread
            random.normal(size=200) * 1e-9,
        ]
    )
    spread = FeatureScaler(method).fit_transform(X).std(axis=0)
    assert (spread > 0.3).all()
    assert (spread < 3).all()


@pytest.mark.parametrize("method", ["yeo-johnson", "robust", "standard"])
def test_features_without_variation_scale_to_0(method):
    X = np.column_stack([np.full(20, 0.1), np.full(20, np.nan), np.arange(20.0)])
    scaler = FeatureScaler(method).fit(X)
    assert scaler.varying_.tolist() == [False, False, True]
    assert (scaler.transform(X)[:, :2] == 0).all()
