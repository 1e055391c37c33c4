"""A readable rule per segment: a shallow decision tree stands in for the segmentation (surrogate model)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from clustering_assets.contracts import CLUSTERING_FEATURES

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

MAX_DEPTH = 3
LEAST_CUSTOMERS = 10
"""A rule is made for a segment of at least so many customers, set against at least so many others."""
FOLDS = 5
PRICE_OF_A_CONDITION = 0.02
"""F1 that each further condition of a rule has to gain; a second path costs as much again."""
PRICE_OF_A_DIGIT = 0.002
"""F1 that rounding a threshold may lose."""

WHOLE = frozenset(column.name for column in CLUSTERING_FEATURES if column.type == "int64")


class SurrogateRule(NamedTuple):
    """A rule in words and its fidelity on customers that it was not learnt from.

    ``precision`` is the share of the customers who follow the rule that are in the segment, ``recall`` the share of the
    segment's customers who follow the rule. All are None where the segment, or what it is set against, is too small or
    no feature tells them apart.
    """

    rule: str | None
    precision: float | None
    recall: float | None


NO_RULE = SurrogateRule(None, None, None)


@dataclass(frozen=True, slots=True)
class _Condition:
    feature: int
    is_above: bool
    threshold: float

    def holds(self, values: FloatArray) -> Mask:
        column = values[:, self.feature]
        mask: Mask = column > self.threshold if self.is_above else column <= self.threshold
        return mask


_Path = tuple[_Condition, ...]
"""Conditions that all hold."""
_Rule = tuple[_Path, ...]
"""Paths of which one is followed."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """Values of customers, whether each is in the segment, how many customers each stands for, and whole features."""

    values: FloatArray
    inside: Mask
    weights: FloatArray
    whole: list[bool]

    def at(self, rows: NDArray[Any]) -> _Sample:
        return replace(self, values=self.values[rows], inside=self.inside[rows], weights=self.weights[rows])

    def f1(self, follows: Mask) -> float:
        hits, followers = self.weights[follows & self.inside].sum(), self.weights[follows].sum()
        return float(2 * hits / (followers + self.weights[self.inside].sum()))


def surrogate_rule(
    features: pd.DataFrame, inside: Mask, *, max_rows: int = 10_000, random_state: int = 0
) -> SurrogateRule:
    """Return a rule for who is in a segment.

    Parameters
    ----------
    features : DataFrame of n rows
        Features that the rule may speak of, in their own units. A row without a value meets no condition on it.
    inside : ndarray of shape (n,), bool
        Who is in the segment.
    max_rows : int
        Most customers of the segment, and most of the others, that the rule is learnt from.
    random_state : int

    Notes
    -----
    Two decision trees of depth 3, with and without balanced classes, are grown for the segment against all others. The
    path to every node, and to any two nodes of a tree, is a candidate; taken is the one with the highest F1 (harmonic
    mean of precision and recall) less 0.02 per condition and per path. Conditions that do not earn that price are left
    out, then thresholds are rounded as far as F1 stays. Precision and recall come from five-fold cross-validation of
    the whole procedure, pooled over the folds. Where there are more than ``max_rows``, a sample is drawn, in which each
    row weighs as much as the rows it stands for.

    References
    ----------
    Craven and Shavlik 1996, "Extracting tree-structured representations of trained networks" (fidelity of a surrogate).
    """
    if features.shape[1] == 0 or min(np.count_nonzero(inside), np.count_nonzero(~inside)) < LEAST_CUSTOMERS:
        return NO_RULE
    # Sums over several threads do not repeat to the bit, and a close choice would flip.
    with threadpool_limits(1):
        return _cross_validated(
            _sampled(features, inside, max_rows, random_state), list(features.columns), random_state
        )


def _cross_validated(sample: _Sample, names: list[str], random_state: int) -> SurrogateRule:
    text = _in_words(_learnt(sample, random_state), names)
    if text is None:
        return NO_RULE
    follows = np.zeros(len(sample.inside), dtype=bool)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=random_state)
    for learnt_from, held_out in folds.split(sample.inside, sample.inside):
        rule = _learnt(sample.at(learnt_from), random_state)
        follows[held_out] = _follows(rule, sample.values[held_out])
    hits, followers = sample.weights[follows & sample.inside].sum(), sample.weights[follows].sum()
    return SurrogateRule(
        text,
        float(hits / followers) if followers else None,
        float(hits / sample.weights[sample.inside].sum()),
    )


def _sampled(features: pd.DataFrame, inside: Mask, max_rows: int, random_state: int) -> _Sample:
    random = check_random_state(random_state)
    sides = [np.flatnonzero(inside), np.flatnonzero(~inside)]
    drawn = [np.sort(random.permutation(side)[:max_rows]) for side in sides]
    weights = np.concatenate([np.full(len(d), len(side) / len(d)) for side, d in zip(sides, drawn, strict=True)])
    rows = np.concatenate(drawn)
    # A column to the array, since each is looked at many times.
    values = np.asfortranarray(features.iloc[rows].to_numpy(dtype=np.float64))
    return _Sample(values, inside[rows], weights, [name in WHOLE for name in features.columns])


def _learnt(sample: _Sample, random_state: int) -> _Rule:
    """Return the rule that suits the sample best."""
    # The trees see the median where a value is missing; the rule is judged on the values as they are.
    medians = pd.DataFrame(sample.values).median().fillna(0.0).to_numpy()
    filled = np.where(np.isnan(sample.values), medians, sample.values)
    least = max(3, np.count_nonzero(sample.inside) // 20)
    paths: list[_Path] = []
    for balance in ("balanced", None):
        tree = DecisionTreeClassifier(
            max_depth=MAX_DEPTH, min_samples_leaf=least, class_weight=balance, random_state=random_state
        )
        paths += _paths(tree.fit(filled, sample.inside, sample.weights))
    if not paths:
        return ()
    masks = np.stack([_follows((path,), sample.values) for path in paths]).astype(np.float64)
    hits, followers = (_of_either(masks, weights) for weights in (sample.weights * sample.inside, sample.weights))
    f1 = 2 * hits / (followers + sample.weights[sample.inside].sum())
    price = np.array([len(path) + 1 for path in paths])
    prices = price[:, None] + price - np.diag(price)
    first, second = sorted(np.unravel_index(np.argmax(f1 - PRICE_OF_A_CONDITION * prices), f1.shape))
    rule = (paths[first],) if first == second else (paths[first], paths[second])
    return _rounded(_pruned(rule, sample), sample)


def _of_either(masks: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weight of the rows that are in mask i or in mask j, of shape (n_masks, n_masks)."""
    each = masks @ weights
    either: FloatArray = each[:, None] + each - (masks * weights) @ masks.T
    return either


