"""What runs leave behind is kept for as long as is set, and the newest of everything always."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from clustering_assets.assets.exports import silver_workbook
from clustering_assets.clean_up import delete_old_runs
from clustering_assets.contracts import CUSTOMER_FEATURES, MODEL_ASSIGNMENTS, SEGMENT_MODEL
from clustering_assets.definitions import build_defs
from clustering_assets.gold import apply_model
from clustering_assets.resources import Home, Retention
from clustering_assets.saved_models import find_model, remove_old_models
from clustering_assets.segmentation.model_file import UnusableModel, model_path
from clustering_assets.warehouse import Warehouse, record_versions, replace_table
from clustering_assets_tests.test_gold import START, Gold, planted


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A warehouse with a silver table, without rows, of which there is a new version whenever one is asked for."""
    home = Home(path=str(tmp_path))
    with home.warehouse.connect() as backend:
        columns = {"string": "varchar", "int64": "bigint", "float64": "double", "timestamp": "timestamp"}
        selected = ", ".join(f"null::{columns[column.type]} as {column.name}" for column in CUSTOMER_FEATURES.columns)
        replace_table(backend, CUSTOMER_FEATURES, backend.sql(f"select {selected} where false"))
    return home


def export(home: Home, version: str, keep: int) -> Path:
    with home.warehouse.connect() as backend:
        record_versions(backend, {CUSTOMER_FEATURES.qualified_name: version})
    result = dg.materialize(
        [silver_workbook], resources={"home": home, "retention": Retention(keep_exports=keep)}, raise_on_error=True
    )
    [materialized] = result.asset_materializations_for_node("silver_workbook")
    return Path(str(materialized.metadata["path"].value))


def test_only_the_newest_workbooks_stay_and_their_versions_with_them(home: Home) -> None:
    other = home.exports / "notes_of_somebody.xlsx"
    other.touch()
    for version in "abcd":
        newest = export(home, version, keep=2)
        there = sorted(home.exports.glob("silver_customer_features_*.xlsx"))
        assert there[-1] == newest
        assert len(there) == min(2, "abcd".index(version) + 1)
    assert other.exists()
    with home.warehouse.connect() as backend:
        recorded = backend.con.execute("select name from main.table_versions where name like 'exports.%'").fetchall()
    assert {name for (name,) in recorded} == {f"exports.{path.name}" for path in there}


def test_a_lower_number_takes_effect_in_the_next_run_even_if_nothing_changed(home: Home) -> None:
    for version in "abc":
        newest = export(home, version, keep=9)
    assert len(list(home.exports.glob("*.xlsx"))) == 3
    assert export(home, "c", keep=1) == newest
    assert list(home.exports.glob("*.xlsx")) == [newest]


@pytest.fixture(scope="module")
def four_fits(tmp_path_factory: pytest.TempPathFactory) -> Gold:
    gold = Gold(tmp_path_factory.mktemp("home"))
    for seed in range(4):
        gold.fit(planted(seed=seed))
    return gold


def listed(warehouse: Warehouse) -> set[str]:
    with warehouse.connect() as backend:
        rows = backend.con.execute(f"select model_run_id from {SEGMENT_MODEL.qualified_name}").fetchall()
    return {model_run_id for (model_run_id,) in rows}


def test_models_that_are_old_and_not_in_use_go_with_their_files(four_fits: Gold) -> None:
    first, second, third, newest = (f"{number:016x}" for number in range(1, 5))
    assert listed(four_fits.warehouse) == {first, second, third, newest}
    with four_fits.warehouse.connect() as backend:
        applied = apply_model(four_fits.home, first, planted(), START)
        replace_table(backend, MODEL_ASSIGNMENTS, applied)
        remove_old_models(backend, four_fits.home, keep=2)
    assert listed(four_fits.warehouse) == {first, third, newest}, "the one that was applied last is in use"
    assert {path.stem for path in (four_fits.home / "models").iterdir()} == {first, third, newest}
    with four_fits.warehouse.connect() as backend:
        with pytest.raises(UnusableModel, match=f"There is no model '{second}'; there is .*CLUSTERING_KEEP_MODELS"):
            find_model(backend, second)
        backend.con.execute(f"drop table {MODEL_ASSIGNMENTS.qualified_name}")
        model_path(four_fits.home, first).unlink()  # a file that somebody took away is no hindrance
        remove_old_models(backend, four_fits.home, keep=1)
        assert find_model(backend)["model_run_id"] == newest
    assert listed(four_fits.warehouse) == {newest}
    before = four_fits.segments
    four_fits.fit(planted(seed=9))
    assert four_fits.model["kept_segment_share"] is not None, "the next fit goes on from the one that stayed"
    assert len(four_fits.segments) == len(before)


