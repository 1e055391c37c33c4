"""Gold: scaled features, the fitted models, the segment of each customer, what the segments are and who changed."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from clustering_assets.acceptance import accepted
from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    CUSTOMER_REASONS,
    CUSTOMER_SEGMENTS,
    IMPUTED_FEATURES,
    MODEL_ASSIGNMENTS,
    SCALED_FEATURES,
    SEGMENT_CHANGES,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    TableContract,
)
from clustering_assets.failures import in_one_sentence
from clustering_assets.metadata import (
    asset_key,
    column_lineage,
    contract_lineage,
    figures,
    picture,
    shown_before,
    table_facts,
    table_spec,
    verbatim,
)
from clustering_assets.resources import WAREHOUSE_POOL, Engine, Home, Retention
from clustering_assets.run_config import ApplyConfig, GoldConfig
from clustering_assets.saved_models import find_model, remove_old_models, remove_orphans
from clustering_assets.segmentation.drift import in_words
from clustering_assets.segmentation.model_file import model_path, save_model
from clustering_assets.segmentation.vocabulary import load_vocabulary
from clustering_assets.versions import SEGMENTATION_VERSION, fingerprint
from clustering_assets.warehouse import (
    record_versions,
    replace_table,
    row_count,
    table,
    table_version,
    utc_now,
)

if TYPE_CHECKING:
    import pandas as pd
    from ibis.backends.duckdb import Backend

    from clustering_assets.gold import EarlierFit, Request, Segmentation

_QUALITY = (
    "customers",
    "segments",
    "outliers",
    "eps",
    "min_samples",
    "silhouette",
    "silhouette_full",
    "calinski_harabasz",
    "davies_bouldin",
    "stability",
    "smallest_segment_share",
    "largest_feature_drift",
    "segment_size_drift",
    "kept_segment_share",
)
_SHOWN_FLOWS = 40

_UPSTREAM = {
    SCALED_FEATURES: [CUSTOMER_FEATURES, IMPUTED_FEATURES],
    SEGMENT_MODEL: [SCALED_FEATURES],
    CUSTOMER_SEGMENTS: [SCALED_FEATURES, SEGMENT_MODEL],
    SEGMENT_PROFILES: [CUSTOMER_FEATURES, CUSTOMER_SEGMENTS],
    CUSTOMER_REASONS: [CUSTOMER_FEATURES, SCALED_FEATURES, CUSTOMER_SEGMENTS],
    SEGMENT_CHANGES: [CUSTOMER_SEGMENTS],
}


@dg.multi_asset(
    specs=[
        table_spec(contract, deps, kinds=["scikitlearn"], code_version=SEGMENTATION_VERSION)
        for contract, deps in _UPSTREAM.items()
    ],
    pool=WAREHOUSE_POOL,
)
def gold(
    context: dg.AssetExecutionContext, config: GoldConfig, home: Home, engine: Engine, retention: Retention
) -> Iterator[dg.MaterializeResult[None]]:
    """Fit the segmentation, unless silver and the settings are the same as last time.

    If they are the same and just the file of the model was lost, the file is made again and no table changes.
    """
    with in_one_sentence():
        with home.warehouse.connect() as backend:
            input_version = table_version(backend, CUSTOMER_FEATURES.qualified_name)
            if input_version is None:
                raise dg.Failure(_NO_SILVER)
            version = fingerprint(
                SEGMENTATION_VERSION, input_version, config.model_dump(), load_vocabulary().model_dump()
            )
            remove_orphans(backend, home.warehouse.home)
            version_before = table_version(backend, CUSTOMER_SEGMENTS.qualified_name)
            changed, path = version != version_before, model_path(home.warehouse.home, version)
            fits = changed or not path.is_file()
            if fits:
                # pandas, scikit-learn and openTSNE are loaded for a fit alone: they take seconds
                from clustering_assets.gold import Request, read_earlier_fit, write_gold

                asked = Request(**config.arguments(), input_version=input_version, model_run_id=version, now=utc_now())
                context.log.info("segmenting %s customers", f"{row_count(backend, CUSTOMER_FEATURES):,}")
                earlier = read_earlier_fit(backend, home.warehouse.home)
        if fits:
            with _segmented(engine, home, asked, earlier) as found, home.warehouse.connect() as backend:
                # the customers were read in a connection of their own
                seen = {CUSTOMER_FEATURES: input_version, CUSTOMER_SEGMENTS: version_before}
                for contract, seen_version in seen.items():
                    if table_version(backend, contract.qualified_name) != seen_version:
                        raise dg.Failure(
                            f"Another run wrote the {contract.layer} layer meanwhile: run again, to go on from it."
                        )
                if changed:
                    write_gold(backend, home.warehouse.home, found, earlier, version)
                else:
                    save_model(path, found.segmenter, found.facts)
        else:
            context.log.info("customers and settings are those of the last time: the tables stay as they are")
        with home.warehouse.connect() as backend:
            remove_old_models(backend, home.warehouse.home, retention.keep_models)
            reports = _reports(context, backend, home)
            for contract in _UPSTREAM:
                yield dg.MaterializeResult(
                    asset_key=asset_key(contract),
                    metadata={
                        **table_facts(backend, contract),
                        **reports[contract],
                        "dagster/column_lineage": column_lineage(contract_lineage(contract)),
                        "changed": changed,
                    },
                    data_version=dg.DataVersion(version),
                )


_NO_SILVER = "There is no silver layer yet: materialize silver/customer_features first."


def _customers(backend: "Backend") -> tuple["pd.DataFrame", "pd.Series[str]"]:
    """Read the customers, and the names of their imputed features by customer id."""
    imputed = table(backend, IMPUTED_FEATURES).to_pandas().set_index("customer_id")["imputed"]
    return table(backend, CUSTOMER_FEATURES).order_by("customer_id").to_pandas(), imputed


@contextmanager
def _segmented(engine: Engine, home: Home, asked: "Request", earlier: "EarlierFit | None") -> "Iterator[Segmentation]":
    """Fit, and put everybody into a segment, on the engine; the tables may be in files that are there until the end."""
    cluster = engine.cluster
    if cluster is None:
        from clustering_assets.gold import segment

        with home.warehouse.connect() as backend:
            customers, imputed = _customers(backend)
        yield segment(customers, imputed, asked, earlier)
        return
    from clustering_assets.spark.gold import computed_gold

    with computed_gold(cluster, home.warehouse, asked, earlier) as found:
        yield found


def _reports(
    context: dg.AssetExecutionContext, backend: "Backend", home: Home
) -> dict[TableContract, Mapping[str, Any]]:
    """Report on each gold table, from the tables themselves, so that unchanged ones are reported on too.

    Pictures and flows of a fit that Dagster has shown already are those of the last time.
    """
    model = find_model(backend)
    fitted_at = str(model["fitted_at"])

    def once(contract: TableContract, make: Callable[[], Mapping[str, Any]], made: Iterable[str]) -> Mapping[str, Any]:
        shown = shown_before(context, asset_key(contract), "fitted_at", fitted_at)
        return {name: shown[name] for name in made if name in shown} or make()

    profiles = table(backend, SEGMENT_PROFILES).to_pyarrow().to_pylist()
    quality = {
        **figures(model, _QUALITY),
        "clustered_customers": model["customers"] - model["outliers"],
        "clustered_share": 1 - model["outliers"] / model["customers"],
        "outlier_share": model["outliers"] / model["customers"],
        "ignored_features": model["ignored_features"] or "none",
        "notes": model["notes"] or "none",
    }
    sentences = [
        f"- **{verbatim(row['segment_name'])}** ({row['share']:.1%}): {row['description']}" for row in profiles
    ]
    reports: dict[TableContract, Mapping[str, Any]] = {
        SCALED_FEATURES: {"ignored_features": model["ignored_features"] or "none"},
        SEGMENT_MODEL: {
            **quality,
            **once(SEGMENT_MODEL, lambda: _curves(model), ("k_distances", "choice_of_k")),
            "model_run_id": model["model_run_id"],
            "model_file": dg.MetadataValue.path(home.warehouse.home / model["model_file"]),
            **_drift_table(json.loads(model["feature_drift"] or "{}")),
        },
        CUSTOMER_SEGMENTS: {**quality, **once(CUSTOMER_SEGMENTS, lambda: _map(backend, profiles), ["map"])},
        SEGMENT_PROFILES: {
            "segments": dg.MetadataValue.md("\n".join(sentences)),
            "sizes": dg.MetadataValue.table(
                [
                    dg.TableRecord({name: row[name] for name in ("segment_name", "customers", "share")})
                    for row in profiles
                ]
            ),
            **once(SEGMENT_PROFILES, lambda: _sizes(profiles), ["sizes_picture"]),
        },
        CUSTOMER_REASONS: {},
        SEGMENT_CHANGES: once(SEGMENT_CHANGES, lambda: _flows(backend, model), _FLOWS),
    }
    return {contract: {**report, "fitted_at": fitted_at} for contract, report in reports.items()}


def _curves(model: Mapping[str, Any]) -> dict[str, Any]:
    from clustering_assets.reports.fit_pictures import curves

    return _shown(curves(model))


def _map(backend: "Backend", profiles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    from clustering_assets.reports.fit_pictures import customer_map

    return _shown(customer_map(table(backend, CUSTOMER_SEGMENTS).to_pandas(), profiles))


def _sizes(profiles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    from clustering_assets.reports.fit_pictures import sizes

    return _shown(sizes(profiles))


def _shown(pictures: Mapping[str, bytes]) -> dict[str, Any]:
    return {name: picture(png) for name, png in pictures.items()}


def _drift_table(drift: Mapping[str, float]) -> dict[str, Any]:
    """Show how far each feature drifted, the farthest first."""
    ordered = sorted(drift.items(), key=lambda item: -item[1])
    records = [dg.TableRecord({"feature": name, "psi": round(psi, 4), "drift": in_words(psi)}) for name, psi in ordered]
    return {"feature_drift": dg.MetadataValue.table(records) if records else "no fit before to compare with"}


_FLOWS = (
    "compared_with",
    "moved",
    "joined",
    "left",
    "kept_segment_share",
    "segment_size_drift",
    "segments_born",
    "segments_retired",
    "flows",
)
"""What `_flows` reports."""


def _flows(backend: "Backend", model: Mapping[str, Any]) -> dict[str, Any]:
    """Report who went where since the fit before."""
    if model["segment_size_drift"] is None:
        return {"compared_with": "nothing: this is the first fit"}
    from clustering_assets.segmentation.identity import flows, segments_before

    changes = table(backend, SEGMENT_CHANGES).to_pandas()
    if model["kept_segment_share"] is None and changes.empty:
        return {"compared_with": "nothing: since the fit before, the pseudonyms of the customers changed"}
    now = table(backend, CUSTOMER_SEGMENTS).to_pandas().set_index("customer_id")[["segment_id", "segment_name"]]
    before = segments_before(changes, now)
    ids_before, ids_now = {*before["segment_id"]} - {-1}, {*now["segment_id"]} - {-1}
    ways = flows(before, now).sort_values("customers", ascending=False).head(_SHOWN_FLOWS)
    ways = ways.fillna({"from_segment_name": "(joined)", "to_segment_name": "(left)"})
    return {
        "compared_with": "the fit before",
        **{change: int((changes["change"] == change).sum()) for change in ("moved", "joined", "left")},
        **figures(model, ["kept_segment_share", "segment_size_drift"]),
        "segments_born": _listed(ids_now - ids_before),
        "segments_retired": _listed(ids_before - ids_now),
        "flows": dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "from": row["from_segment_name"],
                        "to": row["to_segment_name"],
                        "customers": row["customers"],
                        **{
                            share: f"{row[share]:.1%}" if row[share] == row[share] else ""
                            for share in ("share_of_from", "share_of_to")
                        },
                    }
                )
                for row in ways.to_dict("records")
            ]
        ),
    }


def _listed(segment_ids: set[int]) -> str:
    return ", ".join(map(str, sorted(segment_ids))) or "none"


@dg.multi_asset(
    specs=[
        table_spec(
            MODEL_ASSIGNMENTS,
            [CUSTOMER_FEATURES, IMPUTED_FEATURES, SEGMENT_MODEL],
            kinds=["scikitlearn"],
            code_version=SEGMENTATION_VERSION,
        )
    ],
    pool=WAREHOUSE_POOL,
)
def model_assignments(context: dg.AssetExecutionContext, config: ApplyConfig, home: Home) -> dg.MaterializeResult[None]:
    """Put the customers of silver into the segments of a fitted model, unless that is what the table holds already."""
    from clustering_assets.gold import apply_model, drift_since

    with in_one_sentence():
        with home.warehouse.connect() as backend:
            input_version = table_version(backend, CUSTOMER_FEATURES.qualified_name)
            if input_version is None:
                raise dg.Failure(_NO_SILVER)
            model = find_model(backend, config.model_run_id)
            customers, imputed = _customers(backend)
            version = fingerprint(SEGMENTATION_VERSION, input_version, model["model_run_id"])
            changed = version != table_version(backend, MODEL_ASSIGNMENTS.qualified_name)
        if changed:
            context.log.info("applying the model of %s to %s customers", model["fitted_at"], f"{len(customers):,}")
            assigned = apply_model(home.warehouse.home, model["model_run_id"], customers, utc_now())
            with home.warehouse.connect() as backend, accepted(backend, [MODEL_ASSIGNMENTS]):
                replace_table(backend, MODEL_ASSIGNMENTS, assigned)
                record_versions(backend, {MODEL_ASSIGNMENTS.qualified_name: version})
        drift = drift_since(home.warehouse.home, model["model_run_id"], customers, imputed)
        with home.warehouse.connect() as backend:
            rows = table(backend, MODEL_ASSIGNMENTS)
            sizes = rows.group_by(["segment_id", "segment_name"]).aggregate(customers=rows.count())
            counted = sizes.order_by("segment_id").to_pyarrow().to_pylist()
            return dg.MaterializeResult(
                metadata={
                    **table_facts(backend, MODEL_ASSIGNMENTS),
                    "model_run_id": model["model_run_id"],
                    "fitted_at": str(model["fitted_at"]),
                    "sizes": dg.MetadataValue.table([dg.TableRecord(size) for size in counted]),
                    "outlier_share": sum(row["customers"] for row in counted if row["segment_id"] == -1)
                    / len(customers),
                    "largest_feature_drift": max(drift.values()),
                    **_drift_table(drift),
                    "dagster/column_lineage": column_lineage(contract_lineage(MODEL_ASSIGNMENTS)),
                    "changed": changed,
                },
                data_version=dg.DataVersion(version),
            )
