"""Exports: the layers, and what they say, where business people look."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

import dagster as dg

from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    CUSTOMER_LIST,
    CUSTOMER_REASONS,
    CUSTOMER_SEGMENTS,
    DROPPED_CUSTOMERS,
    IMPUTATION_LOG,
    ORDER_LINES,
    PUBLICATION,
    PUBLISHED,
    REJECTED_ROWS,
    SCALED_FEATURES,
    SEGMENT_CHANGES,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    SOURCE_FILES,
    WORKBOOKS,
)
from clustering_assets.failures import in_one_sentence
from clustering_assets.metadata import (
    OWNERS,
    asset_key,
    column_lineage,
    column_schema,
    contract_lineage,
    copied_lineage,
)
from clustering_assets.pseudonyms import CLEAR, ids_in
from clustering_assets.resources import WAREHOUSE_POOL, Database, Home, Reporting, Retention
from clustering_assets.sources.ingestion import bronze_version
from clustering_assets.versions import PUBLISHING_VERSION, REPORT_VERSION, fingerprint
from clustering_assets.warehouse import (
    forget_versions,
    record_versions,
    table,
    table_version,
    utc_now,
)

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

    from clustering_assets.publishing.content import Content
    from clustering_assets.publishing.publish import Published
    from clustering_assets.reports.findings import Findings

_EXPORT_VERSION = "2"
_REPORT = "segment_report"
"""How the names of the reports begin."""
_TOLD_OF = (
    ORDER_LINES,
    SOURCE_FILES,
    REJECTED_ROWS,
    CUSTOMER_FEATURES,
    IMPUTATION_LOG,
    DROPPED_CUSTOMERS,
    SCALED_FEATURES,
    SEGMENT_MODEL,
    CUSTOMER_SEGMENTS,
    SEGMENT_PROFILES,
    CUSTOMER_REASONS,
    SEGMENT_CHANGES,
)
"""What the reports are made of. The history and the validation have jobs of their own; what they found is told too."""
_log = logging.getLogger(__name__)


def _workbook_spec(name: str) -> dg.AssetSpec:
    stem, contract = WORKBOOKS[name]
    return dg.AssetSpec(
        ["exports", name],
        deps=[asset_key(contract)],
        description=f"`{stem}_<UTC timestamp>.xlsx`: {contract.qualified_name}, and a data dictionary.\n\n"
        f"{contract.grain}.",
        group_name="exports",
        kinds={"excel"},
        owners=OWNERS,
        tags={"layer": "exports"},
        code_version=_EXPORT_VERSION,
        metadata={"dagster/column_schema": column_schema(contract, copied_lineage(contract)), "grain": contract.grain},
    )


@dg.multi_asset(specs=[_workbook_spec("silver_workbook")], pool=WAREHOUSE_POOL)
def silver_workbook(home: Home, retention: Retention) -> dg.MaterializeResult[None]:
    """Write the silver table as a workbook, unless the last one holds the same."""
    return _workbook(home, "silver_workbook", retention.keep_exports)


@dg.multi_asset(specs=[_workbook_spec("gold_workbook")], pool=WAREHOUSE_POOL)
def gold_workbook(home: Home, retention: Retention) -> dg.MaterializeResult[None]:
    """Write the scaled features as a workbook, unless the last one holds the same."""
    return _workbook(home, "gold_workbook", retention.keep_exports)


def _remove_other_ids(backend: "Backend", home: Home, stem: str, ids: str) -> None:
    """Where a pseudonym key is set, remove exports, unfinished ones too, whose customers have other ids."""
    if ids != CLEAR:
        for path in home.exports.glob(f"*{stem}*"):
            if not (table_version(backend, f"exports.{path.name}") or "").endswith(f"-{ids}"):
                path.unlink()


def _remove_old(home: Home, stem: str, keep: int, suffix: str = ".xlsx") -> None:
    """Remove all but the newest exports of a kind, now that the newest is there whole."""
    from clustering_assets.reports.workbook import exports_of

    old = exports_of(home.exports, stem, suffix)[:-keep]
    if old:
        with home.warehouse.connect() as backend:
            forget_versions(backend, [f"exports.{path.name}" for path in old])
    for path in old:
        path.unlink(missing_ok=True)


def _workbook(home: Home, name: str, keep: int) -> dg.MaterializeResult[None]:
    from clustering_assets.reports.workbook import newest_export, next_export, write_workbook

    stem, contract = WORKBOOKS[name]

    with in_one_sentence():
        with home.warehouse.connect() as backend:
            table_is = table_version(backend, contract.qualified_name)
            if table_is is None:
                layer = asset_key(contract).to_user_string()
                raise dg.Failure(f"There is no {contract.qualified_name} yet: materialize {layer} first.")
            ids = ids_in(backend, contract.layer)
            version = f"{fingerprint(_EXPORT_VERSION, table_is)}-{ids}"
            path = next_export(home.exports, stem, utc_now())  # before any is removed: no name is used twice
            _remove_other_ids(backend, home, stem, ids)
            newest = newest_export(home.exports, stem)
            changed = newest is None or table_version(backend, f"exports.{newest.name}") != version
            path = path if newest is None or changed else newest
            row_count = int(table(backend, contract).count().execute())
            if changed:
                rows = table(backend, contract).order_by(list(contract.key)).to_pyarrow()
                # before it is there: a run that is killed leaves no workbook of which nobody knows what it holds
                record_versions(backend, {f"exports.{path.name}": version})
        if changed:
            _log.info("writing %s customers to %s", f"{row_count:,}", path.name)
            write_workbook(path, contract, rows)
        _remove_old(home, stem, keep)
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(path),
            "dagster/row_count": row_count,
            "columns": len(contract.columns),
            "bytes": path.stat().st_size,
            "dagster/column_lineage": column_lineage(copied_lineage(contract)),
            "changed": changed,
        },
        data_version=dg.DataVersion(version),
    )


def _report_spec(name: str, kind: str, suffix: str, description: str, grain: str, **metadata: object) -> dg.AssetSpec:
    return dg.AssetSpec(
        ["exports", name],
        deps=[asset_key(contract) for contract in _TOLD_OF],
        description=f"`{_REPORT}_<UTC timestamp>{suffix}`: {description}\n\n{grain}.",
        group_name="exports",
        kinds={kind},
        owners=OWNERS,
        tags={"layer": "exports"},
        code_version=REPORT_VERSION,
        metadata={"grain": grain, **metadata},
    )


@dg.multi_asset(
    specs=[
        _report_spec(
            _REPORT,
            "html",
            ".html",
            "what the segments are, what changed, what to do and how sure that is, for people who never open Dagster. "
            "One file without a network, for a mail, a phone or paper.",
            "One file per run that changed something",
        )
    ],
    pool=WAREHOUSE_POOL,
)
def segment_report(home: Home, retention: Retention, reporting: Reporting) -> dg.MaterializeResult[None]:
    """Write the report, unless the last one tells the same."""
    from clustering_assets.reports.segment_report import write_report

    return _report(home, retention, reporting, ".html", lambda _, findings: partial(write_report, findings=findings))


@dg.multi_asset(
    specs=[
        _report_spec(
            "segment_report_workbook",
            "excel",
            ".xlsx",
            "the same for people who live in Excel, with every customer to filter and to sort.",
            f"{CUSTOMER_LIST.grain}, on the sheet of the customers",
            **{"dagster/column_schema": column_schema(CUSTOMER_LIST, contract_lineage(CUSTOMER_LIST))},
        )
    ],
    pool=WAREHOUSE_POOL,
)
def segment_report_workbook(home: Home, retention: Retention, reporting: Reporting) -> dg.MaterializeResult[None]:
    """Write the workbook of the report, unless the last one tells the same."""
    from clustering_assets.reports.segment_workbook import MOST_LISTED, read_content, write_segment_workbook

    written = _report(
        home,
        retention,
        reporting,
        ".xlsx",
        lambda backend, findings: partial(write_segment_workbook, content=read_content(backend, findings)),
    )
    facts = written.metadata or {}
    return written._replace(
        metadata={
            **facts,
            "dagster/row_count": min(int(cast("float", facts["customers"])), MOST_LISTED),
            "dagster/column_lineage": column_lineage(contract_lineage(CUSTOMER_LIST)),
        }
    )


def _report(
    home: Home,
    retention: Retention,
    reporting: Reporting,
    suffix: str,
    reading: Callable[["Backend", "Findings"], Callable[..., None]],
) -> dg.MaterializeResult[None]:
    """Write a report with what `reading` returns, unless the last one tells the same."""
    from clustering_assets.reports.findings import read_findings
    from clustering_assets.reports.segment_report import headline
    from clustering_assets.reports.wording import Wording
    from clustering_assets.reports.workbook import newest_export, next_export

    with in_one_sentence():
        now, wording = utc_now(), Wording(reporting.language, reporting.currency)
        with home.warehouse.connect() as backend:
            findings = read_findings(backend)
            ids = ids_in(backend, "gold")
            told = [table_version(backend, contract.qualified_name) for contract in _TOLD_OF[3:]]
            apart = [str(row) for row in (*findings.history, *findings.out_of_time)]
            content = fingerprint(
                REPORT_VERSION, bronze_version(backend), told, apart, reporting.language, reporting.currency
            )
            version = f"{content}-{ids}"
            path = next_export(home.exports, _REPORT, now, suffix)  # before any is removed: no name is used twice
            _remove_other_ids(backend, home, _REPORT, ids)
            newest = newest_export(home.exports, _REPORT, suffix)
            changed = newest is None or table_version(backend, f"exports.{newest.name}") != version
            path = path if newest is None or changed else newest
            if changed:
                write = reading(backend, findings)
                record_versions(backend, {f"exports.{path.name}": version})
        if changed:
            write(path, wording=wording, now=now)
        _remove_old(home, _REPORT, retention.keep_exports, suffix)
    figures = {figure.name: figure.value for figure in findings.key_figures if figure.value is not None}
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(path),
            "headline": headline(findings, wording),
            "language": reporting.language,
            "currency": reporting.currency,
            **figures,
            "bytes": path.stat().st_size,
            "changed": changed,
        },
        data_version=dg.DataVersion(version),
    )


def published_now(home: Home, database: Database, url: str) -> tuple["Content", "Published"]:
    """Publish the tables as they stand, unless the database has them already."""
    # the drivers are not loaded with the code location
    from clustering_assets.publishing.content import read_content
    from clustering_assets.publishing.publish import publish

    with home.warehouse.connect() as backend:
        content = read_content(backend)
    keep_dropped = database.dropped_columns == "keep"
    return content, publish(content, url, database.schema_name, keep_dropped=keep_dropped, now=utc_now())


_NAMES = ", ".join(f"`{contract.qualified_name}`" for contract in PUBLISHED)


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            ["exports", "database_tables"],
            deps=[asset_key(contract) for contract in PUBLISHED],
            description=f"{_NAMES}, in the database that CLUSTERING_PUBLISH_URL names, all in one transaction; "
            f"`publication` beside them says what was published.\n\n{PUBLICATION.grain}, in `publication`.",
            group_name="exports",
            kinds={"sql", "table"},
            owners=OWNERS,
            tags={"layer": "exports"},
            code_version=PUBLISHING_VERSION,
            metadata={"dagster/column_schema": column_schema(PUBLICATION), "grain": PUBLICATION.grain},
            skippable=True,
        )
    ],
    pool=WAREHOUSE_POOL,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL),
)
def database_tables(
    context: dg.AssetExecutionContext, home: Home, database: Database
) -> Iterator[dg.MaterializeResult[None]]:
    """Publish the tables, unless the database has them already; without a database, do nothing and say so."""
    if database.url is None:
        unset = "Nothing is published: CLUSTERING_PUBLISH_URL is not set."
        context.log.info(unset)
        context.log_event(dg.AssetObservation(context.asset_key, description=unset, metadata={"published": False}))
        return
    with in_one_sentence():
        started = time.monotonic()
        content, published = published_now(home, database, database.url)
        yield dg.MaterializeResult(
            metadata={
                "database": published.database,
                "tables": dg.MetadataValue.table(
                    [dg.TableRecord({"table": name, "rows": rows}) for name, rows in published.tables.items()]
                ),
                "dagster/row_count": sum(published.tables.values()),
                "columns_added": ", ".join(published.columns_added) or "none",
                "columns_left_empty": ", ".join(published.columns_left_empty) or "none",
                "seconds": round(time.monotonic() - started, 3),
                "model_run_id": content.model_run_id,
                "changed": published.changed,
            },
            data_version=dg.DataVersion(content.version),
        )


EXPORTS = [silver_workbook, gold_workbook, segment_report, segment_report_workbook, database_tables]
"""Every export."""
