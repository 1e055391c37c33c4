"""The code location as Dagster sees it, and a whole run through it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import openpyxl
import pandas as pd
import pytest

from clustering_assets.contracts import ALL_TABLES, CUSTOMER_FEATURES, SCALED_FEATURES, TableContract
from clustering_assets.definitions import build_defs, defs
from clustering_assets.metadata import PREVIEW_CHARACTERS, PREVIEW_ROWS
from clustering_assets.resources import Home, SourceFolder
from clustering_assets.segmentation.model_file import read_facts
from clustering_assets.warehouse import has_table
from clustering_assets_tests.conftest import QUICK, Shop, make_shop, materializations

Finished = tuple[Shop, dg.ExecuteInProcessResult]

ASSETS = {
    "bronze": ["forgotten_customers", "fulfilled_requests", "order_lines", "rejected_rows", "source_files"],
    "silver": ["customer_features", "dropped_customers", "imputation_log", "imputed_features"],
    "gold": [
        "customer_reasons",
        "customer_segments",
        "model_assignments",
        "out_of_time_validation",
        "scaled_features",
        "segment_changes",
        "segment_history",
        "segment_model",
        "segment_profiles",
    ],
    "exports": ["database_tables", "gold_workbook", "segment_report", "segment_report_workbook", "silver_workbook"],
}
OF_THEIR_OWN_JOB = {"gold/model_assignments", "gold/out_of_time_validation", "gold/segment_history"}
NOT_CONFIGURED = {"exports/database_tables"}

MODIFIED = {"computed_at", "processed_at", "assigned_at", "fitted_at", "ingested_at", "loaded_at"}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A small shop and the result of its first run; who changes it leaves it as it was, or takes `ran`."""
    shop = make_shop(tmp_path_factory.mktemp("first"))
    result = shop.run()
    assert result.success
    return shop, result


def contents(shop: Shop) -> dict[str, pd.DataFrame]:
    with shop.warehouse.connect() as backend:
        return {
            contract.qualified_name: backend.con.execute(f"select * from {contract.qualified_name} order by all").df()
            for contract in ALL_TABLES
            if has_table(backend, contract)
        }


def test_dagster_can_load_the_whole_location() -> None:
    dg.Definitions.validate_loadable(defs)


def test_the_assets_of_each_layer_are_there() -> None:
    keys = {tuple(spec.key.path) for spec in defs.resolve_all_asset_specs()}
    assert keys == {(layer, name) for layer, names in ASSETS.items() for name in names}


SPECS = sorted(defs.resolve_all_asset_specs(), key=lambda spec: spec.key)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key.to_user_string())
def test_every_asset_tells_a_dagster_user_what_it_is(spec: dg.AssetSpec) -> None:
    assert spec.group_name == ("privacy" if spec.key.path[1] == "fulfilled_requests" else spec.key.path[0])
    is_page = spec.key.path[1] == "segment_report"
    assert ("One file per" if is_page else "One row per") in (spec.description or "")
    assert spec.owners
    assert spec.kinds
    assert spec.tags["layer"] == spec.key.path[0]
    assert spec.code_version
    assert is_page or spec.metadata["dagster/column_schema"].columns


def test_the_graph_leads_from_files_to_exports() -> None:
    graph = defs.resolve_asset_graph()
    upstream = graph.get(dg.AssetKey(["exports", "gold_workbook"])).parent_keys
    assert upstream == {dg.AssetKey(["gold", "scaled_features"])}
    ancestors = graph.get_ancestor_asset_keys(dg.AssetKey(["exports", "gold_workbook"]))
    assert dg.AssetKey(["bronze", "order_lines"]) in ancestors


def test_every_table_has_a_blocking_check_of_its_contract() -> None:
    checked = {
        key.asset_key.to_user_string()
        for check in defs.asset_checks or []
        for key in check.check_keys
        if key.name == "follows_contract" and check.get_spec_for_check_key(key).blocking
    }
    assert checked == {f"{layer}/{name}" for layer in ("bronze", "silver", "gold") for name in ASSETS[layer]}


def test_a_run_materializes_everything_and_every_check_passes(first: Finished) -> None:
    _, result = first
    keys = {f"{layer}/{name}" for layer, names in ASSETS.items() for name in names}
    assert set(materializations(result)) == keys - OF_THEIR_OWN_JOB - NOT_CONFIGURED
    assert all(check.passed for check in result.get_asset_check_evaluations())


