"""Ticks of the sensors and schedules against a real instance, with real files and real runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from clustering_assets.automation import SCHEDULES, SENSORS, everything, source_folder
from clustering_assets.definitions import build_defs, defs
from clustering_assets.resources import Home, SourceFolder
from clustering_assets_tests.conftest import QUICK, Shop, make_shop, materializations
from clustering_assets_tests.test_definitions import ASSETS, OF_THEIR_OWN_JOB


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


class Ticks:
    """The source folder's sensor, tick after tick, with the cursor and the run keys kept as the daemon keeps them."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance, self.folder = instance, folder
        self.cursor: str | None = None
        self.said = ""
        self.run_keys: list[str] = []

    def tick(self) -> dg.DagsterRun | None:
        """Evaluate the sensor once; return the run that it queued."""
        home = Home(path=str(self.folder.with_name("home")))
        resources = {"home": home, "source": SourceFolder(path=str(self.folder))}
        with dg.build_sensor_context(self.instance, self.cursor, resources=resources) as context:
            found = source_folder.evaluate_tick(context)
        self.cursor, self.said = found.cursor, found.skip_message or ""
        [*requests] = found.run_requests or []
        if not requests or requests[0].run_key in self.run_keys:
            return None
        assert len(requests) == 1
        self.run_keys.append(str(requests[0].run_key))
        return self.instance.create_run_for_job(defs.resolve_job_def(everything.name), tags=requests[0].tags)

    def until_a_run(self, most: int = 5) -> dg.DagsterRun | None:
        return next((run for run in (self.tick() for _ in range(most)) if run), None)

    def finish(self, run: dg.DagsterRun | None) -> None:
        """End a run as a failed one: what the sensor does next depends on no outcome."""
        assert run
        self.instance.report_run_failed(run)


@pytest.fixture
def ticks(instance: dg.DagsterInstance, tmp_path: Path) -> Ticks:
    (tmp_path / "source").mkdir()
    return Ticks(instance, tmp_path / "source")


def test_a_fresh_deployment_runs_once_for_all_files_and_then_rests(ticks: Ticks) -> None:
    for number in range(500):
        (ticks.folder / f"{number}.csv").write_text(f"x\n{number}\n")
    assert ticks.tick() is None
    assert ticks.said == "Waiting until these stop changing: 0.csv, 1.csv, 10.csv, 100.csv, 101.csv and 495 more."
    run = ticks.tick()
    assert run
    ticks.finish(run)
    assert [ticks.tick() for _ in range(3)] == [None] * 3
    assert ticks.said == "Nothing new in the source folder."


def test_an_empty_folder_starts_nothing(ticks: Ticks) -> None:
    assert ticks.until_a_run() is None
    assert ticks.said == "Nothing new in the source folder."


def test_a_burst_of_500_files_while_a_run_is_queued_is_one_more_run(ticks: Ticks) -> None:
    (ticks.folder / "first.csv").write_text("x\n")
    run = ticks.until_a_run()
    assert run
    for number in range(500):
        (ticks.folder / f"{number}.csv").write_text(f"x\n{number}\n")
        if number % 50 == 0:
            assert ticks.tick() is None
    assert ticks.until_a_run() is None
    assert ticks.said == f"Waiting for run {run.run_id}; what comes meanwhile is loaded together."
    ticks.finish(run)
    ticks.finish(ticks.until_a_run())
    assert ticks.until_a_run() is None
    assert len(ticks.run_keys) == 2


def test_a_growing_file_is_named_and_starts_a_run_when_it_is_whole(ticks: Ticks) -> None:
    path = ticks.folder / "growing.csv"
    path.write_text("x\n")
    for _ in range(4):
        path.write_text(path.read_text() + "1\n")
        assert ticks.tick() is None
        assert ticks.said == "Waiting until these stop changing: growing.csv."
    assert ticks.tick()


