"""The gold layer: from the behaviour of the customers to their segments, as frames that follow the contracts."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clustering_assets.acceptance import accepted
from clustering_assets.contracts import (
    CLUSTERING_FEATURES,
    CUSTOMER_REASONS,
    CUSTOMER_SEGMENTS,
    SCALED_FEATURES,
    SEGMENT_CHANGES,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    TableContract,
)
from clustering_assets.pseudonyms import ids_in, record_ids, tables_with_customers
from clustering_assets.saved_models import record_file
from clustering_assets.segmentation.continuity import fit_again
from clustering_assets.segmentation.drift import Distribution, distribution, feature_drift, size_drift
from clustering_assets.segmentation.facts import Columns, Figures
from clustering_assets.segmentation.hybrid import OUTLIER, HybridSegmenter
from clustering_assets.segmentation.identity import kept_share, match_segments, segment_changes
from clustering_assets.segmentation.map import customer_map
from clustering_assets.segmentation.model_file import (
    ModelFacts,
    UnusableModel,
    load_model,
    model_path,
    read_facts,
    save_model,
    versions_here,
)
from clustering_assets.segmentation.profiles import segment_profiles
from clustering_assets.segmentation.reasons import Usual, customer_reasons
from clustering_assets.segmentation.stability import segment_stability
from clustering_assets.segmentation.sub_segments import sub_segments
from clustering_assets.segmentation.vocabulary import load_vocabulary
from clustering_assets.versions import SEGMENTATION_VERSION
from clustering_assets.warehouse import (
    drop_table,
    has_table,
    record_versions,
    replace_table,
    table,
)

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_log = logging.getLogger(__name__)

CURVE_POINTS = 500

FEATURES = [column.name for column in CLUSTERING_FEATURES]


@dataclass(frozen=True, slots=True)
class EarlierFit:
    """What the fit before left, for the next one to go on from.

    Parameters
    ----------
    model_run_id
        Names the fit.
    segments
        ``segment_id`` and ``segment_name`` of each customer, by customer id.
    means
        Mean of each of the 35 features, one row per segment id, without the outliers.
    models
        The rows of ``gold.segment_model``.
    next_segment_id
        First id that was never given.
    references
        How the values of each feature were spread; empty where the file of the model cannot be read.
    notes
        Why it cannot.
    knows_customers
        Whether the customer ids mean the same as those of silver: not after another pseudonym key.
    """

    model_run_id: str
    segments: pd.DataFrame
    means: pd.DataFrame
    models: Sequence[Mapping[str, Any]]
    next_segment_id: int
    references: Mapping[str, Distribution]
    notes: Sequence[str]
    knows_customers: bool


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A new fit: the gold tables, as frames or as queries over files, and what the file of the model holds."""

    tables: Mapping[TableContract, pd.DataFrame | str]
    segmenter: HybridSegmenter
    facts: ModelFacts


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a fit.

    Parameters
    ----------
    parameters, map_parameters
        Parameters of `HybridSegmenter` and of `customer_map`.
    stability_resamples
        Bootstrap samples that the stability of the segments is measured on; 0 leaves it unknown.
    input_version, model_run_id
        Fingerprints of what is fitted and of the fit.
    now
        Moment to record (UTC).
    """

    parameters: Mapping[str, Any]
    map_parameters: Mapping[str, Any]
    stability_resamples: int
    input_version: str
    model_run_id: str
    now: datetime


class Imputed:
    """Which of the 35 features of each customer were imputed.

    Parameters
    ----------
    names
        Names of the imputed features, joined by ';', per customer. Few differ, so that each is taken apart once.
    """

    def __init__(self, names: pd.Series[str]) -> None:
        self._codes, distinct = pd.factorize(names)
        # the last one stands for a name that is null, of which the code is -1
        listed = [*({*text.split(";")} for text in distinct), set[str]()]
        self._flags = np.array([[name in names for name in FEATURES] for names in listed])

    def __getitem__(self, name: str) -> NDArray[np.bool_]:
        """Whether this feature was, of shape (customers,)."""
        flags: NDArray[np.bool_] = self._flags[self._codes, FEATURES.index(name)]
        return flags

    @property
    def completeness(self) -> NDArray[np.float64]:
        """Share of the features that were not, of shape (customers,)."""
        complete: NDArray[np.float64] = (1 - self._flags.sum(axis=1) / len(FEATURES))[self._codes]
        return complete


@dataclass(frozen=True, slots=True)
class Everybody:
    """All customers, in one order and one column at a time, and what a fit says of them.

    Parameters
    ----------
    ids
        Customer ids.
    features, scaled
        The 35 features in their own units, and scaled, under the same names.
    imputed
        Which of them were imputed.
    labels
        Segment by the label of the fit.
    """

    ids: pd.Series[str]
    features: Columns
    scaled: Columns
    imputed: Imputed
    labels: NDArray[np.intp]

    def scaled_columns(self) -> Iterator[NDArray[np.float64]]:
        """Return the scaled features, one after the other."""
        return (np.asarray(self.scaled[name], dtype=np.float64) for name in FEATURES)

    def known(self) -> Iterator[tuple[str, pd.Series[float]]]:
        """Return the features, one after the other, with null where a value was filled in.

        A value that was filled in is none that can drift; that it misses is.
        """
        return ((name, self.features[name].mask(self.imputed[name])) for name in FEATURES)


@dataclass(frozen=True, slots=True)
class Described:
    """What the segments of a fit are, of all customers: all that gold says but for each customer by itself.

    Parameters
    ----------
    segment_ids, names
        Segment id of each label; name of each segment id.
    segments
        ``segment_id`` and ``segment_name`` of each customer, by customer id.
    usual
        What customers are like as a whole.
    tables
        Profiles, changes and the list of models.
    facts
        What the file of the model holds beside it.
    """

    segment_ids: dict[int, int]
    names: dict[int, str]
    segments: pd.DataFrame
    usual: Usual
    tables: Mapping[TableContract, pd.DataFrame]
    facts: ModelFacts


def read_earlier_fit(backend: Backend, home: Path) -> EarlierFit | None:
    """Read what the fit before left in the tables and in its file; None before the first fit."""
    if not has_table(backend, CUSTOMER_SEGMENTS):
        return None
    segments = table(backend, CUSTOMER_SEGMENTS).to_pandas().set_index("customer_id")
    if segments.empty:  # All of them were forgotten.
        return None
    profiles = table(backend, SEGMENT_PROFILES).to_pandas().set_index("segment_id")
    # Rows that an older contract left lack columns and have no file: they cannot be listed.
    models = [
        row for row in table(backend, SEGMENT_MODEL).to_pyarrow().to_pylist() if {*SEGMENT_MODEL.column_names} <= {*row}
    ]
    model_run_id = str(segments["model_run_id"].iloc[0])
    try:
        references, notes = read_facts(model_path(home, model_run_id)).references, []
    except UnusableModel as error:
        references, notes = {}, [f"How far the features drifted is not known. {error}"]
    return EarlierFit(
        model_run_id=model_run_id,
        segments=segments[["segment_id", "segment_name"]],
        means=profiles.drop(index=OUTLIER, errors="ignore")
        .reindex(columns=[f"{name}_mean" for name in FEATURES])
        .set_axis(FEATURES, axis=1),
        models=models,
        next_segment_id=max([int(segments["segment_id"].max()) + 1, *(row["next_segment_id"] for row in models)]),
        references=references,
        notes=notes,
        knows_customers=ids_in(backend, "gold") == ids_in(backend, "silver"),
    )


def segment(
    customers: pd.DataFrame, imputed: pd.Series[str], asked: Request, earlier: EarlierFit | None
) -> Segmentation:
    """Fit the segmentation, and go on from the fit before: its segment ids, their names, and what changed since.

    Parameters
    ----------
    customers
        ``silver.customer_features``, one row per customer, in the order of customer_id.
    imputed
        Names of the features that were imputed, joined by ';', per customer_id.
    asked
        The settings, and what the fit is known by.
    earlier
        The fit before; None for the first.
    """
    features, ids = customers[FEATURES].astype(np.float64), customers["customer_id"]
    segmenter = fit(features, ids, asked.parameters, earlier)
    scaled: NDArray[np.float64] = np.asarray(segmenter.transform(features))
    everybody = Everybody(
        ids, features, pd.DataFrame(scaled, columns=FEATURES), Imputed(ids.map(imputed)), segmenter.labels_
    )
    found = describe(asked, segmenter, features, scaled, everybody, earlier)
    _log.info("drawing the map of the customers")
    place = customer_map(scaled, random_state=asked.parameters["random_state"], **asked.map_parameters)
    scaled_features = pd.DataFrame(
        {
            "customer_id": ids,
            **{f"{name}_scaled": scaled[:, position] for position, name in enumerate(FEATURES)},
            "outlier_score": segmenter.outlier_score_,
            "feature_completeness": everybody.imputed.completeness,
            "scaling_method": segmenter.scaling,
            "quality_flags": customers["quality_flags"],
            "processed_at": asked.now,
        }
    )
    _log.info("looking for sub-segments and for the reasons of each customer")
    segments = found.segments.reset_index()
    segments = segments.assign(
        sub_segment_id=pd.Series(sub_segments(segmenter, features), dtype="Int64").replace(OUTLIER, pd.NA),
        confidence=segmenter.confidence_,
        map_x=place[:, 0],
        map_y=place[:, 1],
        model_run_id=asked.model_run_id,
        assigned_at=asked.now,
    )
    reasons = customer_reasons(
        ids,
        scaled,
        segments["segment_id"],
        segmenter.projection_,
        segmenter.cluster_centers_,
        [found.segment_ids[label] for label in range(segmenter.n_clusters_)],
        features,
        found.usual,
    )
    return Segmentation(
        {SCALED_FEATURES: scaled_features, CUSTOMER_SEGMENTS: segments, CUSTOMER_REASONS: reasons, **found.tables},
        segmenter,
        found.facts,
    )


def fit(
    features: pd.DataFrame,
    customer_ids: pd.Series[str],
    parameters: Mapping[str, Any],
    earlier: EarlierFit | None,
    *,
    is_sample: bool = False,
) -> HybridSegmenter:
    """Fit, going on from the fit before if it was made with the same parameters and by the same code.

    Parameters
    ----------
    features
        Of the customers that are looked at: all of them, or where there are very many those of a sample.
    customer_ids
        Who they are.
    parameters, earlier
        As for `segment`.
    is_sample
        Whether there are more customers.
    """
    _log.info("scaling the features by %s and fitting the segments", parameters["scaling"])
    segmenter = _fit(features, customer_ids, parameters, earlier, is_sample)
    _log.info(
        "%s segments, %s customers outside of them", segmenter.n_clusters_, f"{(segmenter.labels_ == OUTLIER).sum():,}"
    )
    return segmenter


def describe(
    asked: Request,
    segmenter: HybridSegmenter,
    features: pd.DataFrame,
    scaled: NDArray[np.float64],
    everybody: Everybody,
    earlier: EarlierFit | None,
) -> Described:
    """Say what the segments are, and what changed since the fit before.

    Parameters
    ----------
    asked, earlier
        As for `segment`.
    segmenter
        Fitted on ``features``; stability, rules and silhouettes come from these customers.
    features, scaled
        Of all customers, or of a sample.
    everybody
        All of them. Their columns are looked at one after the other, so that they need not be in memory together.
    """
    random_state = asked.parameters["random_state"]
    segment_ids = _segment_ids(segmenter, everybody, earlier)
    assigned = _assigned(segment_ids, everybody.labels)
    if asked.stability_resamples:
        _log.info("measuring the stability of the segments on %s resamples", asked.stability_resamples)
    stability = (
        segment_stability(segmenter, features, n_resamples=asked.stability_resamples, random_state=random_state)
        if asked.stability_resamples
        else None
    )
    _log.info("describing the segments: names, rules, savings")
    profiles = segment_profiles(
        features,
        _assigned(segment_ids, segmenter.labels_),
        scaled,
        stability=None if stability is None else {segment_ids[label]: share for label, share in enumerate(stability)},
        known_names=_names(earlier),
        figures=Figures.of(everybody.features, everybody.scaled_columns(), assigned),
        random_state=random_state,
    )
    names: dict[int, str] = dict(zip(profiles["segment_id"], profiles["segment_name"], strict=True))
    now_in = pd.DataFrame(
        {"segment_id": assigned, "segment_name": [names[segment] for segment in assigned.tolist()]},
        index=pd.Index(everybody.ids, name="customer_id"),
    )
    facts = ModelFacts(
        model_run_id=asked.model_run_id,
        input_version=asked.input_version,
        parameters={**asked.parameters, "map": dict(asked.map_parameters)},
        versions=versions_here(),
        segment_ids=segment_ids,
        # A fit without outliers may find some among other customers.
        segment_names={OUTLIER: load_vocabulary().outliers.name, **names},
        references={name: distribution(values) for name, values in everybody.known()},
    )
    model = {
        **_fit_facts(segmenter, stability, everybody.labels),
        "model_run_id": asked.model_run_id,
        "fitted_at": asked.now,
        "input_version": asked.input_version,
        "parameters": json.dumps(facts.parameters, sort_keys=True),
        "notes": " ".join([*segmenter.notes_, *_renamed(earlier, names), *(earlier.notes if earlier else [])]),
        "model_file": model_path(Path(), asked.model_run_id).as_posix(),
        "versions": json.dumps(facts.versions),
        "segment_ids": json.dumps(segment_ids),
        "next_segment_id": max([*segment_ids.values(), earlier.next_segment_id - 1 if earlier else 0]) + 1,
        **_changed_since(earlier, everybody, now_in),
    }
    kept_models = [row for row in earlier.models if row["model_run_id"] != asked.model_run_id] if earlier else []
    changes = segment_changes(earlier.segments if earlier and earlier.knows_customers else now_in, now_in)
    return Described(
        segment_ids,
        names,
        now_in,
        Usual.of(everybody.features, everybody.scaled_columns()),
        {
            SEGMENT_MODEL: pd.DataFrame([*kept_models, model]),
            SEGMENT_PROFILES: profiles,
            SEGMENT_CHANGES: changes.assign(
                from_model_run_id=earlier.model_run_id if earlier else "",
                model_run_id=asked.model_run_id,
                changed_at=asked.now,
            ),
        },
        facts,
    )


def write_gold(backend: Backend, home: Path, found: Segmentation, earlier: EarlierFit | None, version: str) -> None:
    """Write the file of the model, then the tables in one transaction.

    Killed in between, a run leaves the tables as they were and a file that none of them names; it was recorded before,
    so that the next run removes it. A table of customers by the pseudonyms of another key goes: nobody knows any more
    who they are.

    Raises
    ------
    ContractBroken
        If a table would break its contract; the tables stay as they were.
    """
    _log.info("writing the model and the tables, once they follow their contracts")
    record_file(backend, found.facts.model_run_id, version)
    save_model(model_path(home, found.facts.model_run_id), found.segmenter, found.facts)
    with accepted(backend, found.tables):
        for contract, rows in found.tables.items():
            replace_table(backend, contract, backend.sql(rows) if isinstance(rows, str) else rows)
        record_versions(backend, {contract.qualified_name: version for contract in found.tables})
        record_ids(backend, "gold", ids_in(backend, "silver"))
        if earlier and not earlier.knows_customers:
            for contract in {*tables_with_customers(backend, "gold")} - {*found.tables}:
                drop_table(backend, contract)


def apply_model(home: Path, model_run_id: str, customers: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """Put customers into the segments of a model that was fitted before; nothing is fitted.

    Parameters
    ----------
    home
        The home folder.
    model_run_id
        The fit.
    customers
        ``silver.customer_features``, one row per customer.
    now
        Moment to record (UTC).

    Returns
    -------
    DataFrame
        ``gold.model_assignments``.

    Raises
    ------
    UnusableModel
        If the file of the model cannot be used.
    """
    segmenter, facts = load_model(model_path(home, model_run_id))
    found = segmenter.assign(customers[FEATURES].astype(np.float64))
    assigned = _assigned(facts.segment_ids, found.labels)
    return pd.DataFrame(
        {
            "customer_id": customers["customer_id"],
            "segment_id": assigned,
            "segment_name": [facts.segment_names[segment] for segment in assigned.tolist()],
            "confidence": found.confidence,
            "outlier_score": found.outlier_score,
            "model_run_id": model_run_id,
            "assigned_at": now,
        }
    )


def drift_since(home: Path, model_run_id: str, customers: pd.DataFrame, imputed: pd.Series[str]) -> dict[str, float]:
    """Return how far each feature of the customers is from what a model was fitted on: its PSI.

    Parameters
    ----------
    home, model_run_id, customers
        As for `apply_model`.
    imputed
        As for `segment`.
    """
    references = read_facts(model_path(home, model_run_id)).references
    was_imputed = Imputed(customers["customer_id"].map(imputed))
    known = ((name, customers[name].astype(np.float64).mask(was_imputed[name])) for name in FEATURES)
    return feature_drift(references, known)


def _fit(
    features: pd.DataFrame,
    customer_ids: pd.Series[str],
    parameters: Mapping[str, Any],
    earlier: EarlierFit | None,
    is_sample: bool,
) -> HybridSegmenter:
    rows = [row for row in earlier.models if row["model_run_id"] == earlier.model_run_id] if earlier else []
    for row in rows:
        before = {name: value for name, value in json.loads(row["parameters"]).items() if name != "map"}
        if before == parameters and json.loads(row["versions"])["segmentation"] == SEGMENTATION_VERSION:
            segments = customer_ids.map(earlier.segments["segment_id"]).fillna(OUTLIER)  # type: ignore[union-attr]
            return fit_again(features, parameters, row["segments"], row["shrinkage"], segments, is_sample=is_sample)
    fitted: HybridSegmenter = HybridSegmenter(**parameters).fit(features, is_sample=is_sample)
    return fitted


def _segment_ids(segmenter: HybridSegmenter, everybody: Everybody, earlier: EarlierFit | None) -> dict[int, int]:
    """Return the segment id of each label of the fit."""
    if earlier is None:
        return {label: label for label in range(segmenter.n_clusters_)}

    def on_the_new_scale(means: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(segmenter.transform(means), index=means.index)

    means = pd.DataFrame({name: everybody.features[name].groupby(everybody.labels).mean() for name in FEATURES})
    return match_segments(
        earlier.segments["segment_id"],
        pd.Series(everybody.labels, index=everybody.ids),
        on_the_new_scale(earlier.means),
        on_the_new_scale(means.drop(index=OUTLIER, errors="ignore")),
        earlier.next_segment_id,
    )


def _assigned(segment_ids: Mapping[int, int], labels: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the segment id of each customer. The last place is that of the label -1."""
    return np.array([*(segment_ids[label] for label in range(len(segment_ids))), OUTLIER])[labels]


