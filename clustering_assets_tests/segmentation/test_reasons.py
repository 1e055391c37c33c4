"""Reasons are an exact account of the decision between two centres, held against a plain computation."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustering_assets.contracts import CUSTOMER_REASONS
from clustering_assets.segmentation.facts import FEATURES
from clustering_assets.segmentation.reasons import customer_reasons, margin_contributions

IDS = np.array([4, 0, 9])
REASON = re.compile(r"(\w+) (\S+) \(typical (\S+)\)")


class World:
    """Customers, three centres with gaps in their ids, and labels by the nearest centre; the first two are outliers."""

    def __init__(self, n: int = 80, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.scaled = random.normal(size=(n, len(FEATURES)))
        self.projection = random.normal(size=(len(FEATURES), 2))
        self.centres = random.normal(size=(3, 2)) * 5
        # Scales of their own, in the same order as the scaled ones.
        self.features = pd.DataFrame(np.exp(self.scaled), columns=FEATURES)
        self.distances = np.linalg.norm((self.scaled @ self.projection)[:, None] - self.centres, axis=2)
        self.labels = IDS[self.distances.argmin(axis=1)]
        self.labels[:2] = -1

    def reasons(self, **changed: object) -> pd.DataFrame:
        arguments = {
            "customer_ids": [f"customer {i}" for i in range(len(self.scaled))],
            "scaled": self.scaled,
            "labels": self.labels,
            "projection": self.projection,
            "centres": self.centres,
            "centre_segment_ids": IDS,
            "features": self.features,
        }
        return customer_reasons(**{**arguments, **changed})


def named(row: pd.Series) -> list[str]:
    return [row[f"reason_{place}"].split()[0] for place in (1, 2, 3) if not pd.isna(row[f"reason_{place}"])]


@given(st.integers(0, 1_000))
@settings(max_examples=25, deadline=None)
def test_contributions_add_up_to_the_margin(seed):
    world = World(20, seed)
    own, following = np.argsort(world.distances, axis=1)[:, :2].T
    mean = world.scaled.mean(axis=0)
    found = margin_contributions(world.scaled, own, following, world.projection, world.centres, mean)
    for i in range(20):
        margins = [
            np.sum((x @ world.projection - world.centres[following[i]]) ** 2)
            - np.sum((x @ world.projection - world.centres[own[i]]) ** 2)
            for x in (world.scaled[i], mean)
        ]
        assert found[i].sum() == pytest.approx(margins[0] - margins[1])


@given(st.integers(0, 1_000))
@settings(max_examples=10, deadline=None)
def test_it_is_a_plain_computation_per_customer(seed):
    world = World(30, seed)
    reasons = world.reasons()
    assert tuple(reasons.columns) == CUSTOMER_REASONS.column_names
    mean = world.scaled.mean(axis=0)
    for i, row in reasons.iterrows():
        order = np.argsort(world.distances[i])
        if world.labels[i] == -1:
            assert pd.isna(row["distance"])
            assert row["next_segment_id"] == IDS[order[0]]
            assert row["next_distance"] == pytest.approx(world.distances[i, order[0]])
            continue
        assert row["distance"] == pytest.approx(world.distances[i, order[0]])
        assert (row["segment_id"], row["next_segment_id"]) == (IDS[order[0]], IDS[order[1]])
        assert row["next_distance"] == pytest.approx(world.distances[i, order[1]])
        towards = world.projection @ (world.centres[order[0]] - world.centres[order[1]])
        contribution = 2 * (world.scaled[i] - mean) * towards
        strongest = [FEATURES[j] for j in np.argsort(-contribution)[:3] if contribution[j] > 0]
        assert named(row) == strongest


def test_a_reason_gives_the_value_and_the_typical_one():
    world = World()
    mean = dict(zip(FEATURES, world.scaled.mean(axis=0), strict=True))
    for i, row in world.reasons().iterrows():
        for place in (1, 2, 3):
            name, value, typical = REASON.fullmatch(row[f"reason_{place}"]).groups()
            assert float(value) == pytest.approx(world.features[name][i], rel=0.006, abs=1e-4)
            # Scaled by a logarithm, the mean scales to its exponential; in between two customers it is interpolated.
            assert float(typical) == pytest.approx(np.exp(mean[name]), rel=0.1)


@given(st.integers(0, 1_000))
@settings(max_examples=10, deadline=None)
def test_above_the_typical_value_is_above_the_mean(seed):
    world = World(40, seed)
    for i, row in world.reasons().iterrows():
        for name, value, typical in REASON.findall(str(row["reason_1"])):
            if value != typical:
                above = world.scaled[i, FEATURES.index(name)] > world.scaled[:, FEATURES.index(name)].mean()
                assert (float(value) > float(typical)) == above


def test_an_outlier_is_named_for_what_is_out_of_the_ordinary():
    world = World()
    world.features.loc[0, ["order_count", "mean_order_value", "return_rate"]] = [1e6, 1e5, 1e4]
    assert named(world.reasons().loc[0]) == ["order_count", "mean_order_value", "return_rate"]


def test_a_feature_that_hardly_anybody_has_does_not_break_the_deviation():
    world = World()
    world.features["adjacent_return_count"] = 0.0
    world.features.loc[0, "adjacent_return_count"] = 7
    assert "adjacent_return_count 7 (typical" in world.reasons().loc[0, ["reason_1", "reason_2", "reason_3"]].str.cat()


def test_features_that_play_no_part_are_not_named():
    world = World()
    allowed = {"order_count", "lifetime_days"}
    flat = np.where([name in allowed for name in FEATURES], world.scaled, 0.0)
    reasons = world.reasons(scaled=flat)
    assert {name for _, row in reasons.iterrows() for name in named(row)} == allowed
    assert reasons["reason_3"].isna().all()


def test_with_one_segment_there_is_no_next_and_no_reason():
    world = World()
    labels = np.where(np.arange(80) < 2, -1, 6)
    reasons = world.reasons(labels=labels, centres=world.centres[:1], centre_segment_ids=[6])
    inside = reasons[labels == 6]
    assert inside[["next_segment_id", "next_distance", "reason_1", "reason_2", "reason_3"]].isna().all(axis=None)
    assert inside["distance"].tolist() == pytest.approx(world.distances[2:, 0])
    outliers = reasons[labels == -1]
    assert (outliers["next_segment_id"] == 6).all()
    assert outliers["reason_1"].notna().all()


def test_an_unknown_value_is_called_unknown():
    world = World()
    deciding = named(world.reasons().loc[5])[0]
    world.features.loc[5, deciding] = np.nan
    assert world.reasons().loc[5, "reason_1"].startswith(f"{deciding} unknown (typical ")


def test_ids_and_order_are_those_given():
    world = World()
    backwards = np.arange(80)[::-1]
    there, back = (
        world.reasons(
            customer_ids=[str(i) for i in order],
            scaled=world.scaled[order],
            labels=world.labels[order],
            features=world.features.iloc[order],
        ).set_index("customer_id")
        for order in (np.arange(80), backwards)
    )
    assert back.index.tolist() == [str(i) for i in backwards]
    pd.testing.assert_frame_equal(back.loc[there.index], there)


def test_many_customers_are_taken_in_blocks(monkeypatch):
    world = World()
    whole = world.reasons()
    monkeypatch.setattr("clustering_assets.segmentation.reasons.BLOCK", 7)
    pd.testing.assert_frame_equal(world.reasons(), whole)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"labels": np.zeros(79)}, "79 labels"),
        ({"customer_ids": ["a"]}, "1 ids"),
        ({"centre_segment_ids": [4, 0, 0]}, "id of its own"),
        ({"centre_segment_ids": [4, 0]}, "id of its own"),
        ({"centre_segment_ids": [4, 0, 8]}, r"No centre for the segments \[9\]"),
    ],
)
def test_what_does_not_fit_together_is_refused(changed, reason):
    with pytest.raises(ValueError, match=reason):
        World().reasons(**changed)