def test_new_changed_and_removed_files_and_a_new_mapping_start_a_run_each(ticks: Ticks) -> None:
    def a_run_follows() -> None:
        ticks.finish(ticks.until_a_run())
        assert ticks.until_a_run() is None

    (ticks.folder / "a.csv").write_text("A")
    a_run_follows()
    (ticks.folder / "b.csv").write_text("B")
    a_run_follows()
    (ticks.folder / "b.csv").write_text("C")
    a_run_follows()
    (ticks.folder / "b.csv").unlink()
    a_run_follows()  # the contents are those of the first run
    (ticks.folder / "source.yaml").write_text("layout: order_lines\n")
    a_run_follows()
    (ticks.folder / "a.csv").rename(ticks.folder / "renamed.csv")
    assert ticks.until_a_run() is None


def test_after_a_failed_run_the_sensor_waits_for_other_contents(ticks: Ticks) -> None:
    (ticks.folder / "a.csv").write_text("A")
    ticks.finish(ticks.until_a_run())
    assert ticks.until_a_run() is None
    (ticks.folder / "a.csv").write_text("B")
    assert ticks.until_a_run()


def test_a_folder_that_is_away_fails_the_tick_in_one_sentence_and_changes_nothing(ticks: Ticks) -> None:
    (ticks.folder / "a.csv").write_text("A")
    ticks.finish(ticks.until_a_run())
    away = ticks.folder.rename(ticks.folder.with_name("away"))
    with pytest.raises(dg.Failure, match=r"The source folder .*source does not exist: create it or set"):
        ticks.tick()
    away.rename(ticks.folder)
    assert ticks.until_a_run() is None


def test_a_cursor_that_somebody_reset_starts_a_run_for_the_same_contents(ticks: Ticks) -> None:
    (ticks.folder / "a.csv").write_text("A")
    ticks.finish(ticks.until_a_run())
    ticks.cursor = None
    assert ticks.until_a_run()