def test_the_metadata_say_what_the_layers_did(first: Finished) -> None:
    found = materializations(first[1])
    expected = {
        "bronze/order_lines": ["rows_read", "rows_kept", "rows_rejected", "rows_superseded", "rows_merged"],
        "bronze/rejected_rows": ["rejected_no_customer"],
        "bronze/source_files": ["reconciliation", "files_not_loaded"],
        "silver/customer_features": [
            "customers_dropped",
            "customers_dropped_share",
            "values_zero_filled",
            "values_mean_imputed",
            "imputation",
        ],
        "gold/segment_model": [
            "silhouette",
            "silhouette_full",
            "calinski_harabasz",
            "davies_bouldin",
            "stability",
            "eps",
            "segments",
            "k_distances",
            "choice_of_k",
            "smallest_segment_share",
            "model_run_id",
            "model_file",
            "feature_drift",
        ],
        "gold/segment_changes": ["compared_with"],
        "gold/customer_segments": ["clustered_customers", "outliers", "outlier_share", "clustered_share", "map"],
        "gold/segment_profiles": ["sizes", "segments"],
        "exports/silver_workbook": ["path", "columns", "bytes"],
        "exports/gold_workbook": ["path", "columns", "bytes"],
        "exports/segment_report": ["path", "bytes", "headline", "language", "customers", "returned_value"],
        "exports/segment_report_workbook": ["path", "bytes", "headline", "language", "dagster/column_lineage"],
    }
    for asset, names in expected.items():
        assert set(names) <= set(found[asset]), asset
    for asset, metadata in found.items():
        assert asset == "exports/segment_report" or metadata["dagster/row_count"].value >= 0
    lines = {name: found["bronze/order_lines"][name].value for name in expected["bronze/order_lines"]}
    assert lines["rows_read"] == sum(count for name, count in lines.items() if name != "rows_read")


def test_previews_are_short_and_show_no_customer_id(first: Finished) -> None:
    shop, result = first
    with shop.warehouse.connect() as backend:
        ids = {
            row[0]
            for row in backend.con.execute("select distinct source_customer_id from bronze.order_lines").fetchall()
        }
        ids |= {row[0] for row in backend.con.execute("select customer_id from silver.customer_features").fetchall()}
    for name, metadata in materializations(result).items():
        said = str(
            {key: value.value if not hasattr(value, "records") else value.records for key, value in metadata.items()}
        )
        assert not [customer for customer in ids if customer in said], name
        if "preview" in metadata:
            records = metadata["preview"].records  # type: ignore[attr-defined]
            assert len(records) <= PREVIEW_ROWS
            texts = [value for record in records for value in record.data.values() if isinstance(value, str)]
            assert all(len(text) <= PREVIEW_CHARACTERS + 1 for text in texts)


def lineage(metadata: Any, column: str) -> set[str]:
    deps = metadata["dagster/column_lineage"].value.deps_by_column.get(column, [])
    return {f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps}


def test_a_column_can_be_followed_from_the_workbook_to_bronze(first: Finished) -> None:
    found = materializations(first[1])
    assert lineage(found["exports/gold_workbook"], "return_rate_scaled") == {"gold/scaled_features.return_rate_scaled"}
    assert lineage(found["gold/scaled_features"], "return_rate_scaled") == {"silver/customer_features.return_rate"}
    # a line is counted by its SKU, which it always has
    assert lineage(found["silver/customer_features"], "return_rate") == {
        "bronze/order_lines.return_quantity",
        "bronze/order_lines.sku",
    }


def test_the_ui_says_of_a_column_what_it_is_made_of() -> None:
    shown = {
        f"{spec.key.path[1]}.{column.name}": column.description or ""
        for spec in SPECS
        if "dagster/column_schema" in spec.metadata  # the report has none
        for column in spec.metadata["dagster/column_schema"].columns
    }
    assert "Made of gold.scaled_features.return_rate_scaled." in shown["gold_workbook.return_rate_scaled"]
    assert "Made of silver.customer_features.return_rate." in shown["scaled_features.return_rate_scaled"]
    assert (
        "Made of bronze.order_lines.return_quantity, bronze.order_lines.sku." in shown["customer_features.return_rate"]
    )
    assert "Made of 35 columns of gold.scaled_features." in shown["customer_segments.segment_id"]
    assert "Made of" not in shown["order_lines.sku"], "it comes from outside"


