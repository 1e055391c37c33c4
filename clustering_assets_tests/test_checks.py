"""Every asset check, passing on what a run made and failing on a warehouse in which just that was broken."""

from __future__ import annotations

import shutil
from datetime import datetime
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from clustering_assets.contracts import MODEL_ASSIGNMENTS, OUT_OF_TIME_VALIDATION, SEGMENT_HISTORY
from clustering_assets.definitions import build_defs, defs
from clustering_assets.resources import Home, SourceFolder
from clustering_assets.warehouse import replace_table, table
from clustering_assets_tests.conftest import Shop

FIT = "(select any_value(model_run_id) from gold.customer_segments)"
SOMEBODY = "(select min(customer_id) from gold.customer_segments)"
CHANGED = (
    f"insert into gold.segment_changes by name select {SOMEBODY} as customer_id, '{{change}}' as change, "
    f"-1 as from_segment_id, {{to}} as to_segment_id, {FIT} as from_model_run_id, {FIT} as model_run_id, "
    "now()::timestamp as changed_at"
)


def figure(table: str, name: str, **to: float) -> str:
    said = ", ".join(f"{column} = {value}" for column, value in to.items())
    return f"update main.table_figures set {said} where name = '{table}' and figure = '{name}'"


BROKEN = {
    "bronze/order_lines follows_contract": "update bronze.order_lines set quantity = 0 where source_row = 3",
    "bronze/forgotten_customers follows_contract": "insert into bronze.forgotten_customers values ('hash', null)",
    "bronze/fulfilled_requests follows_contract": "insert into bronze.fulfilled_requests "
    "values ('2025-01-02', '2025-01-01', -1, 1)",
    "bronze/rejected_rows follows_contract": "update bronze.rejected_rows set source_file = 'ghost.csv'",
    "bronze/source_files follows_contract": "update bronze.source_files set status = 'lost'",
    "bronze/source_files every_row_accounted_for": "delete from bronze.order_lines where source_row = 3",
    "bronze/source_files every_file_usable": "update bronze.source_files set status = 'unusable', reason = 'is torn'",
    "bronze/order_lines row_count_steady": figure("bronze.order_lines", "rows", before=10_000),
    "bronze/order_lines missing_shares_steady": figure("bronze.order_lines", "missing category", before=0.5),
    "bronze/order_lines newest_order_plausible": figure("bronze.order_lines", "newest order", before=40_000),
    "bronze/order_lines categories_and_brands_known": "update main.values_seen set first_seen = '2020-01-01' "
    "where value <> (select min(value) from main.values_seen where kind = 'category')",
    "bronze/rejected_rows few_rejected": figure("bronze.order_lines", "rejected share", now=0.2),
    "bronze/source_files layouts_known": "insert into main.values_seen values ('layout', 'older', '2020-01-01')",
    "silver/customer_features row_count_steady": figure("silver.customer_features", "rows", before=5),
    "silver/customer_features imputed_shares_steady": figure(
        "silver.customer_features", "missing return_rate", before=0.4
    ),
    "silver/customer_features follows_contract": "update silver.customer_features set tenure_stage = 'Ancient'",
    "silver/customer_features every_customer_kept_or_dropped": "delete from silver.customer_features "
    "where customer_id = (select min(customer_id) from silver.customer_features)",
    "silver/imputation_log follows_contract": "update silver.imputation_log set rule = 'guess'",
    "silver/imputation_log every_fill_logged": "update silver.imputation_log set values_filled = values_filled + 1",
    "silver/dropped_customers follows_contract": "insert into silver.dropped_customers values ('x', null, 1)",
    "silver/dropped_customers core_metrics_missing": "insert into silver.dropped_customers values ('x', 'mood', 1)",
    "silver/imputed_features follows_contract": "delete from silver.imputed_features where imputed_count = "
    "(select max(imputed_count) from silver.imputed_features)",
    "silver/imputed_features count_is_of_the_names": "update silver.imputed_features set imputed_count = 30",
    "gold/scaled_features follows_contract": "update gold.scaled_features set return_rate_scaled = 'nan'",
    "gold/scaled_features completeness_follows_imputation": "update gold.scaled_features set feature_completeness = 0",
    "gold/segment_model follows_contract": "delete from gold.segment_model",
    "gold/segment_model figures_are_of_the_tables": "update gold.segment_model set outliers = outliers + 1",
    "gold/segment_model outlier_share": "update gold.segment_model set outliers = customers / 2",
    "gold/segment_model silhouette": "update gold.segment_model set silhouette = 0",
    "gold/segment_model stability": "update gold.segment_model set stability = 0.1",
    "gold/segment_model smallest_segment_share": "update gold.segment_model set smallest_segment_share = 0.001",
    "gold/segment_model largest_feature_drift": "update gold.segment_model set largest_feature_drift = 2",
    "gold/segment_model segment_size_drift": "update gold.segment_model set segment_size_drift = 2",
    "gold/customer_segments follows_contract": "update gold.customer_segments set segment_id = 99",
    "gold/customer_segments names_are_of_the_profiles": "update gold.customer_segments set segment_name = 'Nobody'",
    "gold/segment_profiles follows_contract": "insert into gold.segment_profiles by name "
    "select * replace (99 as segment_id) from gold.segment_profiles where segment_id = 1",
    "gold/segment_profiles sizes_add_up": "update gold.segment_profiles set customers = customers + 1",
    "gold/customer_reasons follows_contract": f"delete from gold.customer_reasons where customer_id = {SOMEBODY}",
    "gold/customer_reasons reasons_are_of_the_segment": "update gold.customer_reasons set reason_1 = null",
    "gold/segment_changes follows_contract": CHANGED.format(change="went", to="null"),
    "gold/segment_changes changes_lead_to_the_segments": CHANGED.format(change="left", to="null"),
    "gold/model_assignments follows_contract": "update gold.model_assignments set model_run_id = 'ghost'",
    "gold/segment_history follows_contract": "update gold.segment_history set confidence = 2",
    "exports/silver_workbook rows_of_the_table": "delete from silver.customer_features where order_count = "
    "(select max(order_count) from silver.customer_features)",
    "exports/gold_workbook rows_of_the_table": "delete from gold.scaled_features where customer_id = "
    "(select min(customer_id) from gold.scaled_features)",
    "gold/out_of_time_validation follows_contract": "update gold.out_of_time_validation set scale = 'logarithms'",
    "gold/out_of_time_validation methods_judged_on_the_same_customers": "update gold.out_of_time_validation "
    "set customers = 99 where method = 'rfm_score'",
}
"""Check -> a statement after which it fails."""

