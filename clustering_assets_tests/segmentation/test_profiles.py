"""The profiles add up, agree with a plain recomputation and follow the contract, whatever the customers are like."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clustering_assets.conformance import violations
from clustering_assets.contracts import CUSTOMER_REASONS, SEGMENT_PROFILES, TableContract
from clustering_assets.segmentation.profiles import FEATURES, segment_profiles
from clustering_assets.segmentation.reasons import customer_reasons
from clustering_assets.segmentation.scaling import FeatureScaler
from clustering_assets.segmentation.vocabulary import load_vocabulary
from clustering_assets.warehouse import Warehouse, replace_table
from clustering_assets_tests.segmentation.planted import shoppers


@pytest.fixture(scope="module")
def shop() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    features, kind = shoppers()
    labels = np.where(np.arange(len(kind)) < 12, -1, kind)
    return features, labels, FeatureScaler().fit_transform(features.to_numpy())


@pytest.fixture(scope="module")
def profiles(shop) -> pd.DataFrame:
    return segment_profiles(*shop, stability={0: 0.9, 1: 0.8, 2: 0.7, 3: 0.6})


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory) -> Warehouse:
    return Warehouse(tmp_path_factory.mktemp("home"))


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
        "Rare returners",
        "Serial returners",
        "Slow returners",
    ]
    for row in profiles.itertuples():
        assert row.description.startswith(f"{row.segment_name}: ")
        assert row.description.endswith(f"; {row.customers:,} customers, {row.share:.1%} of all.")
        assert row.recommended_action


def test_rules_say_who_is_in_the_segment(profiles):
    """On customers that the labels were never shown for: drawn anew from the same four kinds."""
    features, kind = shoppers(seed=1)
    for row in profiles[profiles["segment_id"] >= 0].itertuples():
        follows = features.eval(row.rule).to_numpy()
        assert np.mean(kind[follows] == row.segment_id) == pytest.approx(row.rule_precision, abs=0.08)
        assert np.mean(follows[kind == row.segment_id]) == pytest.approx(row.rule_recall, abs=0.08)
        assert row.rule_precision > 0.9
        assert row.rule_recall > 0.9


def test_ids_may_have_gaps(shop, profiles):
    features, labels, scaled = shop
    ids = np.array([7, 40, 3, 19])
    stability = {7: 0.9, 40: 0.8, 3: 0.7, 19: 0.6}
    gaps = segment_profiles(features, np.where(labels < 0, -1, ids[labels]), scaled, stability=stability)
    assert gaps["segment_id"].tolist() == [3, 7, 19, 40, -1]
    same = gaps.set_index("segment_id").loc[[*ids, -1]].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, profiles.drop(columns="segment_id"), check_names=False)


def test_names_of_the_last_run_stay(shop):
    known = {2: "Serial returners, big baskets", 3: "A name of old"}
    names = segment_profiles(*shop, known_names=known).set_index("segment_id")["segment_name"]
    assert names[2] == "Serial returners, big baskets"
    assert names[3] == "Slow returners"


def test_a_run_names_its_segments_as_it_did_before(shop):
    features, _, scaled = shop
    split = np.arange(len(features)) % 5
    before = segment_profiles(features, split, scaled)
    known = dict(zip(before["segment_id"], before["segment_name"], strict=True))
    again = segment_profiles(features, split, scaled, known_names=known)
    pd.testing.assert_frame_equal(again, before)


def test_savings_follow_from_the_returns_of_the_segment(shop, profiles):
    features, labels, _ = shop
    costs = load_vocabulary().costs
    for row in profiles.itertuples():
        members = features[labels == row.segment_id]
        handling = members["returned_line_count"].sum() * costs.handling_per_line.value
        loss = (members["returned_line_count"] * members["mean_return_value"]).sum() * costs.value_lost_share.value
        assert row.return_cost == pytest.approx(handling + loss)
        averted = {"Serial returners": (0.15, 0.15), "Slow returners": (0, 0.3)}.get(row.segment_name, (0, 0))
        assert row.possible_saving == pytest.approx(handling * averted[0] + loss * averted[1])


def test_outliers_have_no_silhouette_and_no_stability(profiles):
    assert profiles[["silhouette", "stability"]].iloc[-1].isna().all()
    assert profiles["silhouette"].iloc[:-1].between(-1, 1).all()
    assert profiles["stability"].tolist()[:-1] == [0.9, 0.8, 0.7, 0.6]


def test_input_is_not_modified(shop):
    before = shop[0].copy()
    segment_profiles(*shop)
    pd.testing.assert_frame_equal(shop[0], before)


def test_missing_feature_is_named(shop):
    features, labels, scaled = shop
    with pytest.raises(ValueError, match="return_rate"):
        segment_profiles(features.drop(columns="return_rate"), labels, scaled)


RETURNS = [column for column in FEATURES if "return" in column]
MONEY = ["mean_order_value", "mean_return_value", "high_value_return_affinity"]


def _members(n: int) -> pd.DataFrame:
    return shoppers(max(n, 1))[0].clip(upper=1).head(n)


AWKWARD = {
    "one customer": (_members(1), [0]),
    "one customer, an outlier": (_members(1), [-1]),
    "three customers": (_members(3), [0, 0, -1]),
    "three segments of one": (_members(3), [4, 2, 9]),
    "all alike": (_members(1).loc[[0] * 40], [0] * 40),
    "all alike, in two segments": (_members(1).loc[[0] * 40], [0, 1] * 20),
    "all outliers but one": (_members(40), [-1] * 39 + [5]),
    "all outliers": (_members(40), [-1] * 40),
    "no money": (_members(60).assign(mean_order_value=np.nan, mean_return_value=0.0), [0, 1, -1] * 20),
    "no returns": (_members(60).assign(**dict.fromkeys(RETURNS, 0.0)), [0, 1, -1] * 20),
    "nothing known but orders": (
        _members(60).assign(**{name: np.nan for name in FEATURES if name != "order_count"}),
        [0, 1, -1] * 20,
    ),
}


@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_customers_are_explained_too(case, warehouse):
    features, labels = AWKWARD[case]
    scaled = FeatureScaler().fit_transform(features.to_numpy())
    profiles = segment_profiles(features, labels, scaled)
    centre_ids = sorted({label for label in labels if label >= 0}) or [0]
    projection = np.eye(len(FEATURES))[:, :3]
    centres = np.arange(3.0 * len(centre_ids)).reshape(-1, 3)
    ids = [f"customer {i}" for i in range(len(features))]
    reasons = customer_reasons(ids, scaled, labels, projection, centres, centre_ids, features)

    assert profiles["segment_name"].is_unique
    assert profiles["customers"].sum() == len(features)
    spoken = pd.concat([profiles["description"], profiles["saving_assumption"], profiles["rule"], reasons["reason_1"]])
    assert not spoken.dropna().str.contains(r"nan\b|None|inf\b|\b0\.0\b|-0\b").any()
    for contract, rows in ((SEGMENT_PROFILES, profiles), (CUSTOMER_REASONS, reasons)):
        assert _broken(contract, rows, warehouse) == []


def _broken(contract: TableContract, rows: pd.DataFrame, warehouse: Warehouse) -> list[str]:
    with warehouse.connect() as backend:
        replace_table(backend, contract, rows)
        return violations(backend, contract)


def test_without_money_no_cost_is_known_and_only_what_saves_nothing_is_reckoned(shop):
    features, labels, scaled = shop
    unpriced = features.assign(mean_order_value=np.nan, mean_return_value=0.0)
    profiles = segment_profiles(unpriced, labels, scaled).set_index("segment_name")
    unknown = ["value_share", "returned_value_share", "mean_order_value_mean", "return_cost"]
    assert profiles[unknown].isna().all(axis=None)
    assert np.isnan(profiles.loc["Serial returners", "possible_saving"])
    assert profiles.loc["Never returns", "possible_saving"] == 0
    assert not profiles["description"].str.contains("value").any()
    assert profiles["order_share"].sum() == pytest.approx(1)


def test_features_that_play_no_part_are_not_named(shop):
    features, labels, scaled = shop
    ignored = ["return_rate", "returned_line_count", "order_return_rate"]
    flat = scaled.copy()
    flat[:, [FEATURES.index(name) for name in ignored]] = 0
    profiles = segment_profiles(features, labels, flat)
    told = profiles["distinguishing_features"] + " " + profiles["rule"].fillna("")
    for name in ignored:
        assert not told.str.contains(rf"\b{name}\b").any()
