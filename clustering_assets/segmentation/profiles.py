"""What the segments are, as one table: facts, names, rules and savings put together. No clustering here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import silhouette_samples
from sklearn.utils import check_random_state

from clustering_assets.contracts import SEGMENT_PROFILES
from clustering_assets.segmentation.facts import FEATURES, Figures
from clustering_assets.segmentation.hybrid import OUTLIER
from clustering_assets.segmentation.naming import SMALL_EFFECT, entries, sentence, unique_names
from clustering_assets.segmentation.rules import surrogate_rule
from clustering_assets.segmentation.savings import saving
from clustering_assets.segmentation.vocabulary import Vocabulary, load_vocabulary

SILHOUETTE_ROWS = 10_000
NAMED_DIFFERENCES = 5


def segment_profiles(
    features: pd.DataFrame,
    labels: ArrayLike,
    scaled: ArrayLike,
    *,
    stability: Mapping[int, float] | None = None,
    vocabulary: Vocabulary | None = None,
    known_names: Mapping[int, str] | None = None,
    figures: Figures | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Describe each segment by the facts about its customers.

    Parameters
    ----------
    features : DataFrame of n rows
        One row per customer with the 35 clustering features, in their own units; other columns are not looked at.
    labels : array-like of shape (n,)
        Segment ids, with or without gaps; -1 for outliers.
    scaled : array-like of shape (n, 35)
        The same features scaled, in the same order, without missing values. A feature that is constant here is never
        named.
    stability : mapping of segment id to float, optional
        Stability of the segments.
    vocabulary : Vocabulary, optional
        Names, actions and assumptions; by default `load_vocabulary`.
    known_names : mapping of segment id to name, optional
        Names in the last run, which segments keep as long as they fit.
    figures : Figures, optional
        Of all customers, where ``features``, ``labels`` and ``scaled`` are those of a sample: rules are then learnt
        from the sample, and silhouettes computed on it. By default of these customers.
    random_state : int
        Seed of the samples that rules are learnt from and silhouettes computed on.

    Returns
    -------
    DataFrame
        One row per segment, the outliers last, with the columns of ``gold.segment_profiles``: ``segment_name``
        (unique), ``description``, ``customers``, ``share``, ``order_share``, ``value_share``,
        ``returned_value_share`` (all 0..1; null where the shop's total is not known or not positive),
        ``<feature>_mean`` and ``<feature>_median`` of the 35 features in their own units, ``distinguishing_features``
        (up to five, as "name +1.23", joined by ';'; the number is the difference of means against all other customers
        in standard deviations, of the scaled feature), ``rule``, ``rule_precision`` and ``rule_recall``
        (`surrogate_rule`), ``silhouette`` (mean over the customers, in the scaled space), ``stability``,
        ``recommended_action``, ``return_cost``, ``possible_saving`` and ``saving_assumption`` (`saving`). Silhouette
        and stability of outliers are null.

    Raises
    ------
    ValueError
        If a feature is missing or the lengths differ.
    """
    segments, scales = np.asarray(labels), np.asarray(scaled, dtype=np.float64)
    missing = [name for name in FEATURES if name not in features.columns]
    if missing:
        raise ValueError(f"Features are missing: {', '.join(missing)}")
    if segments.shape != (len(features),) or scales.shape != (len(features), len(FEATURES)):
        raise ValueError(f"{len(features)} customers, but labels {segments.shape} and scaled {scales.shape}")
    words = load_vocabulary() if vocabulary is None else vocabulary
    own = features[FEATURES].reset_index(drop=True).astype(np.float64)
    all_of = Figures.of(own, scales.T, segments) if figures is None else figures
    facts = all_of.facts
    found = entries(facts, all_of.shop, words, known_names or {})
    names = unique_names({s: entry.name for s, entry in found.items()}, all_of.moments, words, known_names or {})

    tellable = [name for name, varies in zip(FEATURES, np.ptp(scales, axis=0) > 0, strict=True) if varies]
    rules = [surrogate_rule(own[tellable], segments == s, random_state=random_state) for s in found]
    savings = [
        saving(lines, None if np.isnan(value) else value, words.costs, found[s].saves)
        for s, lines, value in all_of.returned.loc[list(found)].itertuples()
    ]
    told = facts.to_dict("index")
    profiles = pd.DataFrame(
        {
            "segment_name": pd.Series(names),
            "description": pd.Series({s: sentence(names[s], found[s], told[s], words) for s in found}),
            **facts[["customers", "share", "order_share", "value_share", "returned_value_share"]],
            **{f"{name}_mean": facts[name] for name in FEATURES},
            **{f"{name}_median": all_of.medians[name] for name in FEATURES},
            "distinguishing_features": pd.Series(
                {s: _differences(all_of.moments.effect(s, all_of.moments.others(s))) for s in found}
            ),
            "silhouette": _silhouettes(segments, scales, random_state),
            "stability": pd.Series(dict(stability or {}), dtype=np.float64),
            "recommended_action": pd.Series({s: entry.action for s, entry in found.items()}),
        },
        index=facts.index,
    )
    profiles[["rule", "rule_precision", "rule_recall"]] = pd.DataFrame(rules, index=facts.index)
    profiles[["return_cost", "possible_saving", "saving_assumption"]] = pd.DataFrame(savings, index=facts.index)
    profiles = profiles.rename_axis("segment_id").reset_index()
    profiles = profiles.sort_values("segment_id", key=lambda ids: ids.where(ids >= 0, np.inf), ignore_index=True)
    return profiles[list(SEGMENT_PROFILES.column_names)]


def _differences(effects: NDArray[np.float64]) -> str:
    """Name the strongest effects that are not negligible."""
    strongest = [j for j in np.argsort(-np.abs(effects), kind="stable") if abs(effects[j]) >= SMALL_EFFECT]
    return "; ".join(f"{FEATURES[j]} {effects[j]:+.2f}" for j in strongest[:NAMED_DIFFERENCES])


def _silhouettes(labels: NDArray[Any], scaled: NDArray[np.float64], random_state: int) -> pd.Series[float]:
    """Return the mean silhouette of each segment over a bounded sample of the customers who are in one."""
    rows = check_random_state(random_state).permutation(np.flatnonzero(labels != OUTLIER))[:SILHOUETTE_ROWS]
    if not 2 <= len(np.unique(labels[rows])) < len(rows):
        return pd.Series(dtype=np.float64)
    values = silhouette_samples(scaled[rows], labels[rows])
    return pd.Series(values).groupby(labels[rows]).mean()
