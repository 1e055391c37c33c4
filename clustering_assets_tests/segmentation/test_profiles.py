"""The profiles add up, agree with a plain recomputation, and names are unique and follow from the facts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clustering_assets.contracts import SEGMENT_PROFILES
from clustering_assets.segmentation.profiles import FEATURES, load_vocabulary, segment_profiles
from clustering_assets.segmentation.scaling import FeatureScaler
from clustering_assets_tests.segmentation.planted import shoppers


@pytest.fixture(scope="module")
def shop() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    features, kind = shoppers()
    labels = np.where(np.arange(len(kind)) < 12, -1, kind)
    return features, labels, FeatureScaler().fit_transform(features.to_numpy())


@pytest.fixture(scope="module")
def profiles(shop) -> pd.DataFrame:
    return segment_profiles(*shop, stability=[0.9, 0.8, 0.7, 0.6])


def test_one_row_per_segment_with_outliers_last(profiles):
    assert profiles["segment_id"].tolist() == [0, 1, 2, 3, -1]
    assert profiles["segment_name"].iloc[-1] == "Outliers"


def test_columns_are_those_of_the_contract(profiles):
    assert tuple(profiles.columns) == SEGMENT_PROFILES.column_names


def test_customers_and_shares_add_up(shop, profiles):
    assert profiles["customers"].sum() == len(shop[0])
    for share in ("share", "order_share", "value_share", "returned_value_share"):
        assert profiles[share].sum() == pytest.approx(1)
        assert profiles[share].between(0, 1).all()


def test_means_medians_and_shares_are_those_of_the_members(shop, profiles):
    features, labels, _ = shop
    members = features[labels == 2]
    row = profiles.set_index("segment_id").loc[2]
    value, total = (frame.mean_order_value * frame.order_count for frame in (members, features))
    assert row["value_share"] == pytest.approx(value.sum() / total.sum())
    for name in FEATURES:
        assert row[f"{name}_mean"] == pytest.approx(members[name].mean())
        assert row[f"{name}_median"] == pytest.approx(members[name].median())


def test_effect_size_is_the_standardised_difference_against_the_rest(shop, profiles):
    _, labels, scaled = shop
    name, effect = profiles["distinguishing_features"][0].split("; ")[0].split()
    values = scaled[:, FEATURES.index(name)]
    inside, rest = values[labels == 0], values[labels != 0]
    expected = (inside.mean() - rest.mean()) / np.sqrt((inside.var() + rest.var()) / 2)
    assert float(effect) == pytest.approx(expected, abs=0.005)


def test_names_follow_from_the_facts(profiles):
    assert profiles["segment_name"].tolist()[:4] == [
        "Never returns",
        "Occasional buyers",
        "Serial returners",
        "Slow returners",
    ]
    for row in profiles.itertuples():
        assert row.description.startswith(f"{row.segment_name}: {row.customers:,} customers")
        assert row.recommended_action


def test_segments_alike_get_different_names(shop):
    features, _, scaled = shop
    split = np.arange(len(features)) % 7
    names = segment_profiles(features, split, scaled)["segment_name"]
    assert names.is_unique


def test_outliers_have_no_silhouette_and_no_stability(profiles):
    assert profiles[["silhouette", "stability"]].iloc[-1].isna().all()
    assert profiles["silhouette"].iloc[:-1].between(-1, 1).all()
    assert profiles["stability"].tolist()[:-1] == [0.9, 0.8, 0.7, 0.6]


def test_values_unknown_for_everybody_give_null_shares(shop):
    features, labels, scaled = shop
    unpriced = features.assign(mean_order_value=np.nan, mean_return_value=0.0)
    profiles = segment_profiles(unpriced, labels, scaled)
    assert profiles[["value_share", "returned_value_share", "mean_order_value_mean"]].isna().all(axis=None)
    assert profiles["stability"].isna().all()
    assert profiles["order_share"].sum() == pytest.approx(1)


@pytest.mark.parametrize("n", [1, 2])
def test_one_segment_is_described(shop, n):
    features, _, scaled = shop
    profiles = segment_profiles(features.head(n), np.zeros(n, dtype=int), scaled[:n])
    assert profiles["customers"].tolist() == [n]
    assert profiles["distinguishing_features"].tolist() == [""]


def test_input_is_not_modified(shop):
    before = shop[0].copy()
    segment_profiles(*shop)
    pd.testing.assert_frame_equal(shop[0], before)


def test_missing_feature_is_named(shop):
    features, labels, scaled = shop
    with pytest.raises(ValueError, match="return_rate"):
        segment_profiles(features.drop(columns="return_rate"), labels, scaled)


def test_vocabulary_is_complete_and_knows_the_features():
    vocabulary = load_vocabulary()
    for entry in [vocabulary["outliers"], *vocabulary["names"]]:
        assert {"name", "summary", "action"} <= set(entry)
        entry["summary"].format_map(dict.fromkeys(FEATURES, 0.0))
        assert set(entry.get("when", {})) <= set(FEATURES)
    assert vocabulary["names"][-1]["when"] == {}