def _paths(tree: DecisionTreeClassifier) -> list[_Path]:
    """Return the conditions on the way to each node but the root, one above and one below each feature at most."""
    nodes = tree.tree_
    paths: list[_Path] = []

    def descend(node: int, way: dict[tuple[int, bool], float]) -> None:
        if way:
            paths.append(tuple(_Condition(*at, threshold) for at, threshold in way.items()))
        if nodes.children_left[node] >= 0:
            feature, threshold = int(nodes.feature[node]), float(nodes.threshold[node])
            # Further down a threshold is always tighter.
            descend(nodes.children_left[node], {**way, (feature, False): threshold})
            descend(nodes.children_right[node], {**way, (feature, True): threshold})

    descend(0, {})
    return paths


def _follows(rule: _Rule, values: FloatArray) -> Mask:
    follows = np.zeros(len(values), dtype=bool)
    for path in rule:
        follows |= np.all([condition.holds(values) for condition in path], axis=0)
    return follows


def _pruned(rule: _Rule, sample: _Sample) -> _Rule:
    """Return the rule without conditions that do not earn their price, the least useful first."""
    f1 = sample.f1(_follows(rule, sample.values))
    while True:
        shorter = [
            (*rule[:i], (*path[:j], *path[j + 1 :]), *rule[i + 1 :])
            for i, path in enumerate(rule)
            if len(path) > 1
            for j in range(len(path))
        ]
        if not shorter:
            return rule
        scores = [sample.f1(_follows(candidate, sample.values)) for candidate in shorter]
        best = int(np.argmax(scores))
        if scores[best] < f1 - PRICE_OF_A_CONDITION:
            return rule
        rule, f1 = shorter[best], scores[best]


def _rounded(rule: _Rule, sample: _Sample) -> _Rule:
    """Return the rule with each threshold in as few digits as do not matter."""
    for i, path in enumerate(rule):
        for j, condition in enumerate(path):
            bar = sample.f1(_follows(rule, sample.values)) - PRICE_OF_A_DIGIT
            exact = float(np.floor(condition.threshold)) if sample.whole[condition.feature] else condition.threshold
            for threshold in (0.0, *(float(f"{exact:.{digits}g}") for digits in range(1, 18))):
                changed = (*path[:j], replace(condition, threshold=threshold), *path[j + 1 :])
                rounded = (*rule[:i], changed, *rule[i + 1 :])
                if sample.f1(_follows(rounded, sample.values)) >= bar:
                    rule, path = rounded, changed
                    break
    return rule


def _in_words(rule: _Rule, names: list[str]) -> str | None:
    """Return ``a > 1 and 2 < b <= 3``, two paths in brackets; None for a rule that nobody follows."""
    texts = [" and ".join(_bounds(path, names)) for path in rule]
    return " or ".join(f"({text})" for text in texts) if len(texts) > 1 else next(iter(texts), None)


def _bounds(path: _Path, names: list[str]) -> Iterator[str]:
    for feature in dict.fromkeys(condition.feature for condition in path):
        name, bounds = names[feature], {c.is_above: f"{c.threshold:.15g}" for c in path if c.feature == feature}
        if len(bounds) == 2:
            yield f"{bounds[True]} < {name} <= {bounds[False]}"
        else:
            yield f"{name} > {bounds[True]}" if True in bounds else f"{name} <= {bounds[False]}"