def test_every_feature_has_a_lineage_to_bronze(first: Finished) -> None:
    metadata = materializations(first[1])["silver/customer_features"]
    without = {column.name for column in CUSTOMER_FEATURES.columns if not lineage(metadata, column.name)}
    assert without == {"computed_at"}


def test_a_second_run_on_the_same_files_changes_no_table(first: Finished) -> None:
    shop, _ = first
    before = contents(shop)
    exports = sorted((shop.home / "exports").iterdir())
    result = shop.run()
    assert result.success
    assert not any(metadata["changed"].value for metadata in materializations(result).values())
    for name, rows in contents(shop).items():
        pd.testing.assert_frame_equal(rows, before[name])
    assert sorted((shop.home / "exports").iterdir()) == exports


@pytest.mark.parametrize(
    ("stem", "contract"),
    [("silver_customer_features", CUSTOMER_FEATURES), ("gold_cluster_processed", SCALED_FEATURES)],
)
def test_a_workbook_equals_its_table_to_the_last_digit(first: Finished, stem: str, contract: TableContract) -> None:
    shop, _ = first
    [path] = (shop.home / "exports").glob(f"{stem}_????????_??????.xlsx")
    data, dictionary = openpyxl.load_workbook(path).worksheets
    header, *rows = data.iter_rows(values_only=True)
    with shop.warehouse.connect() as backend:
        expected = backend.con.execute(f"select * from {contract.qualified_name} order by customer_id").fetchall()
    assert header == contract.column_names
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        for column, cell, value in zip(contract.columns, row, wanted, strict=True):
            if column.type == "timestamp":
                assert abs(cell - value).total_seconds() <= 0.0005
            else:
                assert cell == value, column.name
    assert data.freeze_panes == "B2"
    assert data.auto_filter.ref
    assert {row[0] for row in dictionary.iter_rows(values_only=True)} >= set(contract.column_names)


