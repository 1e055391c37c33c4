"""History: how the customers moved between the segments, month by month."""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from clustering_assets.contracts import ORDER_LINES, SEGMENT_HISTORY, SEGMENT_MODEL
from clustering_assets.failures import in_one_sentence
from clustering_assets.history import (
    Month,
    assign,
    known_customers,
    month_versions,
    moves,
    order_span,
    share_lines,
    sizes,
    write_month,
)
from clustering_assets.metadata import column_lineage, contract_lineage, picture, table_facts, table_spec
from clustering_assets.pseudonyms import ids_in, what_ids_are
from clustering_assets.resources import WAREHOUSE_POOL, Home, SourceFolder
from clustering_assets.saved_models import find_model
from clustering_assets.sources.ingestion import bronze_version
from clustering_assets.versions import FEATURES_VERSION, SEGMENTATION_VERSION, fingerprint

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_SHOWN_MONTHS = 13
_SHOWN_WAYS = 40


@dg.multi_asset(
    specs=[
        table_spec(
            SEGMENT_HISTORY, [ORDER_LINES, SEGMENT_MODEL], kinds=["scikitlearn"], code_version=SEGMENTATION_VERSION
        )
    ],
    partitions_def=dg.MonthlyPartitionsDefinition(start_date="2009-01-01", timezone="UTC"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=WAREHOUSE_POOL,
)
def history(context: dg.AssetExecutionContext, home: Home, source: SourceFolder) -> dg.MaterializeResult[None]:
    """Put the customers as known at the end of each month into the segments of the newest model.

    Nothing is fitted, so that the segments of all months of a run are the same ones. A month that was made of the same
    order lines by the same model is left as it is. Months before the first order and after the latest have no rows.
    """
    months = [Month(date.fromisoformat(key)) for key in context.partition_keys]
    with in_one_sentence():
        with home.warehouse.connect() as backend:
            model = find_model(backend)
            if ids_in(backend, "gold") != what_ids_are(home.pseudonym_key):
                raise dg.Failure(
                    "The customer ids of gold are of another CLUSTERING_PSEUDONYM_KEY: run everything first."
                )
            until, span = source.day_to_look_from(None), order_span(backend)
            version = fingerprint(
                FEATURES_VERSION,
                SEGMENTATION_VERSION,
                bronze_version(backend),
                model["model_run_id"],
                until,
                ids_in(backend, "gold"),
            )
            recorded = month_versions(backend)
        outside, written = [], []
        for month in months:
            day = month.day_to_look_from(span, until)
            if day is None:
                outside.append(str(month))
            if recorded.get(str(month)) == version:
                continue
            rows = None
            if day:
                with home.warehouse.connect() as backend:
                    customers = known_customers(backend, day, home.pseudonym_key)
                if len(customers):
                    context.log.info("%s: %s customers known on %s", month, f"{len(customers):,}", day)
                    rows = assign(home.warehouse.home, model["model_run_id"], customers, day)
            with home.warehouse.connect() as backend:
                write_month(backend, month, rows, version)
            written.append(str(month))
        with home.warehouse.connect() as backend:
            report = _report(backend)
            # once, and not with every month of the run
            context.add_asset_metadata(report, partition_key=context.partition_keys[-1])
            return dg.MaterializeResult(
                metadata={
                    **table_facts(backend, SEGMENT_HISTORY),
                    "model_run_id": model["model_run_id"],
                    "months_computed": len(written),
                    "months_without_orders": _without_orders(outside, span),
                    "dagster/column_lineage": column_lineage(contract_lineage(SEGMENT_HISTORY)),
                    "changed": bool(written),
                },
                data_version=dg.DataVersion(version),
            )


def _without_orders(months: list[str], span: tuple[date, date] | None) -> str:
    if not months:
        return "none"
    orders = f"the orders are from {span[0]} to {span[1]}" if span else "no order has a date"
    return f"{len(months)} ({months[0]} to {months[-1]}): {orders}, so that nobody was known or nothing new is"


def _report(backend: "Backend") -> dict[str, Any]:
    """Report on the latest months of the table, whichever of them this run computed."""
    from clustering_assets.reports.pictures import segment_shares

    counted = sizes(backend, _SHOWN_MONTHS)
    if not counted:
        return {"sizes": "nobody was known in any month so far"}
    days, shares, names = share_lines(counted)
    summary, ways = moves(backend, days)
    others = [row["month"] for row in summary if not row["same_model"]]
    return {
        "sizes": _table(
            [{"month": f"{row['as_of']:%Y-%m}", **{name: row[name] for name in _SIZE}} for row in counted], "no month"
        ),
        "months": _table(summary, "one month only: nothing to compare"),
        "flows": _table(sorted(ways, key=lambda way: -way["customers"])[:_SHOWN_WAYS], "nobody moved"),
        "compared_across_models": f"{', '.join(others)}: backfill the months before, to compare like with like"
        if others
        else "none",
        "shares": picture(segment_shares(days, shares, names)),
    }


_SIZE = ("segment_id", "segment_name", "customers", "share")


def _table(rows: list[Mapping[str, Any]] | list[dict[str, Any]], otherwise: str) -> dg.TableMetadataValue | str:
    records = [
        dg.TableRecord(
            {
                name: f"{value:.1%}" if isinstance(value, float) else "" if value is None else value
                for name, value in row.items()
            }
        )
        for row in rows
    ]
    return dg.MetadataValue.table(records) if records else otherwise