def _names(earlier: EarlierFit | None) -> dict[int, str]:
    """Return the name of each segment id of the fit before."""
    return dict(earlier.segments.drop_duplicates().to_numpy().tolist()) if earlier else {}


def _renamed(earlier: EarlierFit | None, names: Mapping[int, str]) -> list[str]:
    """Say which segments kept their id and not their name."""
    before = _names(earlier)
    return [
        f"Segment {segment} is called {name!r} now: {before[segment]!r} no longer fits its customers."
        for segment, name in names.items()
        if before.get(segment, name) != name
    ]


def _changed_since(earlier: EarlierFit | None, everybody: Everybody, now: pd.DataFrame) -> dict[str, Any]:
    """Compare with the fit before; null where there is nothing to compare with."""
    drift = feature_drift(earlier.references, everybody.known()) if earlier else {}
    return {
        "feature_drift": json.dumps(drift) if drift else None,
        "largest_feature_drift": max(drift.values(), default=None),
        "segment_size_drift": size_drift(earlier.segments["segment_id"], now["segment_id"]) if earlier else None,
        "kept_segment_share": kept_share(earlier.segments["segment_id"], now["segment_id"]) if earlier else None,
    }


def _fit_facts(
    segmenter: HybridSegmenter, stability: NDArray[np.float64] | None, labels: NDArray[np.intp]
) -> dict[str, Any]:
    clustered, customers = labels[labels != OUTLIER], len(labels)
    return {
        "scaling_method": segmenter.scaling,
        "ignored_features": ";".join(segmenter.ignored_features_),
        "customers": customers,
        "segments": segmenter.n_clusters_,
        "outliers": customers - len(clustered),
        "eps": segmenter.eps_,
        "min_samples": segmenter.min_samples_,
        "shrinkage": segmenter.shrinkage_,
        "silhouette": segmenter.silhouette_,
        "silhouette_full": segmenter.silhouette_full_,
        "calinski_harabasz": segmenter.calinski_harabasz_,
        "davies_bouldin": segmenter.davies_bouldin_,
        "stability": _mean_stability(stability, clustered),
        "k_distance_curve": json.dumps(_thinned(segmenter.k_distances_)),
        "choices_of_k": json.dumps([choice._asdict() for choice in segmenter.choices_of_k_]),
        "smallest_segment_share": float(np.bincount(clustered).min() / customers),
    }


def _mean_stability(stability: NDArray[np.float64] | None, labels: NDArray[np.intp]) -> float | None:
    return None if stability is None or not len(labels) else float(np.mean(stability[labels]))


def _thinned(k_distances: NDArray[np.float64]) -> list[float]:
    """At most ``CURVE_POINTS`` of the ascending k-distances, first and last included."""
    ascending = np.sort(k_distances)
    places = np.unique(np.linspace(0, len(ascending) - 1, CURVE_POINTS).round().astype(int))
    return [float(distance) for distance in ascending[places]]
