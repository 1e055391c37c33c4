"""Segments that keep their id from fit to fit, and who went from which to which. Nothing is fitted or named here."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

OUTLIER = -1
LEAST_OVERLAP = 0.3
"""Jaccard similarity from which two segments are one: of two of a size, 46 % of the customers. The larger part of a
segment that splits keeps the id (0.5 or more), and so does the largest of three (0.33 or more)."""
FEW_KNOWN = 0.2
"""Where under this share of a segment's customers is in both fits, customers say little and profiles decide."""
NEAR = 0.3
"""Greatest distance of two profiles that are one, in standard deviations (root mean square over the features). On the
sample, random halves of a segment are 0.06 to 0.11 apart, different segments 0.6 and more."""
PROFILE_WEIGHT = 0.1
"""What the nearest profile adds to an overlap: it decides where overlaps are about the same."""


def match_segments(
    before: pd.Series[int], now: pd.Series[int], profiles_before: pd.DataFrame, profiles: pd.DataFrame, next_id: int
) -> dict[int, int]:
    """Give each label of a new fit the id of the segment that it continues, or else an id that nobody had.

    Pairs are matched one to one so that the sum of their similarities is greatest (an assignment problem), among those
    that are convincing: that share customers (``LEAST_OVERLAP``) or, where hardly any customer is in both fits, that
    behave alike (``NEAR``).

    Parameters
    ----------
    before
        Segment id of each customer of the fit before, -1 for outliers, by customer id.
    now
        Label of each customer of the new fit, -1 for outliers, by customer id.
    profiles_before, profiles
        Mean of each feature, on one scale for both: a row per segment id, and per label; none of the outliers.
    next_id
        First id that was never given.

    Returns
    -------
    dict of int to int
        Segment id of each label.

    References
    ----------
    Greene, Doyle and Cunningham 2010, "Tracking the evolution of communities in dynamic social networks", match by
    Jaccard similarity above a threshold.
    """
    both = pd.DataFrame({"before": before, "now": now}).dropna().astype("int64")
    pairs = both.groupby(["before", "now"]).size().unstack(fill_value=0)
    shared = pairs.reindex(index=profiles_before.index, columns=profiles.index, fill_value=0).to_numpy()
    stayed, known = _sizes(both["before"], profiles_before), _sizes(both["now"], profiles)
    overlap = shared / np.maximum(stayed[:, None] + known - shared, 1)
    distance = cdist(profiles_before, profiles) / np.sqrt(profiles.shape[1])
    customers_say = (
        np.minimum.outer(stayed / _sizes(before, profiles_before), known / _sizes(now, profiles)) >= FEW_KNOWN
    )
    convincing = np.where(customers_say, overlap >= LEAST_OVERLAP, distance <= NEAR)
    nearness = 1 / (1 + distance)
    similarity = np.where(customers_say, overlap, nearness) + PROFILE_WEIGHT * nearness
    rows, columns = linear_sum_assignment(similarity * convincing, maximize=True)
    matched = {
        int(label): int(segment)
        for segment, label, holds in zip(
            profiles_before.index[rows], profiles.index[columns], convincing[rows, columns], strict=True
        )
        if holds
    }
    unmatched = [int(label) for label in profiles.index if label not in matched]
    return {**matched, **{label: next_id + position for position, label in enumerate(unmatched)}}


def _sizes(segments: pd.Series[int], profiles: pd.DataFrame) -> NDArray[np.float64]:
    return np.asarray(segments.value_counts().reindex(profiles.index, fill_value=0), dtype=np.float64)


def flows(before: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Count the ways from segment to segment.

    Parameters
    ----------
    before, now
        ``segment_id`` and ``segment_name`` of each customer, by customer id.

    Returns
    -------
    DataFrame
        One row per way that somebody went: ``from_segment_id``, ``from_segment_name`` (null for who joined),
        ``to_segment_id``, ``to_segment_name`` (null for who left), ``customers``, and their share of all customers of
        the segment before (``share_of_from``) and of the segment now (``share_of_to``).
    """
    ways = _ways(before, now)
    counted = ways.groupby(list(ways.columns), dropna=False).size().rename("customers").reset_index()
    for side in ("from", "to"):
        counted[f"share_of_{side}"] = counted["customers"] / counted.groupby(f"{side}_segment_id")[
            "customers"
        ].transform("sum")
    return counted


def segment_changes(before: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """List the customers who moved, joined or left.

    Parameters
    ----------
    before, now
        As for `flows`.

    Returns
    -------
    DataFrame
        One row per customer, ordered by ``customer_id``; ``change`` is moved, joined or left, the other columns are
        those of the customer's way in `flows`, but for their number.
    """
    ways = _ways(before, now).rename_axis("customer_id").reset_index()
    ways["change"] = np.select(
        [ways["from_segment_id"].isna(), ways["to_segment_id"].isna()], ["joined", "left"], "moved"
    )
    changed = ways[~(ways["from_segment_id"] == ways["to_segment_id"]).fillna(False)]
    counted = flows(before, now).drop(columns="customers")
    found = changed.merge(counted, on=[name for name in counted.columns if name in ways.columns], how="left")
    return found.sort_values("customer_id", ignore_index=True)


def segments_before(changes: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Undo `segment_changes`: return ``segment_id`` and ``segment_name`` before, by customer id.

    Who stayed gets the name that the segment has now.
    """
    listed = changes.set_index("customer_id")
    came_from = listed.loc[listed["change"] != "joined", ["from_segment_id", "from_segment_name"]]
    came_from.columns = now.columns
    return pd.concat([now.drop(index=listed.index, errors="ignore"), came_from]).astype({"segment_id": "int64"})


def kept_share(before: pd.Series[int], now: pd.Series[int]) -> float | None:
    """Return which share of the customers of both fits kept their segment id; None if there are none."""
    both = pd.DataFrame({"before": before, "now": now}).dropna()
    return float((both["before"] == both["now"]).mean()) if len(both) else None


def _ways(before: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Return from where and to where each customer went, by customer id; null for nowhere."""
    nullable = {"segment_id": "Int64"}
    return before.astype(nullable).add_prefix("from_").join(now.astype(nullable).add_prefix("to_"), how="outer")
