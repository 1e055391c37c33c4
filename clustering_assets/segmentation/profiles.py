"""What the segments are: sizes, values, typical behaviour, what sets them apart, names. No clustering here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import silhouette_samples
from sklearn.utils import check_random_state

from clustering_assets.contracts import CLUSTERING_FEATURES

FEATURES = [column.name for column in CLUSTERING_FEATURES]
OUTLIER = -1
SILHOUETTE_ROWS = 10_000
SMALL_EFFECT = 0.2
"""Standardised differences below this are called negligible (Cohen 1988, "Statistical power analysis")."""
NAMED_DIFFERENCES = 5


def load_vocabulary(path: Path | None = None) -> dict[str, Any]:
    """Return names, summaries and actions of segments from a YAML file; by default the one beside this module."""
    path = path or Path(__file__).with_name("vocabulary.yaml")
    vocabulary: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return vocabulary


def segment_profiles(
    features: pd.DataFrame,
    labels: ArrayLike,
    scaled: ArrayLike,
    *,
    stability: Sequence[float] | None = None,
    vocabulary: Mapping[str, Any] | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Describe each segment by the facts about its customers.

    Parameters
    ----------
    features : DataFrame of n rows
        One row per customer with the 35 clustering features, in their own units; other columns are not looked at.
    labels : array-like of shape (n,)
        Segments from 0 up; -1 for outliers.
    scaled : array-like of shape (n, 35)
        The same features scaled, in the same order, without missing values.
    stability : sequence of float, optional
        Stability of segment 0, 1, ...
    vocabulary : mapping, optional
        Names and actions; by default `load_vocabulary`.
    random_state : int
        Seed of the sample that silhouettes are computed from above 10,000 customers in a segment.

    Returns
    -------
    DataFrame
        One row per segment, the outliers last: ``segment_id``, ``segment_name`` (unique), ``description``,
        ``customers``, ``share``, ``order_share``, ``value_share``, ``returned_value_share`` (all 0..1; null where the
        shop's total is not known or not positive), ``<feature>_mean`` and ``<feature>_median`` of the 35 features in
        their own units, ``distinguishing_features`` (up to five, as "name +1.23", joined by ';'; the number is the
        difference of means against all other customers in standard deviations, of the scaled feature),
        ``silhouette`` (mean over the customers, in the scaled space), ``stability``, ``recommended_action``.
        Silhouette and stability of outliers are null.

    Raises
    ------
    ValueError
        If a feature is missing or the lengths differ.
    """
    labels, scaled = np.asarray(labels), np.asarray(scaled, dtype=np.float64)
    missing = [name for name in FEATURES if name not in features.columns]
    if missing:
        raise ValueError(f"Features are missing: {', '.join(missing)}")
    if labels.shape != (len(features),) or scaled.shape != (len(features), len(FEATURES)):
        raise ValueError(f"{len(features)} customers, but labels {labels.shape} and scaled {scaled.shape}")
    vocabulary = load_vocabulary() if vocabulary is None else vocabulary
    own = features[FEATURES].reset_index(drop=True).astype(np.float64)
    effects = _effect_sizes(labels, scaled)
    grouped = own.groupby(labels)
    means, medians = grouped.mean(), grouped.median()
    profiles = pd.DataFrame({"customers": grouped.size()})
    profiles["share"] = profiles["customers"] / max(len(own), 1)
    profiles["order_share"] = _shares(own["order_count"], labels)
    profiles["value_share"] = _shares(own["mean_order_value"] * own["order_count"], labels)
    profiles["returned_value_share"] = _shares(own["mean_return_value"] * own["returned_line_count"], labels)
    for name in FEATURES:
        profiles[f"{name}_mean"], profiles[f"{name}_median"] = means[name], medians[name]
    profiles["distinguishing_features"] = [_differences(effects.loc[segment]) for segment in profiles.index]
    profiles["silhouette"] = _silhouettes(labels, scaled, random_state)
    profiles["stability"] = pd.Series(stability, dtype=np.float64)

    entries = {segment: _entry(segment, means.loc[segment], own.mean(), vocabulary) for segment in profiles.index}
    names = _unique_names({segment: entry["name"] for segment, entry in entries.items()}, effects)
    profiles.insert(0, "segment_name", pd.Series(names))
    sizes = {segment: np.count_nonzero(labels == segment) for segment in entries}
    descriptions = [
        f"{names[segment]}: {size:,} customers ({size / len(own):.1%}) who "
        f"{entries[segment]['summary'].format_map(means.loc[segment])}."
        for segment, size in sizes.items()
    ]
    profiles.insert(1, "description", descriptions)
    profiles["recommended_action"] = [entry["action"] for entry in entries.values()]
    profiles = profiles.rename_axis("segment_id").reset_index()
    return profiles.sort_values("segment_id", key=lambda ids: ids.where(ids >= 0, np.inf), ignore_index=True)


