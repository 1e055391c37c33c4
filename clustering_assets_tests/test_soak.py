"""A year of deliveries, one after the other through the sensor, ends where one run over all of them ends."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow.parquet as pq
import pytest
import requests
import yaml
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.storage.schedules import SqlScheduleStorage
from dagster._core.storage.schedules.schema import AssetDaemonAssetEvaluationsTable, JobTickTable
from dagster_graphql import DagsterGraphQLClient
from sqlalchemy import func

from clustering_assets.automation import everything, source_folder
from clustering_assets.clean_up import clean_up
from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    ORDER_LINES,
    REJECTED_ROWS,
    SCALED_FEATURES,
    SEGMENT_MODEL,
    SOURCE_FILES,
    WORKBOOKS,
    TableContract,
)
from clustering_assets.definitions import build_defs
from clustering_assets.reports.workbook import exports_of
from clustering_assets.resources import Home, Retention, SourceFolder
from clustering_assets.synthetic import generate
from clustering_assets.warehouse import Warehouse
from clustering_assets_tests.conftest import Shop
from clustering_assets_tests.processes import CHECKOUT, environment_of, free_port, resident, running, until

FAST = {"ops": {"gold": {"config": {"stability_resamples": 0, "n_clusters": 3, "map_perplexity": 5.0}}}}
KEPT = Retention(keep_exports=3, keep_models=4, keep_run_days=60)
OF_THE_MOMENT = ["ingested_at", "computed_at", "processed_at"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop that nothing was delivered to yet."""
    (tmp_path / "source").mkdir()
    return Shop(tmp_path / "source", tmp_path / "home")


def deliveries(folder: Path, files: int, at_once: int, customers: int, lines: int) -> Iterator[int]:
    """Write the order lines of a shop as files, a few at once in the order of the orders; yield how many lines came."""
    table = generate(customers, lines, seed=5).lines.sort_by("order_date")
    bounds = [round(table.num_rows * number / files) for number in range(files + 1)]
    for first in range(0, files, at_once):
        after = min(first + at_once, files)
        for number in range(first, after):
            part = table.slice(bounds[number], bounds[number + 1] - bounds[number])
            pq.write_table(part, folder / f"delivery_{number:03}.parquet")
        yield bounds[after] - bounds[first]


def rows(warehouse: Warehouse, contract: TableContract) -> pd.DataFrame:
    names = ", ".join(f'"{name}"' for name in contract.column_names if name not in OF_THE_MOMENT)
    with warehouse.connect() as backend:
        found: pd.DataFrame = backend.con.execute(f"select {names} from {contract.qualified_name} order by all").df()
    return found


def assert_as_if_run_once(shop: Shop, delivered: int, runs: int) -> None:
    """Compare with one run over everything, and what is kept with what is set."""
    at_once = Shop(shop.source, shop.home.with_name("at_once"))
    assert at_once.run(**FAST).success
    bronze, again = rows(shop.warehouse, ORDER_LINES), rows(at_once.warehouse, ORDER_LINES)
    pd.testing.assert_frame_equal(bronze, again)
    assert len(bronze) + len(rows(shop.warehouse, REJECTED_ROWS)) == delivered, "no row is lost"
    for contract in (CUSTOMER_FEATURES, SCALED_FEATURES):
        # sums of floats are taken in the order in which rows lie in the table
        pd.testing.assert_frame_equal(
            rows(shop.warehouse, contract), rows(at_once.warehouse, contract), rtol=1e-9, atol=1e-9
        )
    for stem, _ in WORKBOOKS.values():
        assert len(exports_of(shop.home / "exports", stem)) == min(KEPT.keep_exports, runs)
    models = {path.stem for path in (shop.home / "models").glob("*.skops")}
    assert models == {*rows(shop.warehouse, SEGMENT_MODEL)["model_run_id"]}
    assert len(models) == min(KEPT.keep_models, runs)