def test_what_the_sensor_asks_for_loads_the_files(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    shop = make_shop(tmp_path, customers=60, lines=1_500)
    ticks = Ticks(instance, shop.source)
    run = ticks.until_a_run()
    assert run
    ticks.finish(run)
    result = run_everything(shop, instance, run.tags)
    assert result.success
    assert materializations(result)["bronze/order_lines"]["changed"].value is True
    assert ticks.until_a_run() is None


def run_everything(
    shop: Shop, instance: dg.DagsterInstance, tags: Mapping[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    deployed = build_defs(home=Home(path=str(shop.home)), source=SourceFolder(path=str(shop.source)))
    return deployed.resolve_job_def(everything.name).execute_in_process(
        instance=instance, run_config=QUICK, tags=tags, raise_on_error=False
    )


def test_a_fresh_deployment_starts_every_sensor_and_schedule() -> None:
    repository = defs.get_repository_def()
    assert len(repository.sensor_defs) == len(SENSORS)
    assert len(repository.schedule_defs) == len(SCHEDULES)
    for sensor in repository.sensor_defs:
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING, sensor.name
    for schedule in repository.schedule_defs:
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING, schedule.name


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
def test_every_schedule_starts_a_run(schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance) -> None:
    repository = defs.get_repository_def()
    context = dg.build_schedule_context(
        instance, scheduled_execution_time=datetime(2025, 6, 1, tzinfo=UTC), repository_def=repository
    )
    [request] = repository.get_schedule_def(schedule.name).evaluate_tick(context).run_requests or []
    assert request


def test_the_sensor_loads_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("A")
    probe = (
        "import sys, dagster as dg; from clustering_assets.automation import source_folder;"
        "from clustering_assets.resources import Home, SourceFolder;"
        f"home, source = Home(path={str(tmp_path / 'home')!r}), SourceFolder(path={str(tmp_path)!r});"
        "context = dg.build_sensor_context(resources={'home': home, 'source': source}).__enter__();"
        "source_folder.evaluate_tick(context);"
        "print([name for name in ('sklearn', 'pandas', 'matplotlib', 'openTSNE') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Deployment:
    """A shop whose layers are materialized one at a time, and what the automation sensor asks for after each."""

    def __init__(self, shop: Shop, instance: dg.DagsterInstance) -> None:
        self.shop, self.instance = shop, instance
        self.defs = build_defs(home=Home(path=str(shop.home)), source=SourceFolder(path=str(shop.source)))
        self.cursor: Any = None

    def materialize(self, *assets: str) -> dg.ExecuteInProcessResult:
        """Run assets with their checks, as the UI does."""
        keys = [dg.AssetKey(asset.split("/")) for asset in assets]
        return self.defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=keys,
            run_config=QUICK if "gold/segment_model" in assets else None,
            raise_on_error=False,
        )

    def asked(self) -> set[str]:
        """Evaluate the conditions once more; return what is to be run."""
        found = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self.cursor)
        self.cursor = found.cursor
        keys = self.defs.resolve_asset_graph().get_all_asset_keys()
        return {key.to_user_string() for key in keys if found.get_num_requested(key)}

    def deliver(self) -> None:
        """Bring order lines that were not there before."""
        header, *rows = (self.shop.source / "returns_export.csv").read_text().splitlines()
        number = len([*self.shop.source.iterdir()])
        new = [header, *(f"{number}{row}" for row in rows[:50])]
        (self.shop.source / f"more_{number}.csv").write_text("\n".join(new) + "\n")


def of_layer(layer: str) -> set[str]:
    return {f"{layer}/{name}" for name in ASSETS[layer]} - OF_THEIR_OWN_JOB


BRONZE, SILVER, GOLD = map(of_layer, ("bronze", "silver", "gold"))


@pytest.fixture(scope="module")
def deployment(finished: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment that ran everything once; each test leaves it with nothing to do."""
    shop = finished.copied_to(tmp_path_factory.mktemp("deployment"))
    with dg.DagsterInstance.ephemeral() as instance:
        deployment = Deployment(shop, instance)
        assert deployment.asked() == set(), "a fresh deployment is for the source folder's sensor to start"
        assert run_everything(shop, instance).success
        assert deployment.asked() == deployment.asked() == set(), "nothing follows a run of everything"
        yield deployment


def test_what_is_made_of_a_changed_table_follows_layer_by_layer(deployment: Deployment) -> None:
    published = dg.AssetKey(["exports", "database_tables"])
    deployment.instance.report_runless_asset_event(dg.AssetMaterialization(published))
    deployment.deliver()
    assert deployment.materialize(*BRONZE).success
    assert deployment.asked() == SILVER
    assert deployment.asked() == set(), "it is asked for once"
    assert deployment.materialize(*SILVER).success
    assert deployment.asked() == GOLD | {"exports/silver_workbook"}
    assert deployment.materialize(*GOLD, "exports/silver_workbook").success
    of_gold = {
        f"exports/{name}" for name in ("gold_workbook", "segment_report", "segment_report_workbook", "database_tables")
    }
    assert deployment.asked() == of_gold, "what is published is of one run, not of silver first and of gold later"
    assert deployment.materialize(*of_gold).success
    assert deployment.asked() == set()


def test_nothing_follows_a_table_that_came_out_as_it_was(deployment: Deployment) -> None:
    for layer in (BRONZE, SILVER):
        assert deployment.materialize(*layer).success
        assert deployment.asked() == set()


def test_nothing_follows_a_failed_blocking_check_until_it_passes(deployment: Deployment) -> None:
    deployment.deliver()
    assert deployment.materialize(*BRONZE).success
    with deployment.shop.warehouse.connect() as backend:
        backend.con.execute("delete from bronze.order_lines where source_row = 2")
    result = deployment.materialize(*BRONZE)
    failed = {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}
    assert failed == {"every_row_accounted_for"}
    assert deployment.asked() == deployment.asked() == set()
    with deployment.shop.warehouse.connect() as backend:
        backend.con.execute("drop schema bronze cascade")
    assert deployment.materialize(*BRONZE).success
    assert deployment.asked() == SILVER
    assert deployment.asked() == set()


def test_a_run_that_broke_off_is_continued(deployment: Deployment) -> None:
    deployment.deliver()
    job = deployment.defs.resolve_job_def(everything.name)
    bad = {"ops": {"silver": {"config": {"as_of": "some day"}}}}
    assert not job.execute_in_process(instance=deployment.instance, run_config=bad, raise_on_error=False).success
    assert deployment.asked() == SILVER
    assert deployment.asked() == set()


def test_assets_with_a_job_of_their_own_follow_nothing() -> None:
    graph = defs.resolve_asset_graph()
    following = {key.to_user_string() for key in graph.get_all_asset_keys() if graph.get(key).automation_condition}
    assert following == SILVER | GOLD | of_layer("exports")