def _shares(values: pd.Series[float], labels: NDArray[Any]) -> pd.Series[float]:
    """Return each segment's share of the total; null without a total to divide."""
    total = values.sum()
    return values.groupby(labels).sum() / (total if total > 0 else np.nan)


def _effect_sizes(labels: NDArray[Any], scaled: NDArray[np.float64]) -> pd.DataFrame:
    """Return standardised mean differences against the rest, one row per segment, one column per feature.

    The standard deviation is the root of the mean of both variances; where neither side varies it is taken as 1, the
    unit of a scaled feature.
    """
    rows = {}
    for segment in np.unique(labels):
        inside, rest = scaled[labels == segment], scaled[labels != segment]
        if not len(rest):
            rows[segment] = np.zeros(scaled.shape[1])
            continue
        deviation = np.sqrt((inside.var(axis=0) + rest.var(axis=0)) / 2)
        difference = inside.mean(axis=0) - rest.mean(axis=0)
        rows[segment] = difference / np.where(deviation > 1e-9, deviation, 1.0)
    return pd.DataFrame.from_dict(rows, orient="index", columns=FEATURES)


def _strongest(effects: pd.Series[float]) -> pd.Series[float]:
    """Return the effects that are not negligible, strongest first."""
    strongest = effects[effects.abs() >= SMALL_EFFECT]
    return strongest.sort_values(key=abs, ascending=False, kind="stable")


def _differences(effects: pd.Series[float]) -> str:
    return "; ".join(f"{name} {effect:+.2f}" for name, effect in _strongest(effects).head(NAMED_DIFFERENCES).items())


def _silhouettes(labels: NDArray[Any], scaled: NDArray[np.float64], random_state: int) -> pd.Series[float]:
    """Return the mean silhouette of each segment over a bounded sample of the customers who are in one."""
    rows = check_random_state(random_state).permutation(np.flatnonzero(labels != OUTLIER))[:SILHOUETTE_ROWS]
    if not 2 <= len(np.unique(labels[rows])) < len(rows):
        return pd.Series(dtype=np.float64)
    values = silhouette_samples(scaled[rows], labels[rows])
    return pd.Series(values).groupby(labels[rows]).mean()


def _entry(
    segment: Any, means: pd.Series[float], overall: pd.Series[float], vocabulary: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the vocabulary's entry for a segment."""
    if segment == OUTLIER:
        return vocabulary["outliers"]  # type: ignore[no-any-return]
    for entry in vocabulary["names"]:
        if all(_holds(bounds, means[name], overall[name]) for name, bounds in entry["when"].items()):
            return entry  # type: ignore[no-any-return]
    raise ValueError("No name in the vocabulary fits; its last entry should have no conditions.")


def _holds(bounds: Mapping[str, float], mean: float, overall: float) -> bool:
    """Return whether a mean keeps the bounds; an unknown mean does not, nor does a multiple of nothing."""
    holds = {
        "at_least": mean >= bounds.get("at_least", mean),
        "at_most": mean <= bounds.get("at_most", mean),
        "times_at_least": overall > 0 and mean >= bounds.get("times_at_least", 0) * overall,
        "times_at_most": overall > 0 and mean <= bounds.get("times_at_most", 0) * overall,
    }
    return all(holds[test] for test in bounds)


def _unique_names(names: Mapping[Any, str], effects: pd.DataFrame) -> dict[Any, str]:
    """Return the names, those shared by several segments with the strongest difference nobody else of them has."""
    unique: dict[Any, str] = {}
    for segment, name in names.items():
        if list(names.values()).count(name) > 1:
            strongest = _strongest(effects.loc[segment])
            qualified = [
                f"{name}, {'high' if effect > 0 else 'low'} {str(feature).replace('_', ' ')}"
                for feature, effect in strongest.items()
            ]
            # The number is for segments that differ in nothing that has a name.
            qualified += [f"{name} {number}" for number in range(1, len(names) + 1)]
            name = next(candidate for candidate in qualified if candidate not in unique.values())
        unique[segment] = name
    return unique
