"""The gold layer: from the behaviour of the customers to their segments, as frames that follow the contracts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clustering_assets.contracts import (
    CLUSTERING_FEATURES,
    CUSTOMER_SEGMENTS,
    SCALED_FEATURES,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    TableContract,
)
from clustering_assets.segmentation.hybrid import OUTLIER, HybridSegmenter
from clustering_assets.segmentation.map import customer_map
from clustering_assets.segmentation.profiles import segment_profiles
from clustering_assets.segmentation.stability import segment_stability

CURVE_POINTS = 500

FEATURES = [column.name for column in CLUSTERING_FEATURES]


def segment(
    customers: pd.DataFrame,
    imputed_counts: pd.Series[int],
    *,
    parameters: Mapping[str, Any],
    map_parameters: Mapping[str, Any],
    stability_resamples: int,
    input_version: str,
    model_run_id: str,
    now: datetime,
) -> dict[TableContract, pd.DataFrame]:
    """Fit the segmentation and return the gold tables.

    Parameters
    ----------
    customers
        ``silver.customer_features``, one row per customer, in the order of customer_id.
    imputed_counts
        How many of the 35 features were imputed, per customer_id.
    parameters, map_parameters
        Parameters of `HybridSegmenter` and of `customer_map`.
    stability_resamples
        Bootstrap samples that the stability of the segments is measured on; 0 leaves it unknown.
    input_version, model_run_id
        Fingerprints of what is fitted and of the fit.
    now
        Moment to record (UTC).
    """
    features = customers[FEATURES].astype(np.float64)
    segmenter = HybridSegmenter(**parameters).fit(features)
    scaled: NDArray[np.float64] = np.asarray(segmenter.transform(features))
    random_state = parameters["random_state"]
    stability = (
        segment_stability(segmenter, features, n_resamples=stability_resamples, random_state=random_state)
        if stability_resamples
        else None
    )
    profiles = segment_profiles(
        features,
        segmenter.labels_,
        scaled,
        stability=None if stability is None else stability.tolist(),
        random_state=random_state,
    )
    place = customer_map(scaled, random_state=random_state, **map_parameters)
    ids = customers["customer_id"]
    names = profiles.set_index("segment_id")["segment_name"]
    completeness = 1 - ids.map(imputed_counts).to_numpy(dtype=np.float64) / len(FEATURES)
    scaled_features = pd.DataFrame(
        {
            "customer_id": ids,
            **{f"{name}_scaled": scaled[:, position] for position, name in enumerate(FEATURES)},
            "outlier_score": segmenter.outlier_score_,
            "feature_completeness": completeness,
            "scaling_method": segmenter.scaling,
            "quality_flags": customers["quality_flags"],
            "processed_at": now,
        }
    )
    segments = pd.DataFrame(
        {
            "customer_id": ids,
            "segment_id": segmenter.labels_,
            "segment_name": names.loc[segmenter.labels_].to_numpy(),
            "sub_segment_id": pd.array([None] * len(ids), dtype="Int64"),
            "confidence": segmenter.confidence_,
            "map_x": place[:, 0],
            "map_y": place[:, 1],
            "model_run_id": model_run_id,
            "assigned_at": now,
        }
    )
    clustered = segmenter.labels_ != OUTLIER
    model = pd.DataFrame(
        [
            {
                "model_run_id": model_run_id,
                "fitted_at": now,
                "input_version": input_version,
                "parameters": json.dumps({**parameters, "map": dict(map_parameters)}, sort_keys=True),
                "scaling_method": segmenter.scaling,
                "ignored_features": ";".join(segmenter.ignored_features_),
                "customers": len(ids),
                "segments": segmenter.n_clusters_,
                "outliers": int((~clustered).sum()),
                "eps": segmenter.eps_,
                "min_samples": segmenter.min_samples_,
                "silhouette": segmenter.silhouette_,
                "silhouette_full": segmenter.silhouette_full_,
                "calinski_harabasz": segmenter.calinski_harabasz_,
                "davies_bouldin": segmenter.davies_bouldin_,
                "stability": _mean_stability(stability, segmenter.labels_[clustered]),
                "k_distance_curve": json.dumps(_thinned(segmenter.k_distances_)),
                "choices_of_k": json.dumps([choice._asdict() for choice in segmenter.choices_of_k_]),
                "notes": " ".join(segmenter.notes_),
            }
        ]
    )
    return {
        SCALED_FEATURES: scaled_features,
        SEGMENT_MODEL: model,
        CUSTOMER_SEGMENTS: segments,
        SEGMENT_PROFILES: profiles,
    }


def _mean_stability(stability: NDArray[np.float64] | None, labels: NDArray[np.intp]) -> float | None:
    return None if stability is None or not len(labels) else float(np.mean(stability[labels]))


def _thinned(k_distances: NDArray[np.float64]) -> list[float]:
    """At most ``CURVE_POINTS`` of the ascending k-distances, first and last included."""
    ascending = np.sort(k_distances)
    places = np.unique(np.linspace(0, len(ascending) - 1, CURVE_POINTS).round().astype(int))
    return [float(distance) for distance in ascending[places]]
