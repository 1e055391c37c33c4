"""Validation: whether segments of past days say anything about what customers did afterwards."""

from typing import Any

import dagster as dg

from clustering_assets.acceptance import accepted
from clustering_assets.config import parse_day
from clustering_assets.contracts import ORDER_LINES, OUT_OF_TIME_VALIDATION
from clustering_assets.failures import in_one_sentence
from clustering_assets.metadata import column_lineage, contract_lineage, picture, table_facts, table_spec
from clustering_assets.out_of_time import SEGMENTS, observe, validate
from clustering_assets.resources import WAREHOUSE_POOL, Home, SourceFolder
from clustering_assets.run_config import ValidationConfig
from clustering_assets.sources.ingestion import bronze_version
from clustering_assets.versions import FEATURES_VERSION, SEGMENTATION_VERSION, VALIDATION_VERSION, fingerprint
from clustering_assets.warehouse import (
    has_table,
    record_versions,
    replace_table,
    table,
    table_version,
    utc_now,
)

_NAME = OUT_OF_TIME_VALIDATION.qualified_name


@dg.multi_asset(
    specs=[table_spec(OUT_OF_TIME_VALIDATION, [ORDER_LINES], kinds=["scikitlearn"], code_version=VALIDATION_VERSION)],
    pool=WAREHOUSE_POOL,
)
def validation(
    context: dg.AssetExecutionContext, config: ValidationConfig, home: Home, source: SourceFolder
) -> dg.MaterializeResult[None]:
    """Segment the customers of past days and look at what they did next, unless nothing changed since last time."""
    with in_one_sentence():
        with home.warehouse.connect() as backend:
            if not has_table(backend, ORDER_LINES):
                raise dg.Failure("There is no bronze layer yet: materialize bronze/order_lines first.")
            until = source.day_to_look_from(None)
            versions = (FEATURES_VERSION, SEGMENTATION_VERSION, VALIDATION_VERSION, bronze_version(backend))
            version = fingerprint(*versions, until, config.model_dump())
            changed = version != table_version(backend, _NAME)
            if changed:
                observed = observe(
                    backend,
                    table(backend, ORDER_LINES),
                    until,
                    as_of=parse_day(config.as_of, "as_of"),
                    horizon_days=config.horizon_days,
                    history_days=config.history_days,
                    most=config.cut_dates,
                    days_apart=config.days_apart,
                )
        if changed:
            context.log.info("segmenting the customers known on %s", ", ".join(map(str, observed)))
            found = validate(observed, config.parameters()).assign(
                horizon_days=config.horizon_days, validated_at=utc_now()
            )
            with home.warehouse.connect() as backend, accepted(backend, [OUT_OF_TIME_VALIDATION]):
                replace_table(backend, OUT_OF_TIME_VALIDATION, found)
                record_versions(backend, {_NAME: version})
        with home.warehouse.connect() as backend:
            return dg.MaterializeResult(
                metadata={
                    **table_facts(backend, OUT_OF_TIME_VALIDATION),
                    **_report(table(backend, OUT_OF_TIME_VALIDATION).to_pyarrow().to_pylist()),
                    "dagster/column_lineage": column_lineage(contract_lineage(OUT_OF_TIME_VALIDATION)),
                    "changed": changed,
                },
                data_version=dg.DataVersion(version),
            )


def _report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Report on the validation: the segments' figures on the latest day, to plot over time, and all days as tables."""
    from clustering_assets.reports import pictures
    from clustering_assets.reports.validation_tables import validation_tables

    latest = [row for row in rows if row["as_of"] == max(row["as_of"] for row in rows)]
    return {
        **{
            f"{row['target']}_{row['scale']}_eta_squared": row["eta_squared"]
            for row in latest
            if row["method"] == SEGMENTS and row["eta_squared"] is not None
        },
        "validation": dg.MetadataValue.md(validation_tables(rows)),
        "variance_explained": picture(pictures.variance_explained(latest)),
    }
