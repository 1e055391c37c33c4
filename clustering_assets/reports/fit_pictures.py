"""The pictures of a fit, from the tables of gold: what was chosen and why, the map, the sizes; by the name of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clustering_assets.reports import pictures

if TYPE_CHECKING:
    import pandas as pd

Record = Mapping[str, Any]
"""A row of a table."""


def curves(model: Record) -> dict[str, bytes]:
    """Draw what the radius and the number of segments were chosen from; the latter not where the number was given."""
    distances, choices = json.loads(model["k_distance_curve"]), json.loads(model["choices_of_k"])
    drawn = {"k_distances": pictures.k_distance_curve(distances, model["eps"])}
    if choices:
        criteria = [
            {name: value for name, value in choice.items() if name not in ("standard_error", "shrinkage")}
            for choice in choices
        ]
        asked_for = {"prediction_strength": json.loads(model["parameters"])["min_strength"]}
        drawn["choice_of_k"] = pictures.cluster_choice_curve(criteria, chosen_k=model["segments"], thresholds=asked_for)
    return drawn


def customer_map(segments: pd.DataFrame, profiles: Sequence[Record]) -> dict[str, bytes]:
    """Draw the customers of gold.customer_segments where the map has them."""
    names = {row["segment_id"]: row["segment_name"] for row in profiles}
    return {"map": pictures.customer_map(segments[["map_x", "map_y"]], segments["segment_id"], names)}


def sizes(profiles: Sequence[Record]) -> dict[str, bytes]:
    """Draw how many customers each segment has."""
    customers, names = ({row["segment_id"]: row[what] for row in profiles} for what in ("customers", "segment_name"))
    return {"sizes_picture": pictures.segment_sizes(customers, names)}