KEYS = {
    f"{key.asset_key.to_user_string()} {key.name}": key for check in defs.asset_checks or [] for key in check.check_keys
}


def checking(shop: Shop) -> dg.Definitions:
    """The code location with a job for each check, and one for all."""
    jobs = [
        dg.define_asset_job(f"check_{number}", selection=dg.AssetSelection.checks(key))
        for number, key in enumerate(KEYS.values())
    ]
    location = build_defs(home=Home(path=str(shop.home)), source=SourceFolder(path=str(shop.source)))
    everything = dg.define_asset_job("all_checks", selection=dg.AssetSelection.all_asset_checks())
    return dg.Definitions.merge(location, dg.Definitions(jobs=[*jobs, everything]))


def validated(**values: Any) -> dict[str, Any]:
    plain = {"string": "", "int64": 1, "timestamp": datetime(2025, 1, 1), "float64": 0.1}
    row = {column.name: plain[column.type] for column in OUT_OF_TIME_VALIDATION.columns}
    return row | {"target": "future_return_rate", "scale": "ranks"} | values


@pytest.fixture(scope="module")
def ran(finished: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A small shop in which everything ran, and what would need a longer one is written by hand."""
    shop = finished.copied_to(tmp_path_factory.mktemp("shop"))
    location = build_defs(home=Home(path=str(shop.home)), source=SourceFolder(path=str(shop.source)))
    assert location.resolve_job_def("apply_model").execute_in_process().success
    with shop.warehouse.connect() as backend:
        rows = [validated(method="segments"), validated(method="rfm_score")]
        replace_table(backend, OUT_OF_TIME_VALIDATION, pd.DataFrame(rows))
        applied = table(backend, MODEL_ASSIGNMENTS).to_pandas()
        replace_table(backend, SEGMENT_HISTORY, applied.assign(as_of=datetime(2025, 1, 31)))
    return shop


def test_every_check_has_a_way_to_fail() -> None:
    assert set(BROKEN) == set(KEYS)


def test_every_check_passes_on_what_a_run_made(ran: Shop) -> None:
    result = checking(ran).resolve_job_def("all_checks").execute_in_process()
    verdicts = {(check.asset_key, check.check_name): check for check in result.get_asset_check_evaluations()}
    assert set(verdicts) == {(key.asset_key, key.name) for key in KEYS.values()}
    assert [check.description for check in verdicts.values() if not check.passed] == []


@pytest.fixture(scope="module")
def in_pieces(ran: Shop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, dg.Definitions]:
    """A place for copies of the warehouse, and the definitions that look there."""
    shop = Shop(ran.source, tmp_path_factory.mktemp("broken"))
    return shop, checking(shop)


@pytest.mark.parametrize("check", sorted(KEYS))
def test_each_check_fails_on_what_it_is_there_for(
    ran: Shop, in_pieces: tuple[Shop, dg.Definitions], check: str
) -> None:
    shop, location = in_pieces
    shutil.copytree(ran.home, shop.home, dirs_exist_ok=True)
    with shop.warehouse.connect() as backend:
        backend.con.execute(BROKEN[check])
    job = location.resolve_job_def(f"check_{list(KEYS).index(check)}")
    result = job.execute_in_process(raise_on_error=False)
    [verdict] = result.get_asset_check_evaluations()
    assert not verdict.passed
    assert verdict.description
    blocks = verdict.severity == dg.AssetCheckSeverity.ERROR
    assert result.success is not blocks, "what breaks a contract stops the run, what is just odd does not"
    with shop.warehouse.connect() as backend:
        people = backend.con.execute("select distinct customer_id from bronze.order_lines").fetchall()
    assert not [customer for (customer,) in people if customer in verdict.description]