def test_eight_files_in_two_deliveries_end_where_one_run_ends(shop: Shop, tmp_path: Path) -> None:
    resources = {"home": Home(path=str(shop.home)), "source": SourceFolder(path=str(shop.source))}
    job = build_defs(**resources, retention=KEPT).resolve_job_def(everything.name)
    cursor, delivered, runs = None, 0, 0
    (tmp_path / "dagster").mkdir()
    with dg.instance_for_test(temp_dir=str(tmp_path / "dagster")) as instance:
        for lines in deliveries(shop.source, files=8, at_once=4, customers=60, lines=1_500):
            delivered += lines
            for _ in range(4):
                with dg.build_sensor_context(instance, cursor, resources=resources) as context:
                    found = source_folder.evaluate_tick(context)
                cursor = found.cursor
                for _ in found.run_requests or []:
                    assert job.execute_in_process(instance=instance, run_config=FAST, raise_on_error=False).success
                    runs += 1
    assert runs == 2, "a run for each delivery, and none for nothing"
    assert_as_if_run_once(shop, delivered, runs)


# ---------------------------------------------------------------------------------- a year with the daemon, in minutes

YEAR = timedelta(days=365)
FILES, AT_ONCE, RUNS = 200, 5, 20
COMPOSE = yaml.safe_load((CHECKOUT / "deploy" / "compose.yaml").read_text())["services"]


@dataclass
class Deployment:
    """The project's own services of deploy/compose.yaml as processes, with Dagster's storage in files."""

    shop: Shop
    instance: dg.DagsterInstance
    client: DagsterGraphQLClient
    dagster_home: Path
    services: dict[str, int]
    runs: list[str] = field(default_factory=list)
    measured: list[dict[str, float]] = field(default_factory=list)

    def next_run(self, since: float) -> str | None:
        """Wait for the sensor to ask for a run, or to find nothing new in a look after a moment."""

        def asked() -> list[str]:
            runs = [run.run_id for run in self.instance.get_runs(dg.RunsFilter(job_name=everything.name))]
            return [run for run in runs if run not in self.runs]

        until(lambda: asked() or self.rests(since), "the next run")
        if not (new := asked()):
            return None
        [run] = new
        self.runs.append(run)
        return run

    def rests(self, since: float) -> bool:
        for state in self.instance.all_instigator_state():
            if state.instigator_name == source_folder.name:
                ticks = self.instance.get_ticks(state.instigator_origin_id, state.selector_id, after=since, limit=1)
                return any(tick.skip_reason == "Nothing new in the source folder." for tick in ticks)
        return False

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        run = self.instance.get_run_by_id(run_id)
        assert run
        return run.status

    def begin(self, run_id: str) -> None:
        until(lambda: self.status(run_id) in (dg.DagsterRunStatus.STARTED, *FINISHED_STATUSES), "the start of a run")

    def finish(self, run_id: str) -> None:
        until(lambda: self.status(run_id) in FINISHED_STATUSES, "the end of a run")
        assert self.status(run_id) == dg.DagsterRunStatus.SUCCESS

    def let_time_pass(self, span: timedelta) -> None:
        """Make older what Dagster recorded, and do what the schedule does every night."""
        runs, schedules = self.instance.run_storage, self.instance.schedule_storage
        assert isinstance(runs, SqlRunStorage)
        assert isinstance(schedules, SqlScheduleStorage)
        for storage, column in (
            (runs, RunsTable.c.create_timestamp),
            (schedules, JobTickTable.c.timestamp),
            (schedules, AssetDaemonAssetEvaluationsTable.c.create_timestamp),
        ):
            older = column.table.update().values({column: func.datetime(column, f"-{span.total_seconds()} seconds")})
            with storage.connect() as connection:
                connection.execute(older)
        self.finish(self.client.submit_job_execution(clean_up.name))

    def measure(self) -> None:
        warehouse = self.shop.warehouse.path.stat().st_size
        memory = {name: resident(pid) for name, pid in self.services.items()}
        homes = {"dagster home": size(self.dagster_home), "rest of home": size(self.shop.home) - warehouse}
        self.measured.append({**memory, **homes, "warehouse": warehouse})
        print(time.strftime("%H:%M:%S"), {name: round(size / (1 << 20), 1) for name, size in self.measured[-1].items()})


def size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a journal of SQLite is there for moments
            total += path.stat().st_size if path.is_file() else 0
    return total