@pytest.fixture(scope="module")
def grown(first: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A shop that has run twice, and the result of the second time: over another file, with one more customer."""
    shop = first[0].copied_to(tmp_path_factory.mktemp("grown"))
    (shop.source / "more.csv").write_text(
        "order_id,customer_id,sku,order_date,quantity,line_value\nN1,new@example.com,S1,2025-06-01,2,19.5\n"
    )
    result = shop.run()
    assert result.success
    return shop, result


def test_new_files_change_what_depends_on_them(grown: Finished) -> None:
    shop, second = grown
    same = {name for name, metadata in materializations(second).items() if not metadata["changed"].value}
    assert same == {"bronze/forgotten_customers", "bronze/fulfilled_requests"}
    with shop.warehouse.connect() as backend:
        found = backend.con.execute(
            "select order_count from silver.customer_features where customer_id = 'new@example.com'"
        ).fetchall()
    assert found == [(1,)]


def apply_model(shop: Shop, model_run_id: str | None = None) -> dg.ExecuteInProcessResult:
    job = build_defs(home=Home(path=str(shop.home)), source=SourceFolder(path=str(shop.source)))
    config = {"ops": {"model_assignments": {"config": {"model_run_id": model_run_id}}}} if model_run_id else {}
    return job.resolve_job_def("apply_model").execute_in_process(run_config=config, raise_on_error=False)


def test_an_earlier_model_is_applied_to_the_customers_of_today(first: Finished, grown: Finished) -> None:
    shop, second = grown
    model = str(materializations(first[1])["gold/segment_model"]["model_run_id"].value)
    changes = materializations(second)["gold/segment_changes"]
    assert changes["joined"].value == 1
    assert changes["kept_segment_share"].value > 0.95
    flows = [record.data for record in changes["flows"].records]  # type: ignore[attr-defined]
    assert sum(flow["customers"] for flow in flows) == 201
    assert "new@example.com" not in str(flows)
    before = contents(shop)
    result = apply_model(shop, model)
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations())
    found = materializations(result)["gold/model_assignments"]
    assert (found["dagster/row_count"].value, found["model_run_id"].value, found["changed"].value) == (201, model, True)
    assert len(found["feature_drift"].records) == 35  # type: ignore[attr-defined]
    again = materializations(apply_model(shop, model))["gold/model_assignments"]
    assert again["changed"].value is False
    newest = materializations(apply_model(shop))["gold/model_assignments"]
    assert newest["model_run_id"].value == materializations(second)["gold/segment_model"]["model_run_id"].value
    for name, rows in contents(shop).items():
        if name != "gold.model_assignments":
            pd.testing.assert_frame_equal(rows, before[name])


def test_a_model_that_nobody_fitted_ends_in_one_sentence(first: Finished) -> None:
    result = apply_model(first[0], "nothing")
    assert not result.success
    [failure] = [event.step_failure_data for event in result.filter_events(lambda event: event.is_step_failure)]
    assert failure.user_failure_data is not None
    fitted = materializations(first[1])["gold/segment_model"]["model_run_id"].value
    assert f"There is no model 'nothing'; there is {fitted} (" in (failure.user_failure_data.description or "")


def test_a_model_file_that_is_lost_is_made_again_and_no_table_changes(ran: Shop) -> None:
    before = contents(ran)
    [path] = (ran.home / "models").iterdir()
    facts = read_facts(path)
    path.unlink()
    again = ran.run()
    assert not any(metadata["changed"].value for metadata in materializations(again).values())
    for name, rows in contents(ran).items():
        pd.testing.assert_frame_equal(rows, before[name])
    assert read_facts(path) == facts
    assert apply_model(ran).success


def test_an_unusable_file_warns_and_does_not_stop_the_run(growing: Shop) -> None:
    (growing.source / "colours.csv").write_text("colour,weight\nred,3\n")
    result = growing.run()
    assert result.success
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert [check.check_name for check in failed] == ["every_file_usable"]
    assert failed[0].severity == dg.AssetCheckSeverity.WARN
    assert "colours.csv has no known layout" in (failed[0].description or "")
    assert "colours.csv" in materializations(result)["bronze/source_files"]["files_not_loaded"].value


def test_a_table_that_breaks_its_contract_stops_what_comes_after(ran: Shop) -> None:
    before = contents(ran)
    with ran.warehouse.connect() as backend:
        backend.con.execute(
            "update silver.customer_features set return_rate = 1.5 "
            "where customer_id = (select min(customer_id) from silver.customer_features)"
        )
        backend.con.execute("delete from main.table_versions where name like 'gold%'")
    result = ran.run()
    assert not result.success
    broken = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert [check.asset_key.to_user_string() for check in broken] == ["silver/customer_features"]
    assert broken[0].description == "- 1 rows: return_rate is above 1"
    assert "gold/segment_model" not in materializations(result)
    pd.testing.assert_frame_equal(contents(ran)["gold.customer_segments"], before["gold.customer_segments"])


def test_rows_that_are_not_accounted_for_stop_the_run(ran: Shop) -> None:
    with ran.warehouse.connect() as backend:
        backend.con.execute("delete from bronze.order_lines where source_row = 2")
    result = ran.run()
    assert not result.success
    broken = {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}
    assert broken == {"every_row_accounted_for"}


def command(shop: Shop, python: str | Path = sys.executable, **environment: str) -> subprocess.CompletedProcess[str]:
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    settings = {"CLUSTERING_HOME": str(shop.home), "CLUSTERING_SOURCE_DIR": str(shop.source), **environment, **coverage}
    return subprocess.run(
        [python, "-m", "clustering_assets.run"],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(shop.home.parent), "COLUMNS": "120", **settings},
        cwd=Path(__file__).parent.parent,
        timeout=300,
    )


def test_the_command_prints_a_summary_and_where_everything_is(shop: Shop, warm_programs: Path) -> None:
    looks_like_markup = shop.source / "a[" / "red].csv"
    looks_like_markup.parent.mkdir()
    looks_like_markup.write_text("x,y\n1,2\n")
    done = command(shop, warm_programs / "python")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"home: {shop.home}"
    for word in (
        "Bronze",
        "rows read",
        "kept",
        "rejected",
        "superseded",
        "merged",
        "Silver",
        "dropped",
        "filled with 0",
    ):
        assert word in done.stdout
    for word in ("Gold", "silhouette", "outliers", "Exports", ".xlsx", "Time", "silver "):
        assert word in done.stdout
    assert "Look at bronze/source_files, every_file_usable" in done.stdout
    assert "a[/red].csv has no known layout" in done.stdout
    assert "`" not in done.stdout, "marks that are meant for the UI"
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "There is no file in the source folder"),
        ({"empty.csv": ""}, "empty.csv is empty"),
        ({"lines.csv": "order_id,customer_id,sku\n,,\n"}, "lines.csv has no row that can be kept"),
        (
            {"source.yaml": "layout: sideways\n", "a.csv": "x\n"},
            "source.yaml cannot be used: the file: 'layout' is one of",
        ),
    ],
)
def test_without_a_usable_row_the_command_says_why_in_one_sentence_and_leaves_the_tables(
    first: Finished, warm_programs: Path, tmp_path: Path, files: dict[str, str], sentence: str
) -> None:
    shop = first[0]
    before = contents(shop)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = command(Shop(tmp_path, shop.home), warm_programs / "python")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stdout + done.stderr
    for name, rows in contents(shop).items():
        pd.testing.assert_frame_equal(rows, before[name])


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CLUSTERING_AS_OF", "yesterday", "it has to be a day such as 2025-12-31"),
        ("CLUSTERING_ENGINE", "abacus", "it can be duckdb"),
        ("CLUSTERING_SOURCE_LAYOUT", "sideways", "the layout 'sideways' is unknown"),
        ("CLUSTERING_MEMORY_LIMIT", "much", "cannot be opened"),
        ("CLUSTERING_LOCK_WAIT", "-1", "it has to be a number of seconds, such as 60, or 0 for not at all"),
    ],
)
def test_a_bad_setting_ends_in_one_sentence(
    shop: Shop, warm_programs: Path, name: str, value: str, sentence: str
) -> None:
    done = command(shop, warm_programs / "python", **{name: value})
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_day_to_look_from_leaves_later_orders_out(ran: Shop) -> None:
    as_of = "2024-06-30"
    gold = {"config": {"stability_resamples": 0, "max_clusters": 3}}
    result = ran.run(ops={"silver": {"config": {"as_of": as_of}}, "gold": gold})
    assert result.success
    with ran.warehouse.connect() as backend:
        [(last,)] = backend.con.execute("select max(last_order_date)::date from silver.customer_features").fetchall()
    assert str(last) <= as_of
    assert materializations(result)["silver/customer_features"]["as_of"].value == as_of


def test_the_code_location_loads_nothing_heavy() -> None:
    heavy = (
        *("sklearn", "scipy", "skops", "matplotlib", "PIL", "openTSNE", "pandas"),
        *("xlsxwriter", "openpyxl", "jinja2", "babel", "apprise", "requests"),
    )
    probe = f"import sys, clustering_assets.definitions; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


_WATCHED_RUN = """
import os, sys
opened = []
def watch(event, arguments):
    if event == "open" and str(arguments[0]).startswith(os.environ["CLUSTERING_SOURCE_DIR"] + "/"):
        opened.append(os.path.basename(arguments[0]))
sys.addaudithook(watch)
from pathlib import Path
from clustering_assets.run import main
assert main(as_json=True, config=Path(sys.argv[1])) == 0
loaded = [name for name in sys.argv[2:] if name in sys.modules]
print("loaded", loaded, "opened", sorted(set(opened) - {"source.yaml"}))
"""


def test_a_run_with_nothing_changed_neither_loads_what_fits_and_draws_nor_opens_a_source_file(
    ran: Shop, tmp_path: Path
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps(QUICK))
    recorded = tmp_path / "dagster"
    places = {"CLUSTERING_HOME": ran.home, "CLUSTERING_SOURCE_DIR": ran.source, "DAGSTER_HOME": recorded}
    environment = {**os.environ, **{name: str(place) for name, place in places.items()}}
    # the first one has to draw, since this instance of Dagster never showed the fit
    for heavy in (["sklearn", "skops"], ["sklearn", "skops", "scipy", "matplotlib", "openTSNE", "babel"]):
        done = subprocess.run(
            [sys.executable, "-c", _WATCHED_RUN, str(config), *heavy], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        assert '"changed": false' in done.stdout
        assert done.stdout.splitlines()[-1] == "loaded [] opened []"
    with dg.DagsterInstance.local_temp(str(recorded)) as instance:
        for key, name in (("customer_segments", "map"), ("segment_model", "k_distances")):
            found = instance.fetch_materializations(dg.AssetKey(["gold", key]), limit=2).records
            before, now = (record.asset_materialization.metadata for record in found if record.asset_materialization)
            assert before[name] == now[name], "the picture is there again, without having been drawn"
