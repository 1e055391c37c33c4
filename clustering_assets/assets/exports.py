"""Exports: the layers, and what they say, where business people look."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

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
    shown_before,
)
from clustering_assets.pseudonyms import CLEAR, ids_in
from clustering_assets.resources import WAREHOUSE_POOL, Database, Home, Reporting, Retention
from clustering_assets.sources.ingestion import bronze_version
from clustering_assets.versions import PUBLISHING_VERSION, REPORT_VERSION, fingerprint
from clustering_assets.warehouse import (
    forget_versions,
    record_versions,
    row_count,
    table,
    table_version,
    utc_now,
)

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

    from clustering_assets.publishing.content import Content
    from clustering_assets.publishing.publish import Published
    from clustering_assets.reports.findings import Findings
    from clustering_assets.reports.wording import Wording

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
            rows_there = row_count(backend, contract)
            if changed:
                rows = table(backend, contract).order_by(list(contract.key)).to_pyarrow()
                # before it is there: a run that is killed leaves no workbook of which nobody knows what it holds
                record_versions(backend, {f"exports.{path.name}": version})
        if changed:
            _log.info("writing %s customers to %s", f"{rows_there:,}", path.name)
            write_workbook(path, contract, rows)
        _remove_old(home, stem, keep)
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(path),
            "dagster/row_count": rows_there,
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
def segment_report(
    context: dg.AssetExecutionContext, home: Home, retention: Retention, reporting: Reporting
) -> dg.MaterializeResult[None]:
    """Write the report, unless the last one tells the same."""

    def read(_: "Backend", findings: "Findings") -> Callable[..., None]:
        from clustering_assets.reports.segment_report import write_report

        return partial(write_report, findings=findings)

    return _report(context, home, retention, reporting, ".html", read)


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
def segment_report_workbook(
    context: dg.AssetExecutionContext, home: Home, retention: Retention, reporting: Reporting
) -> dg.MaterializeResult[None]:
    """Write the workbook of the report, unless the last one tells the same."""

    def read(backend: "Backend", findings: "Findings") -> Callable[..., None]:
        from clustering_assets.reports.segment_workbook import read_content, write_segment_workbook

        return partial(write_segment_workbook, content=read_content(backend, findings))

    def list_facts(findings: "Findings") -> dict[str, Any]:
        from clustering_assets.reports.segment_workbook import MOST_LISTED

        return {
            "dagster/row_count": min(int(findings.key_figure("customers").value or 0), MOST_LISTED),
            "dagster/column_lineage": column_lineage(contract_lineage(CUSTOMER_LIST)),
        }

    return _report(context, home, retention, reporting, ".xlsx", read, list_facts)


def _report(
    context: dg.AssetExecutionContext,
    home: Home,
    retention: Retention,
    reporting: Reporting,
    suffix: str,
    read: Callable[["Backend", "Findings"], Callable[..., None]],
    more_facts: Callable[["Findings"], dict[str, Any]] = lambda _: {},
) -> dg.MaterializeResult[None]:
    """Write a report with what `read` returns, unless the last one tells the same.

    What the tables have to say is read only where it has to be written, or was never shown.
    """
    from clustering_assets.reports.findings_tables import read_findings, read_history, read_out_of_time
    from clustering_assets.reports.workbook import newest_export, next_export

    with in_one_sentence():
        now = utc_now()
        with home.warehouse.connect() as backend:
            ids = ids_in(backend, "gold")
            told = [table_version(backend, contract.qualified_name) for contract in _TOLD_OF[3:]]
            apart = [str(row) for row in (*read_history(backend), *read_out_of_time(backend))]
            content = fingerprint(
                REPORT_VERSION, bronze_version(backend), told, apart, reporting.language, reporting.currency
            )
            version = f"{content}-{ids}"
            path = next_export(home.exports, _REPORT, now, suffix)  # before any is removed: no name is used twice
            _remove_other_ids(backend, home, _REPORT, ids)
            newest = newest_export(home.exports, _REPORT, suffix)
            changed = newest is None or table_version(backend, f"exports.{newest.name}") != version
            path = path if newest is None or changed else newest
            facts = {} if changed else {**shown_before(context, context.asset_key, "path", str(path))}
            if not facts:
                findings = read_findings(backend)
                facts = {**_told(findings, reporting), **more_facts(findings)}
            if changed:
                write = read(backend, findings)
                record_versions(backend, {f"exports.{path.name}": version})
        if changed:
            write(path, wording=_wording(reporting), now=now)
        _remove_old(home, _REPORT, retention.keep_exports, suffix)
    return dg.MaterializeResult(
        metadata={
            **facts,
            "path": dg.MetadataValue.path(path),
            "bytes": path.stat().st_size,
            "changed": changed,
        },
        data_version=dg.DataVersion(version),
    )


def _wording(reporting: Reporting) -> "Wording":
    from clustering_assets.reports.wording import Wording

    return Wording(reporting.language, reporting.currency)


def _told(findings: "Findings", reporting: Reporting) -> dict[str, Any]:
    """Return what a report says first, and its figures."""
    from clustering_assets.reports.segment_report import headline

    return {
        "headline": headline(findings, _wording(reporting)),
        "language": reporting.language,
        "currency": reporting.currency,
        **{figure.name: figure.value for figure in findings.key_figures if figure.value is not None},
    }


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