@contextmanager
def deployed(shop: Shop, folder: Path) -> Iterator[Deployment]:
    """Start code server, daemon and webserver by the commands of the compose file, with the places of the test."""
    dagster_home = folder / "dagster"
    dagster_home.mkdir()
    (dagster_home / "dagster.yaml").write_text((CHECKOUT / "dagster.yaml").read_text())
    code, webserver = free_port(), free_port()
    workspace = (CHECKOUT / "deploy" / "workspace.yaml").read_text()
    for written, here in {"host: code": "host: 127.0.0.1", "port: 4000": f"port: {code}"}.items():
        assert written in workspace
        workspace = workspace.replace(written, here)
    (folder / "workspace.yaml").write_text(workspace)
    places = {
        "4000": str(code),
        "3000": str(webserver),
        "0.0.0.0": "127.0.0.1",  # noqa: S104  this is what is replaced
        "/var/lib/dagster/workspace.yaml": str(folder / "workspace.yaml"),
    }
    environment = environment_of(
        shop,
        dagster_home,
        CLUSTERING_KEEP_EXPORTS=str(KEPT.keep_exports),
        CLUSTERING_KEEP_MODELS=str(KEPT.keep_models),
        CLUSTERING_KEEP_RUN_DAYS=str(KEPT.keep_run_days),
    )
    services = {}
    with ExitStack() as stack:
        # SQLite's tables are made by one process: two that find none at once spoil them
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(dagster_home)))
        for name in ("code", "webserver", "daemon"):
            program, *arguments = [places.get(word, word) for word in COMPOSE[name]["command"]]
            command = [str(Path(sys.executable).parent / program), *arguments]
            services[name] = stack.enter_context(running(command, environment, folder, folder / f"{name}.log")).pid
        query = {"query": "{assetNodes {assetKey {path}}}"}
        url = f"http://127.0.0.1:{webserver}/graphql"
        until(lambda: "customer_segments" in requests.post(url, json=query, timeout=60).text, "the assets")
        client = DagsterGraphQLClient("127.0.0.1", port_number=webserver)
        yield Deployment(shop, instance, client, dagster_home, services)


@pytest.mark.long
def test_two_hundred_files_over_a_year_through_the_daemon_lose_nothing_and_fill_no_disk(
    shop: Shop, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    arriving = deliveries(shop.source, FILES, AT_ONCE, customers=80, lines=4_000)
    with deployed(shop, tmp_path) as deployment:
        delivered, last = next(arriving), time.time()
        while run := deployment.next_run(last):
            delivered += next(arriving, 0)  # while the run is in the queue, which may find it there or not
            deployment.begin(run)
            delivered += next(arriving, 0)  # while it is under way, so that the next one is for this
            last = time.time()
            deployment.finish(run)
            deployment.let_time_pass(YEAR / RUNS)
            deployment.measure()
        names = Counter(run.job_name for run in deployment.instance.get_runs())
    figures = pd.DataFrame(deployment.measured).div(1 << 20)
    record_property("figures", figures.to_dict("list"))
    print(figures.iloc[[0, *(len(figures) * quarter // 4 - 1 for quarter in (1, 2, 3, 4))]].round(1).to_string())
    print(f"{len(deployment.runs)} runs, of which are left: {dict(names)}")

    files = rows(shop.warehouse, SOURCE_FILES)
    assert (len(files), {*files["status"]}) == (FILES, {"loaded"})
    assert RUNS <= len(deployment.runs) <= FILES // AT_ONCE, "none for nothing, and what waits is loaded together"
    assert {*names} == {everything.name, clean_up.name}, "nothing followed a run that does all itself"
    assert names[everything.name] <= KEPT.keep_run_days / (YEAR / RUNS).days + 1, "old runs go"
    half, end = figures.iloc[len(figures) // 2], figures.iloc[-1]
    for service in deployment.services:
        assert end[service] < 1.2 * half[service], f"the memory of {service} does not grow with the runs"
    assert end["dagster home"] < 1.5 * half["dagster home"], "what Dagster records of old runs goes"
    assert end["rest of home"] < 1.5 * half["rest of home"], "exports and models are bounded"
    assert_as_if_run_once(shop, delivered, len(deployment.runs))
