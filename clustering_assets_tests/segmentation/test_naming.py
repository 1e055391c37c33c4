"""Names follow the vocabulary, stay from run to run, are unique, and tell segments apart in words."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustering_assets.segmentation.facts import FEATURES, Moments, segment_facts
from clustering_assets.segmentation.naming import Figure, entries, sentence, unique_names
from clustering_assets.segmentation.vocabulary import FACTS, Vocabulary, load_vocabulary

VOCABULARY = load_vocabulary()
ORDINARY = {
    **dict.fromkeys(FACTS, 0.5),
    "return_rate": 0.1,
    "order_count": 8.0,
    "mean_order_value": 100.0,
    "days_to_return": 12.0,
    "customers": 50.0,
}
"""Facts of a shop, and of a segment that is like it."""


def name_of(known: str | None = None, **facts: float) -> str:
    known_names = {} if known is None else {3: known}
    found = entries(pd.DataFrame({3: {**ORDINARY, **facts}}).T, pd.Series(ORDINARY), VOCABULARY, known_names)
    return found[3].name


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"return_rate": 0.48}, "Serial returners"),
        ({"return_rate": 0.48, "days_to_return": 40}, "Serial returners"),
        ({"return_rate": 0.2, "days_to_return": 40}, "Slow returners"),
        ({"return_rate": 0.2}, "Frequent returners"),
        ({"returner_share": 0, "one_order_share": 0.9}, "One-time buyers"),
        ({"returner_share": 0.1, "new_share": 0.8}, "New customers"),
        ({"returner_share": 0.1, "inactive_share": 0.9}, "Lapsed customers"),
        ({"returner_share": 0.1, "return_rate": 0.01}, "Never returns"),
        ({"inactive_share": 0.9}, "Lapsed returners"),
        ({"seasonal_order_variation": 1.5}, "Seasonal buyers"),
        ({"mean_order_value": 180}, "High-value customers"),
        ({"order_count": 12}, "Efficient returners"),
        ({"return_rate": 0.04}, "Rare returners"),
        ({"days_to_return": np.nan}, "Occasional returners"),
        ({}, "Occasional returners"),
    ],
)
def test_the_first_entry_that_fits_gives_the_name(facts, name):
    assert name_of(**facts) == name


@given(st.dictionaries(st.sampled_from(sorted(FACTS)), st.floats(0, 1e6) | st.just(np.nan)), st.floats(0, 0.14))
@settings(deadline=None, max_examples=50)
def test_nobody_is_called_a_serial_returner_for_a_few_returns(facts, return_rate):
    assert name_of(**{**facts, "return_rate": return_rate}) not in {"Serial returners", "Frequent returners"}


@pytest.mark.parametrize(
    ("known", "return_rate", "name"),
    [
        (None, 0.29, "Frequent returners"),
        ("Serial returners", 0.29, "Serial returners"),
        ("Serial returners, big baskets", 0.29, "Serial returners"),
        ("Serial returners 2", 0.29, "Serial returners"),
        ("Serial returners", 0.26, "Frequent returners"),
        ("Frequent returners", 0.31, "Frequent returners"),
        ("Frequent returners", 0.34, "Serial returners"),
        # An entry without conditions always fits; it gives way where another fits beyond doubt.
        ("Occasional returners", 0.16, "Occasional returners"),
        ("Occasional returners", 0.17, "Frequent returners"),
        ("A name of old", 0.29, "Frequent returners"),
        ("Outliers", 0.29, "Frequent returners"),
    ],
)
def test_a_name_stays_until_it_is_missed_by_a_tenth(known, return_rate, name):
    assert name_of(known, return_rate=return_rate) == name


@given(st.floats(0.15, 0.6))
@settings(deadline=None, max_examples=50)
def test_a_name_that_was_given_is_given_again(return_rate):
    assert name_of(name_of(return_rate=return_rate), return_rate=return_rate) == name_of(return_rate=return_rate)


def moments(shifts: dict[int, dict[str, float]], n: int = 60) -> Moments:
    """Segments of n customers that are alike, but for these shifts in standard deviations of a feature."""
    random = np.random.default_rng(0)
    labels = np.repeat(list(shifts), n)
    scaled = random.normal(size=(n, len(FEATURES)))
    scaled = np.concatenate([scaled] * len(shifts))
    for segment, by in shifts.items():
        for feature, shift in by.items():
            scaled[labels == segment, FEATURES.index(feature)] += shift
    return Moments.of(scaled, labels)


def named(shifts: dict[int, dict[str, float]], known: dict[int, str] | None = None, base: str = "Serial returners"):
    return unique_names(dict.fromkeys(shifts, base), moments(shifts), VOCABULARY, known or {})


def test_two_of_a_kind_are_told_apart_by_what_differs():
    assert named({0: {"lines_per_order": 2}, 4: {}}) == {
        0: "Serial returners, big baskets",
        4: "Serial returners, small baskets",
    }


def test_a_business_word_goes_before_a_larger_difference():
    names = named({0: {"order_count": 1.5, "adjacent_return_count": 9}, 4: {}})
    assert names == {0: "Serial returners, many orders", 4: "Serial returners, few orders"}


def test_a_small_difference_is_better_than_a_number():
    assert set(named({0: {"mean_days_to_return": 0.4}, 4: {}}).values()) == {
        "Serial returners, slow to return",
        "Serial returners, quick to return",
    }


def test_who_is_in_the_middle_goes_without_a_word():
    names = named({0: {"lines_per_order": 2}, 1: {}, 2: {"lines_per_order": -2}})
    assert names == {
        0: "Serial returners, big baskets",
        1: "Serial returners",
        2: "Serial returners, small baskets",
    }


def test_a_number_is_for_those_that_differ_in_nothing():
    assert named({5: {}, 6: {}, 7: {}}) == {5: "Serial returners", 6: "Serial returners 2", 7: "Serial returners 3"}


def test_a_known_name_goes_before_a_new_one():
    shifts = {0: {"lines_per_order": 2}, 4: {}}
    assert named(shifts, {4: "Serial returners"}) == {0: "Serial returners, big baskets", 4: "Serial returners"}
    # The name that 0 would get is taken, and true of 4 too.
    names = named({0: {"order_count": 3}, 4: {"order_count": 3.1}}, {4: "Serial returners, many orders"})
    assert names[4] == "Serial returners, many orders"
    assert names[0] != names[4]


def test_a_qualifier_that_has_become_wrong_is_not_kept():
    names = named({0: {"lines_per_order": 2}, 4: {}}, {0: "Serial returners, small baskets"})
    assert names == {0: "Serial returners, big baskets", 4: "Serial returners, small baskets"}


def test_a_qualifier_stays_when_the_other_is_gone():
    assert named({4: {}}, {4: "Serial returners, small baskets"}) == {4: "Serial returners, small baskets"}


def test_a_word_that_left_the_vocabulary_is_not_kept():
    assert named({4: {}}, {4: "Serial returners, blue eyes"}) == {4: "Serial returners"}


@given(
    st.lists(st.sampled_from(["Never returns", "Slow returners", "Rare returners"]), min_size=1, max_size=9),
    st.integers(0, 100),
    st.data(),
)
@settings(deadline=None, max_examples=50)
def test_names_are_unique_and_go_back_to_their_base(bases, seed, data):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(bases)), 5)
    scaled = Moments.of(random.normal(size=(len(labels), len(FEATURES))), labels)
    texts = st.sampled_from(
        ["Never returns", "Never returns, big baskets", "Slow returners 2", "Rare returners, x", ""]
    )
    known = data.draw(st.dictionaries(st.integers(0, 9), texts))
    names = unique_names(dict(enumerate(bases)), scaled, VOCABULARY, known)
    assert len(set(names.values())) == len(bases)
    assert {s: VOCABULARY.base_of(name).name for s, name in names.items()} == dict(enumerate(bases))
    assert unique_names(dict(enumerate(bases)), scaled, VOCABULARY, names) == names


@pytest.mark.parametrize(
    ("value", "is_share", "noun", "text"),
    [
        (0.484, True, "", "48%"),
        (0.0, True, "", "none"),
        (1.0, True, "", "all"),
        (0.004, True, "", "under 1%"),
        (0.996, True, "", "over 99%"),
        (1.0, False, "order", "1 order"),
        (1.04, False, "order", "1 order"),
        (2.44, False, "order", "2.4 orders"),
        (15.5, False, "order", "16 orders"),
        (1234.5, False, "", "1,234"),
    ],
)
def test_figures_are_told_as_people_do(value, is_share, noun, text):
    assert format(Figure(value, is_share), noun) == text


def test_a_clause_about_the_unknown_is_left_out():
    facts = {**ORDINARY, "mean_order_value": np.nan, "value_share": np.nan}
    entry = next(entry for entry in VOCABULARY.names if entry.name == "High-value customers")
    text = sentence("High-value customers", entry, facts, VOCABULARY)
    assert text == "High-value customers: send back 10% of their lines; 50 customers, 50.0% of all."


def test_every_entry_makes_a_sentence():
    for entry in [VOCABULARY.outliers, *VOCABULARY.names]:
        text = sentence(entry.name, entry, ORDINARY, VOCABULARY)
        assert re.fullmatch(rf"{entry.name}: [^{{}}]+; they make up 50% of [^;]+; 50 customers, 50.0% of all\.", text)


def test_facts_are_those_of_the_members():
    features = pd.DataFrame(0.0, index=range(5), columns=FEATURES).assign(
        order_count=[1, 4, 2, 2, 1],
        recent_order_count=[1, 0, 2, 1, 0],
        returned_line_count=[0, 2, 1, 0, 0],
        mean_days_to_return=[0, 10, 0, 0, 0],
        mean_order_value=[10, 20, 30, 40, 50],
        mean_return_value=[0, 5, 7, 0, 0],
    )
    facts = segment_facts(features, np.array([0, 0, 0, 8, 8])).T
    told = ["returner_share", "one_order_share", "inactive_share", "new_share", "days_to_return", "customer_value"]
    assert facts[0][told].tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 3, 2 / 3, 10, 50])
    assert facts[8][told].tolist() == pytest.approx([0, 0.5, 0.5, 0, np.nan, 65], nan_ok=True)
    shares = ["share", "order_share", "value_share", "returned_value_share"]
    assert facts[0][shares].tolist() == pytest.approx([3 / 5, 7 / 10, 150 / 280, 1])


def test_conditions_bound_the_fact_and_its_multiple_of_the_shop():
    custom = Vocabulary.model_validate(
        {
            **VOCABULARY.model_dump(),
            "names": [
                {
                    "name": "Both",
                    "when": {"order_count": {"at_most": 9, "times_at_least": 1.5}},
                    "summary": [],
                    "action": "",
                },
                {"name": "Rest", "summary": [], "action": ""},
            ],
        }
    )
    for value, shop, name in [(9, 6, "Both"), (9.1, 6, "Rest"), (8.9, 6, "Rest"), (9, 0, "Rest"), (np.nan, 6, "Rest")]:
        found = entries(pd.DataFrame({0: {"order_count": value}}).T, pd.Series({"order_count": shop}), custom, {})
        assert found[0].name == name
