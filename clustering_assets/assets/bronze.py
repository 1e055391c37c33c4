"""Bronze: order lines as the sources have them, what could not be kept, and an account of every file."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from clustering_assets.contracts import FORGOTTEN_CUSTOMERS, ORDER_LINES, REJECTED_ROWS, SOURCE_FILES
from clustering_assets.failures import in_one_sentence
from clustering_assets.forgetting import forgotten_customers
from clustering_assets.metadata import NEWEST_CONTENT, asset_key, table_facts, table_spec, verbatim
from clustering_assets.resources import WAREHOUSE_POOL, Engine, Home, QualityLimits, SourceFolder
from clustering_assets.sources.accounting import (
    cancellation_outcomes,
    file_accounts,
    newest_content,
    rejections_by_code,
    totals,
)
from clustering_assets.sources.ingestion import READER_VERSION, bronze_version, ingest
from clustering_assets.warehouse import utc_now

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_TABLES = (ORDER_LINES, REJECTED_ROWS, SOURCE_FILES)
_LOOKED_AT_WITHIN = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=2), warn_window=timedelta(hours=30))
"""The source folder is looked at every night at least, whether anything in it is new or not."""


@dg.multi_asset(
    specs=[
        table_spec(contract, [FORGOTTEN_CUSTOMERS], code_version=READER_VERSION).replace_attributes(
            freshness_policy=_LOOKED_AT_WITHIN
        )
        for contract in _TABLES
    ],
    pool=WAREHOUSE_POOL,
)
def bronze(
    context: dg.AssetExecutionContext, home: Home, source: SourceFolder, engine: Engine, quality_limits: QualityLimits
) -> Iterator[dg.MaterializeResult[None]]:
    """Read the files that are new or changed since the last time."""
    with in_one_sentence():
        cluster = engine.cluster
        with home.warehouse.connect() as backend:
            forgotten = forgotten_customers(backend, home.warehouse.home)
            how = (source.folder, utc_now(), source.layout, source.limits, forgotten, quality_limits.least_rows_kept)
            changed = ingest(backend, *how) if cluster is None else False
        if cluster is not None:
            from clustering_assets.spark import bronze as on_spark

            changed = on_spark.ingest(cluster, home.warehouse, *how)
    with in_one_sentence(), home.warehouse.connect() as backend:
        version = dg.DataVersion(bronze_version(backend))
        reports = {
            ORDER_LINES: _order_lines(backend),
            REJECTED_ROWS: rejections_by_code(backend),
            SOURCE_FILES: _source_files(backend),
        }
        context.log.info(
            "%s: %s", "what changed was read" if changed else "nothing changed", _in_words(totals(backend))
        )
        for contract, report in reports.items():
            facts = table_facts(backend, contract)
            yield dg.MaterializeResult(
                asset_key=asset_key(contract),
                metadata={**facts, **report, "changed": changed},
                data_version=version,
            )


def _in_words(rows: Mapping[str, int]) -> str:
    return (
        f"{rows['rows_read']:,} rows from {rows['files_loaded']:,} files, {rows['rows_kept']:,} kept, "
        f"{rows['rows_rejected']:,} rejected"
    )


def _order_lines(backend: "Backend") -> dict[str, Any]:
    newest = newest_content(backend)
    return {
        **totals(backend),
        **cancellation_outcomes(backend),
        **({NEWEST_CONTENT: dg.MetadataValue.timestamp(newest)} if newest else {}),
    }


def _source_files(backend: "Backend") -> dict[str, Any]:
    accounts = file_accounts(backend)
    not_loaded = [
        f"- {verbatim(row['source_file'])} ({row['status']}): {verbatim(row['reason'])}"
        for row in accounts
        if row["reason"] and row["status"] != "loaded"
    ]
    return {
        "reconciliation": dg.MetadataValue.table(
            [dg.TableRecord({name: "" if value is None else value for name, value in row.items()}) for row in accounts]
        )
        if accounts
        else "no file",
        "files_not_loaded": dg.MetadataValue.md("\n".join(not_loaded) or "none"),
    }
