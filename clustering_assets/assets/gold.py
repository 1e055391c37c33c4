"""Gold: scaled features, the fitted model, the segment of each customer and what the segments are."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from clustering_assets.config import GoldConfig
from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    CUSTOMER_SEGMENTS,
    IMPUTED_FEATURES,
    SCALED_FEATURES,
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
    table_facts,
    table_spec,
)
from clustering_assets.resources import Home
from clustering_assets.versions import SEGMENTATION_VERSION, fingerprint
from clustering_assets.warehouse import (
    Warehouse,
    record_versions,
    replace_table,
    table,
    table_version,
    transaction,
    utc_now,
)

if TYPE_CHECKING:
    import pandas as pd
    from ibis.backends.duckdb import Backend

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
)

_UPSTREAM = {
    SCALED_FEATURES: [CUSTOMER_FEATURES, IMPUTED_FEATURES],
    SEGMENT_MODEL: [SCALED_FEATURES],
    CUSTOMER_SEGMENTS: [SCALED_FEATURES, SEGMENT_MODEL],
    SEGMENT_PROFILES: [CUSTOMER_FEATURES, CUSTOMER_SEGMENTS],
}


@dg.multi_asset(
    specs=[
        table_spec(contract, deps, kinds=["scikitlearn"], code_version=SEGMENTATION_VERSION)
        for contract, deps in _UPSTREAM.items()
    ]
)
def gold(context: dg.AssetExecutionContext, config: GoldConfig, home: Home) -> Iterator[dg.MaterializeResult[None]]:
    """Fit the segmentation, unless silver and the settings are the same as last time."""
    with in_one_sentence():
        with home.warehouse.connect() as backend:
            input_version = table_version(backend, CUSTOMER_FEATURES.qualified_name)
            if input_version is None:
                raise dg.Failure("There is no silver layer yet: materialize silver/customer_features first.")
            version = fingerprint(SEGMENTATION_VERSION, input_version, config.model_dump())
            changed = version != table_version(backend, CUSTOMER_SEGMENTS.qualified_name)
            if changed:
                customers = table(backend, CUSTOMER_FEATURES).order_by("customer_id").to_pandas()
                imputed = table(backend, IMPUTED_FEATURES).to_pandas().set_index("customer_id")["imputed_count"]
        if changed:
            context.log.info("segmenting %s customers", f"{len(customers):,}")
            _segment(config, customers, imputed, home.warehouse, input_version, version)
        with home.warehouse.connect() as backend:
            reports = _reports(backend)
            for contract in _UPSTREAM:
                yield dg.MaterializeResult(
                    asset_key=asset_key(contract),
                    metadata={
                        **table_facts(backend, contract, home.pseudonym_key),
                        **reports[contract],
                        "dagster/column_lineage": column_lineage(contract_lineage(contract)),
                        "changed": changed,
                    },
                    data_version=dg.DataVersion(version),
                )


def _segment(
    config: GoldConfig,
    customers: "pd.DataFrame",
    imputed: "pd.Series[int]",
    warehouse: Warehouse,
    input_version: str,
    version: str,
) -> None:
    # scikit-learn and openTSNE are not loaded with the code location, only when they are needed
    from clustering_assets.gold import segment

    settings = config.model_dump()
    found = segment(
        customers,
        imputed,
        map_parameters={"perplexity": settings.pop("map_perplexity"), "max_landmarks": settings.pop("map_landmarks")},
        stability_resamples=settings.pop("stability_resamples"),
        parameters=settings,
        input_version=input_version,
        model_run_id=version,
        now=utc_now(),
    )
    with warehouse.connect() as backend, transaction(backend):
        for contract, rows in found.items():
            replace_table(backend, contract, rows)
        record_versions(backend, {contract.qualified_name: version for contract in found})


def _reports(backend: "Backend") -> dict[TableContract, dict[str, Any]]:
    """Report on each gold table, from the tables themselves, so that unchanged ones are reported on too."""
    from clustering_assets.reports import pictures

    model = table(backend, SEGMENT_MODEL).to_pyarrow().to_pylist()[0]
    profiles = table(backend, SEGMENT_PROFILES).to_pandas()
    segments = table(backend, CUSTOMER_SEGMENTS).select("segment_id", "map_x", "map_y").to_pandas()
    names = dict(zip(profiles["segment_id"], profiles["segment_name"], strict=True))
    sizes = dict(zip(profiles["segment_id"], profiles["customers"], strict=True))
    quality = {
        **figures(model, _QUALITY),
        "clustered_customers": model["customers"] - model["outliers"],
        "clustered_share": 1 - model["outliers"] / model["customers"],
        "outlier_share": model["outliers"] / model["customers"],
        "ignored_features": model["ignored_features"] or "none",
        "notes": model["notes"] or "none",
    }
    choices = json.loads(model["choices_of_k"])
    curves = {
        "k_distances": picture(pictures.k_distance_curve(json.loads(model["k_distance_curve"]), model["eps"])),
        **(
            {"choice_of_k": picture(pictures.cluster_choice_curve(choices, chosen_k=model["segments"]))}
            if choices
            else {}
        ),
    }
    sentences = [f"- **{row.segment_name}** ({row.share:.1%}): {row.description}" for row in profiles.itertuples()]
    return {
        SCALED_FEATURES: {"ignored_features": model["ignored_features"] or "none"},
        SEGMENT_MODEL: {**quality, **curves},
        CUSTOMER_SEGMENTS: {
            **quality,
            "map": picture(pictures.customer_map(segments[["map_x", "map_y"]], segments["segment_id"], names)),
        },
        SEGMENT_PROFILES: {
            "segments": dg.MetadataValue.md("\n".join(sentences)),
            "sizes": dg.MetadataValue.table(
                [
                    dg.TableRecord({"segment_name": row.segment_name, "customers": row.customers, "share": row.share})
                    for row in profiles.itertuples()
                ]
            ),
            "sizes_picture": picture(pictures.segment_sizes(sizes, names)),
        },
    }
