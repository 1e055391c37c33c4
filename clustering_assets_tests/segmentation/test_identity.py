"""Segments keep their id from fit to fit, and what is said of who changed adds up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustering_assets.segmentation.identity import (
    LEAST_OVERLAP,
    NEAR,
    flows,
    kept_share,
    match_segments,
    segment_changes,
    segments_before,
)


def customers(sizes: Mapping[int, int], first: int = 0) -> pd.Series[int]:
    """Segment id or label of each customer, by an id; customers are numbered in the order of the mapping."""
    segments = np.repeat(list(sizes), list(sizes.values()))
    return pd.Series(segments, index=[f"c{first + position:04}" for position in range(len(segments))])


def profiles(places: Mapping[int, float]) -> pd.DataFrame:
    """Profiles on a line: the distance of two is the difference of their places."""
    return pd.DataFrame({"a": places, "b": places}, dtype=float)


def match(
    before: pd.Series[int],
    now: pd.Series[int],
    next_id: int,
    places_before: Mapping[int, float] | None = None,
    places: Mapping[int, float] | None = None,
) -> dict[int, int]:
    """Match, by default with profiles that are far from each other."""
    far_before = {int(segment): 100.0 * segment for segment in before.unique() if segment >= 0}
    far = {int(label): -100.0 * (label + 1) for label in now.unique() if label >= 0}
    return match_segments(before, now, profiles(places_before or far_before), profiles(places or far), next_id)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(5)), st.integers(0, 50))
def test_permuted_labels_get_their_ids_back(order, offset):
    before = customers({offset + position: 10 + position for position in range(5)})
    label_of = dict(zip(sorted(before.unique()), order, strict=True))
    found = match(before, before.map(label_of), offset + 99)
    assert found == {label: segment for segment, label in label_of.items()}


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_label_gets_an_id_of_its_own_and_new_ones_were_never_given(data):
    ids = st.lists(st.integers(-1, 6), min_size=1, max_size=60)
    before, now = (pd.Series(data.draw(ids), dtype=int).rename(lambda i: f"c{i}") for _ in range(2))
    labels = {int(label) for label in now.unique() if label >= 0}
    found = match(before, now, 7)
    assert set(found) == labels
    assert len({*found.values()}) == len(found)
    born = sorted(segment for segment in found.values() if segment >= 7)
    assert born == list(range(7, 7 + len(born)))
    assert {segment for segment in found.values() if segment < 7} <= set(before)


def test_few_customers_who_move_change_no_id():
    before = customers({3: 50, 8: 50})
    now = before.map({3: 1, 8: 0})
    now.iloc[:20] = 0
    assert match(before, now, 9) == {0: 8, 1: 3}


def test_the_larger_part_of_a_split_keeps_the_id():
    before = customers({0: 100, 1: 40})
    now = customers({2: 45, 0: 55, 1: 40})
    assert match(before, now, 2) == {0: 0, 1: 1, 2: 2}


def test_where_parts_are_of_a_size_the_profile_decides():
    before = customers({0: 100})
    now = customers({0: 51, 1: 49})
    assert match(before, now, 1, {0: 0}, {0: 3, 1: 0}) == {0: 1, 1: 0}


def test_what_merged_keeps_the_id_of_the_larger_one_and_the_other_retires():
    before = customers({4: 60, 6: 90, 2: 50})
    now = customers({0: 150, 1: 50})
    assert match(before, now, 7) == {0: 6, 1: 2}


def test_a_segment_that_returns_after_a_gap_gets_a_new_id():
    first = customers({0: 60, 1: 40})
    gap = match(first, customers({0: 100}), 2)
    assert gap == {0: 0}
    again = match(customers({0: 100}), customers({0: 60, 1: 40}), 2)
    assert again == {0: 0, 1: 2}


def test_segments_with_under_half_of_their_customers_in_common_are_not_one():
    before = customers({0: 100, -1: 100})
    # the shared customers are 28 % of both together, and every customer is known
    now = pd.Series([0] * 44 + [-1] * 100 + [0] * 56, index=before.index)
    assert LEAST_OVERLAP > 44 / 156
    assert match(before, now, 1) == {0: 1}
    now.iloc[:60] = 0
    assert match(before, now, 1) == {0: 0}


@pytest.mark.parametrize(("distance", "segment"), [(0.0, 0), (NEAR * 0.99, 0), (NEAR * 1.01, 2)])
def test_without_shared_customers_profiles_decide(distance, segment):
    before, now = customers({0: 50, 1: 50}), customers({0: 30, 1: 70}, first=500)
    found = match(before, now, 2, {0: 0, 1: 5}, {0: 5, 1: distance})
    assert found == {0: 1, 1: segment}


def test_profiles_do_not_decide_where_customers_have_an_answer():
    before, now = customers({0: 50, 1: 50}), customers({1: 50, 0: 50})
    assert match(before, now, 2, {0: 0, 1: 1}, {0: 0, 1: 1}) == {0: 1, 1: 0}


def test_a_segment_that_new_customers_fill_again_is_the_same():
    """Newcomers became regulars, and others came who behave as those did."""
    before = customers({0: 80, 1: 20})
    now = pd.concat([pd.Series(0, index=before.index), customers({1: 20}, first=100)])
    assert match(before, now, 2, {0: 0, 1: 3}, {0: 0.1, 1: 3.1}) == {0: 0, 1: 1}


def test_outliers_are_nobodys_segment():
    before, now = customers({-1: 60, 0: 5}), customers({0: 60, -1: 5})
    assert match(before, now, 1) == {0: 1}


def named(segments: pd.Series[int]) -> pd.DataFrame:
    return pd.DataFrame({"segment_id": segments, "segment_name": segments.map("segment {}".format)})


def test_changes_are_those_of_a_hand_count():
    before = named(pd.Series({"a": 0, "b": 0, "c": 0, "d": 0, "e": 1, "f": -1}))
    now = named(pd.Series({"a": 0, "b": 1, "c": 1, "e": 1, "f": 0, "g": 5}))
    found = segment_changes(before, now).set_index("customer_id")
    assert found["change"].to_dict() == {"b": "moved", "c": "moved", "d": "left", "f": "moved", "g": "joined"}
    assert found.loc["b", ["from_segment_id", "to_segment_id"]].tolist() == [0, 1]
    assert found.loc["b", ["from_segment_name", "to_segment_name"]].tolist() == ["segment 0", "segment 1"]
    assert found["share_of_from"].dropna().to_dict() == {"b": 0.5, "c": 0.5, "d": 0.25, "f": 1.0}
    assert found["share_of_to"].dropna().to_dict() == pytest.approx({"b": 2 / 3, "c": 2 / 3, "f": 0.5, "g": 1.0})
    assert found.loc["d", ["to_segment_id", "to_segment_name"]].isna().all()
    assert found.loc["g", ["from_segment_id", "from_segment_name"]].isna().all()
    assert kept_share(before["segment_id"], now["segment_id"]) == 2 / 5


RUNS = st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(-1, 3), min_size=1).map(
    lambda run: named(pd.Series(run, dtype="int64"))
)


@settings(max_examples=25, deadline=None)
@given(RUNS, RUNS)
def test_nobody_is_lost_on_the_way(before, now):
    ways = flows(before, now)
    assert ways["customers"].sum() == len(before.index.union(now.index))
    for side, run in (("from", before), ("to", now)):
        by_segment = ways.groupby(f"{side}_segment_id")
        assert by_segment["customers"].sum().to_dict() == run["segment_id"].value_counts().to_dict()
        np.testing.assert_allclose(by_segment[f"share_of_{side}"].sum(), 1)


@settings(max_examples=25, deadline=None)
@given(RUNS, RUNS)
def test_the_changes_can_be_undone(before, now):
    undone = segments_before(segment_changes(before, now), now).sort_index()
    pd.testing.assert_frame_equal(undone, before.sort_index(), check_index_type=False)


@settings(max_examples=25, deadline=None)
@given(RUNS)
def test_nothing_changed_is_no_row(run):
    assert segment_changes(run, run).empty
    assert kept_share(run["segment_id"], run["segment_id"]) == 1


def test_without_shared_customers_nobody_kept_anything():
    assert kept_share(customers({0: 3}), customers({0: 3}, first=10)) is None