@dg.asset
def renewed() -> None: ...


@dg.asset
def made_once() -> None: ...


@dg.asset_check(asset=renewed)
def is_fine() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


CHECK = dg.AssetCheckKey(renewed.key, "is_fine")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance on disk, in SQLite as DAGSTER_HOME has it."""
    with dg.instance_for_test(temp_dir=str(tmp_path)) as made:
        yield made


def run_ids(instance: dg.DagsterInstance) -> list[str]:
    return [run.run_id for run in instance.get_runs()][::-1]


def test_old_runs_go_with_all_that_was_recorded_of_them_but_not_what_an_asset_or_check_was_last_made_by(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    dg.materialize([made_once], instance=instance)
    for _ in range(3):
        dg.materialize([renewed, is_fine], instance=instance)
    dg.materialize([renewed], instance=instance)
    once, first, second, verdict, newest = run_ids(instance)
    assert delete_old_runs(instance, datetime.now(UTC) + timedelta(minutes=1), [CHECK]) == 2
    assert run_ids(instance) == [once, verdict, newest]
    assert not [path for path in tmp_path.rglob("*") if first in path.name or second in path.name]
    for key, run_id in ((made_once.key, once), (renewed.key, newest)):
        event = instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.run_id == run_id
    history = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=9)
    assert [record.run_id for record in history] == [verdict]
    assert delete_old_runs(instance, datetime.now(UTC) + timedelta(minutes=1), [CHECK]) == 0


def test_younger_and_unfinished_runs_stay(instance: dg.DagsterInstance) -> None:
    for _ in range(2):
        dg.materialize([renewed], instance=instance)
    assert delete_old_runs(instance, datetime.now(UTC) - timedelta(days=1), []) == 0
    instance.create_run_for_job(
        dg.define_asset_job("waits").resolve(asset_graph=dg.Definitions([renewed]).resolve_asset_graph())
    )
    assert delete_old_runs(instance, datetime.now(UTC) + timedelta(minutes=1), []) == 1
    assert len(run_ids(instance)) == 2


def test_the_nightly_job_deletes_what_is_older_than_is_set(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    for _ in range(2):
        dg.materialize([renewed], instance=instance)
    old, newest = run_ids(instance)
    with sqlite3.connect(tmp_path / "history" / "runs.db") as runs:
        runs.execute("update runs set create_timestamp = ?", [datetime.now(UTC) - timedelta(days=8)])
    looked_at = "select evaluation_id from asset_daemon_asset_evaluations order by 1"
    with sqlite3.connect(tmp_path / "schedules" / "schedules.db") as schedules:
        schedules.executemany(
            "insert into asset_daemon_asset_evaluations (evaluation_id, create_timestamp) values (?, ?)",
            [(days, datetime.now(UTC) - timedelta(days=days)) for days in (1, 8)],
        )
    job = build_defs(retention=Retention(keep_run_days=9)).resolve_job_def("clean_up")
    assert job.execute_in_process(instance=instance).success
    assert {old, newest} <= {*run_ids(instance)}
    assert schedules.execute(looked_at).fetchall() == [(1,), (8,)]
    job = build_defs(retention=Retention(keep_run_days=7)).resolve_job_def("clean_up")
    assert job.execute_in_process(instance=instance).success
    assert old not in run_ids(instance)
    assert newest in run_ids(instance)
    assert schedules.execute(looked_at).fetchall() == [(1,)], "what the automation looked at goes with the runs"
