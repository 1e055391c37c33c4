"""Names and sentences for segments, from their facts and the vocabulary. No figures are computed here."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

import numpy as np
import pandas as pd

from clustering_assets.segmentation.facts import FEATURES, SHARES, Moments
from clustering_assets.segmentation.hybrid import OUTLIER
from clustering_assets.segmentation.vocabulary import Bounds, Entry, Vocabulary

NAME_SLACK = 0.1
"""A segment keeps its name until a bound is missed by this share of it, so that a name does not flicker from run to
run when a figure lies near a bound."""
SMALL_EFFECT = 0.2
LARGE_EFFECT = 0.8
"""Standardised differences: below the first they are negligible, from the second on large (Cohen 1988, "Statistical
power analysis")."""


def entries(
    facts: pd.DataFrame, shop: pd.Series[float], vocabulary: Vocabulary, known_names: Mapping[int, str]
) -> dict[int, Entry]:
    """Return the vocabulary's entry of each segment: the first whose conditions hold.

    A segment that had a name keeps its entry as long as the conditions hold with `NAME_SLACK` and no earlier entry's
    hold in spite of it.
    """
    own = facts.T
    return {
        segment: vocabulary.outliers
        if segment == OUTLIER
        else _entry(own[segment], shop, vocabulary, vocabulary.base_of(known_names.get(segment, "")))
        for segment in facts.index.tolist()
    }


def _entry(facts: pd.Series[float], shop: pd.Series[float], vocabulary: Vocabulary, known: Entry | None) -> Entry:
    if known is not None and _holds(known, facts, shop, NAME_SLACK):
        earlier = vocabulary.names[: vocabulary.names.index(known)]
        if not any(_holds(entry, facts, shop, -NAME_SLACK) for entry in earlier):
            return known
    return next(entry for entry in vocabulary.names if _holds(entry, facts, shop, 0.0))


def _holds(entry: Entry, facts: pd.Series[float], shop: pd.Series[float], slack: float) -> bool:
    return all(_within(bounds, facts[fact], shop[fact], slack) for fact, bounds in entry.when.items())


def _within(bounds: Bounds, value: float, shop: float, slack: float) -> bool:
    """Return whether a fact keeps the bounds; an unknown one does not, nor does a multiple of nothing."""
    times = value / shop if shop > 0 else np.nan
    lower = ((value, bounds.at_least), (times, bounds.times_at_least))
    upper = ((value, bounds.at_most), (times, bounds.times_at_most))
    return all(figure >= bound - slack * abs(bound) for figure, bound in lower if bound is not None) and all(
        figure <= bound + slack * abs(bound) for figure, bound in upper if bound is not None
    )


def unique_names(
    bases: Mapping[int, str], moments: Moments, vocabulary: Vocabulary, known_names: Mapping[int, str]
) -> dict[int, str]:
    """Return a name for each segment that no other has.

    Parameters
    ----------
    bases
        Segment -> name of its entry.
    moments
        Of the scaled features, for what tells segments of one base apart.
    vocabulary
        Its words qualify a name.
    known_names
        Names of the last run. One is kept if its base still is the segment's and its qualifier is not contradicted.

    Notes
    -----
    Segments that share a base are qualified by a feature in which the segment is above all of them, or below all, and
    on that side of the shop too: the first in the vocabulary's order by a large effect, else the one with the largest
    effect that is not negligible, if need be without regard to the shop. One that is extreme in nothing is compared
    with those that have no qualifier either, and goes without if there are none. A number is for segments that differ
    in nothing that has a word. Larger segments choose first.
    """
    names: dict[int, str] = {}
    for base in dict.fromkeys(bases.values()):
        group = sorted((s for s in bases if bases[s] == base), key=lambda s: (-moments.size(s), s))
        for segment in group:
            name = known_names.get(segment, "")
            if name not in names.values() and _still_fits(name, base, segment, group, moments, vocabulary):
                names[segment] = name
        if len(group) == 1:
            names.setdefault(group[0], base)
        for segment in group:
            if segment not in names:
                word = _qualifier(base, segment, group, names, moments, vocabulary)
                if word:
                    names[segment] = f"{base}, {word}"
        for segment in group:
            if segment not in names:
                rivals = [s for s in group if names.get(s, base) == base]
                word = _qualifier(base, segment, rivals, names, moments, vocabulary)
                numbers = (f"{base} {number}" for number in range(2, len(group) + 2))
                candidates = [f"{base}, {word}"] if word else [base, *numbers]
                names[segment] = next(name for name in candidates if name not in names.values())
    return names


def _still_fits(
    name: str, base: str, segment: int, group: Collection[int], moments: Moments, vocabulary: Vocabulary
) -> bool:
    entry = vocabulary.base_of(name)
    if segment == OUTLIER or entry is None or entry.name != base:
        return False
    qualifier = name.removeprefix(base)
    if not qualifier.startswith(", "):
        return True
    others = [s for s in group if s != segment] or moments.others(segment)
    effect = moments.effect(segment, others)
    return any(
        effect[feature] * sign > -SMALL_EFFECT
        for feature, sign, word in _words(vocabulary)
        if word == qualifier.removeprefix(", ")
    )


def _qualifier(
    base: str,
    segment: int,
    group: Collection[int],
    names: Mapping[int, str],
    moments: Moments,
    vocabulary: Vocabulary,
) -> str | None:
    """Return the word for what sets a segment apart from each other one of its group, None if there is none."""
    others = [s for s in group if s != segment]
    if not others:
        return None
    effects = np.stack([moments.effect(segment, [other]) for other in others])
    overall = moments.effect(segment, moments.others(segment))
    # Above all of the others; and, better still, above the shop, so that "few orders" are few.
    margins: dict[str, tuple[bool, float]] = {}
    for feature, sign, word in _words(vocabulary):
        if f"{base}, {word}" not in names.values():
            margin = (bool(overall[feature] * sign >= SMALL_EFFECT), float((effects[:, feature] * sign).min()))
            margins[word] = max(margin, margins.get(word, margin))
    telling = [word for word in margins if margins[word] >= (True, LARGE_EFFECT)]
    differing = [word for word in margins if margins[word][1] >= SMALL_EFFECT]
    return telling[0] if telling else max(differing, key=lambda word: margins[word], default=None)


def _words(vocabulary: Vocabulary) -> Iterator[tuple[int, int, str]]:
    """Yield place of the feature, direction and word, in the order of the vocabulary."""
    for feature, words in vocabulary.words.items():
        for sign, word in ((1, words.high), (-1, words.low)):
            if word is not None:
                yield FEATURES.index(feature), sign, word


def sentence(name: str, entry: Entry, facts: Mapping[Any, float], vocabulary: Vocabulary) -> str:
    """Return one sentence about a segment: the entry's clauses, filled with figures that are known, and its size."""
    known = {str(fact): Figure(value, str(fact) in SHARES) for fact, value in facts.items() if pd.notna(value)}
    parts = [
        ", ".join(
            clause.format_map(known)
            for clause in clauses
            if all(field is None or field in known for _, field, _, _ in Formatter().parse(clause))
        )
        for clauses in (entry.summary, vocabulary.closing)
    ]
    size = f"{Figure(facts['customers']):customer}, {facts['share']:.1%} of all"
    return f"{name}: {'; '.join(filter(None, [*parts, size]))}."


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is formatted for a sentence.

    A share is told in per cent, as "none" or "all" at the ends. Another number is rounded to a tenth below 10 and to a
    whole above, and its format specification is a noun that follows it: ``{order_count:order}`` gives "1 order" or
    "2.4 orders".
    """

    value: float
    is_share: bool = False

    def __format__(self, noun: str) -> str:
        if self.is_share:
            return _percent(self.value)
        text = f"{self.value:,.1f}".removesuffix(".0") if abs(self.value) < 10 else f"{self.value:,.0f}"
        return f"{text} {noun}{'' if text == '1' else 's'}" if noun else text


def _percent(share: float) -> str:
    if share in (0, 1):
        return "all" if share else "none"
    if 0 < share < 0.01:
        return "under 1%"
    return "over 99%" if 0.99 < share < 1 else f"{share:.0%}"
