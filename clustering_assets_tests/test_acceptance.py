"""A table that breaks its contract never takes the place of the last good one, at whichever layer it happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from clustering_assets import gold, silver
from clustering_assets.acceptance import ContractBroken
from clustering_assets.contracts import ALL_TABLES
from clustering_assets.definitions import build_defs
from clustering_assets.resources import Home, QualityLimits, SourceFolder
from clustering_assets.sources import ingestion
from clustering_assets.warehouse import has_table, table_version
from clustering_assets_tests.conftest import Shop, materializations
from clustering_assets_tests.sources.bronze import NOW, Bronze, opened, order_lines

FAST = {"ops": {"gold": {"config": {"stability_resamples": 0, "n_clusters": 3}}}}

NOT_MADE = {
    "bronze": ("bronze/order_lines", "silver/customer_features", "gold/segment_model", "exports/silver_workbook"),
    "silver": ("silver/customer_features", "gold/segment_model", "exports/silver_workbook"),
    "gold": ("gold/segment_model", "gold/customer_reasons", "exports/gold_workbook"),
}
AFTER = {"bronze": ("bronze", "silver", "gold"), "silver": ("silver", "gold"), "gold": ("gold",)}
"""Layer -> the layers that a fault in it leaves as they were."""


def contents(shop: Shop) -> dict[str, pd.DataFrame]:
    with shop.warehouse.connect() as backend:
        return {
            contract.qualified_name: backend.con.execute(f"select * from {contract.qualified_name} order by all").df()
            for contract in ALL_TABLES
            if has_table(backend, contract)
        }


def more_arrives(shop: Shop) -> None:
    (shop.source / "more.csv").write_text(order_lines({"order_id": "new", "order_date": "2024-06-01 10:00:00"}))


def said(result: dg.ExecuteInProcessResult) -> str:
    [failure] = result.filter_events(lambda event: event.is_step_failure)
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    return data.description or ""


def with_a_rate_above_one(impute: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*given: Any) -> Any:
        found = impute(*given)
        return type(found)(found.features.mutate(return_rate=1.5), found.log, found.dropped, found.imputed)

    return wrong


@pytest.mark.parametrize("layer", ["bronze", "silver", "gold"])
def test_a_run_that_would_break_a_contract_leaves_the_last_good_tables(
    growing: Shop, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    shop = growing
    before = contents(shop)
    more_arrives(shop)
    if layer == "bronze":
        loss = "delete from bronze.order_lines where source_row = 5"
        monkeypatch.setattr(ingestion, "_settle_cancellations", lambda backend, _: backend.con.execute(loss))
        reason = "bronze.source_files: returns_export.csv: "
    elif layer == "silver":
        monkeypatch.setattr(silver, "impute", with_a_rate_above_one(silver.impute))
        reason = "silver.customer_features: 61 rows: return_rate is above 1"
    else:
        reasons = gold.customer_reasons
        monkeypatch.setattr(gold, "customer_reasons", lambda *given: reasons(*given).iloc[1:])
        reason = "gold.customer_reasons: 1 rows of gold.customer_segments have no row in gold.customer_reasons"
    result = shop.run(**FAST)
    assert not result.success
    sentence = said(result)
    assert sentence.startswith("Nothing was written and the last good tables stay in place")
    assert reason in sentence
    assert not {*NOT_MADE[layer]} & {*materializations(result)}
    for name, rows in contents(shop).items():
        if name.split(".")[0] in AFTER[layer]:
            pd.testing.assert_frame_equal(rows, before[name], obj=name)


@pytest.fixture
def bronze(tmp_path: Any) -> Any:
    with opened(tmp_path / "source", tmp_path / "home") as made:
        made.load({"lines.csv": order_lines(*({"order_id": f"O{number}"} for number in range(100)))})
        yield made


def test_a_load_that_would_lose_most_lines_is_refused_and_what_is_there_stays(bronze: Bronze) -> None:
    before = bronze.content()
    bronze.write({"lines.csv": order_lines(*({"order_id": f"O{number}"} for number in range(9)))})
    with pytest.raises(ContractBroken, match=r"bronze\.order_lines: 9 rows are left of 100, less than 10%; if that is"):
        ingestion.ingest(bronze.backend, bronze.folder, NOW, least_rows_kept=0.1)
    assert bronze.content() == before
    assert ingestion.ingest(bronze.backend, bronze.folder, NOW, least_rows_kept=0.09)
    assert bronze.totals()["kept"] == 9


def test_a_refused_load_leaves_nothing_behind_and_can_be_repeated(
    bronze: Bronze, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = bronze.rows("select table_schema, table_name from information_schema.tables order by all")
    monkeypatch.setattr(
        ingestion,
        "_settle_keys",
        lambda backend, _: backend.con.execute(
            "update bronze.order_lines set customer_id = null where order_id = 'O7'"
        ),
    )
    bronze.write({"more.csv": order_lines({"order_id": "new"})})
    with pytest.raises(ContractBroken, match=r"1 rows: customer_id is null, such as row 9 of lines\.csv"):
        bronze.load()
    assert bronze.rows("select table_schema, table_name from information_schema.tables order by all") == tables
    monkeypatch.undo()
    assert bronze.load()
    assert bronze.totals()["kept"] == 101


def test_the_limit_of_losses_reaches_a_run_and_can_be_lifted_for_one(ran: Shop) -> None:
    shop = ran

    def run(limits: QualityLimits, as_of: str | None = None) -> dg.ExecuteInProcessResult:
        location = build_defs(
            home=Home(path=str(shop.home)), source=SourceFolder(path=str(shop.source)), quality_limits=limits
        )
        config = {"ops": {"silver": {"config": {"as_of": as_of}}}} if as_of else {}
        selection = dg.AssetSelection.groups("bronze", "silver").resolve(location.resolve_asset_graph())
        job = location.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(run_config=config, asset_selection=sorted(selection), raise_on_error=False)

    with shop.warehouse.connect() as backend:
        version = table_version(backend, "silver.customer_features")
        [(day, customers)] = backend.con.execute(
            "select quantile_disc(first_order_date, 0.5)::date::varchar, count(*) from silver.customer_features"
        ).fetchall()
    refused = run(QualityLimits(least_rows_kept=0.9), day)
    assert not refused.success
    assert f"rows are left of {customers:,}, less than 90%" in said(refused)
    with shop.warehouse.connect() as backend:
        assert table_version(backend, "silver.customer_features") == version
    assert run(QualityLimits(least_rows_kept=0), day).success
