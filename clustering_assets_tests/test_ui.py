"""The real UI: `dagster dev` is started as `make ui` does it, and runs are launched through its API."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest
import requests
from dagster import DagsterRunStatus
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
from playwright.sync_api import Browser, Page, expect

from clustering_assets.contracts import ORDER_LINES
from clustering_assets.definitions import defs
from clustering_assets.synthetic import generate, write
from clustering_assets_tests.conftest import QUICK, Shop, make_shop
from clustering_assets_tests.processes import CHECKOUT, environment_of, free_port, parent, running, until
from clustering_assets_tests.test_soak import rows

SHOWN_WITHIN = 60_000
"""Milliseconds; far more than a page takes, so that a busy machine does not fail a test."""

SUCCESS, FAILURE = DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE
_SOURCE_FOLDER = """sensorSelector: {
    repositoryLocationName: "clustering_assets", repositoryName: "__repository__", sensorName: "source_folder"
}"""


@dataclass(frozen=True)
class UI:
    """What `make ui` starts, over a small shop."""

    shop: Shop
    port: int
    client: DagsterGraphQLClient

    def ask(self, query: str) -> dict[str, Any]:
        response = requests.post(f"http://127.0.0.1:{self.port}/graphql", json={"query": query}, timeout=60)
        response.raise_for_status()
        data: dict[str, Any] = response.json()["data"]
        return data

    def of_run(self, run: str, fields: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(f'{{runOrError(runId: "{run}") {{... on Run {{{fields}}}}}}}')["runOrError"]
        return found

    def reached(self, run: str, *wanted: DagsterRunStatus) -> DagsterRunStatus:
        """Wait until a run is as wanted, or has ended; return how it is."""

        def status() -> DagsterRunStatus | None:
            try:
                found = self.client.get_run_status(run)
            except DagsterGraphQLClientError:
                return None
            return found if found in (*wanted, *FINISHED_STATUSES) else None

        reached: DagsterRunStatus = until(status, f"run {run}")
        return reached

    def process_of(self, run: str) -> int:
        """Wait until a run is at work; return its process."""
        assert self.reached(run, DagsterRunStatus.STARTED) == DagsterRunStatus.STARTED
        sign = self.shop.home / "runs" / "alive" / run
        return int(until(sign.read_text, f"the sign of life of run {run}"))


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UI]:
    folder = tmp_path_factory.mktemp("ui")
    shop, port = make_shop(folder, customers=60, lines=1_500), free_port()
    dagster_home = folder / "dagster"
    dagster_home.mkdir()
    shutil.copy(CHECKOUT / "dagster.yaml", dagster_home)
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", str(CHECKOUT / "workspace.yaml")]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with running(command, environment_of(shop, dagster_home), dagster_home, folder / "log"):
        until(lambda: requests.get(f"http://127.0.0.1:{port}/server_info", timeout=60).ok, "the UI")
        ui = UI(shop, port, DagsterGraphQLClient("127.0.0.1", port_number=port))
        until(lambda: ui.ask("{assetNodes {id}}")["assetNodes"], "the assets")
        # otherwise it asks for runs of its own, and those of the tests wait in the queue behind them
        sensor = ui.ask(f"{{sensorOrError({_SOURCE_FOLDER}) {{... on Sensor {{id}}}}}}")["sensorOrError"]["id"]
        stopped = ui.ask(f'mutation {{stopSensor(id: "{sensor}") {{__typename}}}}')["stopSensor"]
        assert stopped == {"__typename": "StopSensorMutationResult"}
        yield ui


def test_every_asset_is_served_and_runs_from_the_ui_come_one_after_the_other(ui: UI) -> None:
    keys = {spec.key for spec in defs.resolve_all_asset_specs()}
    nodes = ui.ask("{assetNodes {assetKey {path} isMaterializable}}")["assetNodes"]
    assert {tuple(node["assetKey"]["path"]) for node in nodes if node["isMaterializable"]} == {
        tuple(key.path) for key in keys
    }
    job = ui.client.submit_job_execution("everything", run_config=QUICK)
    assert ui.reached(job, DagsterRunStatus.STARTED) == DagsterRunStatus.STARTED
    # What the button "Materialize" launches
    bronze = [key for key in keys if key.path[0] == "bronze"]
    click = ui.client.submit_job_execution("__ASSET_JOB", asset_selection=bronze)
    assert [ui.reached(run) for run in (job, click)] == [SUCCESS] * 2
    first, second = (ui.of_run(run, "startTime endTime") for run in (job, click))
    assert first["endTime"] <= second["startTime"], "the second was in the queue meanwhile"
    with ui.shop.warehouse.connect() as backend:
        [(customers,)] = backend.con.execute("select count(*) from gold.customer_segments").fetchall()
    assert customers == 60


PAGES = {
    "/asset-groups": ["bronze", "silver", "gold", "exports", "privacy"],
    "/assets/gold/scaled_features": [
        "One row per customer",
        "customer-analytics",
        "Scikit Learn",
        "return_rate_scaled",
        "Made of silver.customer_features.return_rate.",
    ],
    "/assets/silver/customer_features": ["Made of bronze.order_lines.return_quantity, bronze.order_lines.sku."],
    "/assets/gold/customer_segments?view=lineage": ["customer_segments", "segment_model"],
    "/assets/gold/segment_model?view=checks": ["silhouette", "This is a blocking asset check."],
    "/automation": ["source_folder", "nightly_refresh", "downstream_of_changes", "monthly_segment_history"],
    "/locations/clustering_assets/jobs/everything/playground": ["Launch run"],
    "/runs": ["everything"],
}
"""Page of the UI -> words on it, once everything has run."""


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def page(ui: UI, browser: Browser, complaints: list[str]) -> Iterator[Page]:
    """A page of the UI after a run, that notes whatever goes wrong in it."""
    succeeded = 'filter: {pipelineName: "everything", statuses: [SUCCESS]}'
    if not ui.ask(f"{{runsOrError({succeeded}) {{... on Runs {{count}}}}}}")["runsOrError"]["count"]:
        assert ui.reached(ui.client.submit_job_execution("everything", run_config=QUICK)) == SUCCESS
    page = browser.new_page(base_url=f"http://127.0.0.1:{ui.port}", viewport={"width": 1500, "height": 4000})
    page.set_default_timeout(SHOWN_WITHIN)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("response", lambda got: complaints.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    yield page
    page.close()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_of_the_ui_shows_what_it_is_for_and_nothing_goes_wrong(
    page: Page, complaints: list[str], path: str
) -> None:
    page.goto(path)
    for words in PAGES[path]:
        expect(page.get_by_text(words).first).to_be_visible(timeout=SHOWN_WITHIN)
    assert complaints == []


def test_figures_of_the_model_are_plotted_over_time(page: Page, complaints: list[str]) -> None:
    page.goto("/assets/gold/segment_model")
    page.get_by_role("button", name="Plots").click()
    for figure in ("silhouette", "outlier_share", "segments"):
        expect(page.get_by_text(figure, exact=True).first).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()
    assert complaints == []


@pytest.mark.parametrize(
    ("with_servers", "says"),
    [
        pytest.param(False, "was terminated by signal 9 (SIGKILL)", id="alone"),
        pytest.param(True, "The process of the run is gone, as if it", id="with the servers", marks=pytest.mark.long),
    ],
)
def test_a_run_is_killed_and_the_next_in_the_queue_begins(ui: UI, with_servers: bool, says: str) -> None:
    """Alone it is missed by the code server that started it; with that, by the sensor `lost_runs` of the next one."""
    write(generate(50, 1_000, seed=12 + with_servers), ui.shop.source / f"more {with_servers}", "returns_export", "csv")
    killed, following = (ui.client.submit_job_execution("everything", run_config=QUICK) for _ in range(2))
    process = ui.process_of(killed)
    server = parent(process)
    for each in (parent(server), server, process) if with_servers else (process,):
        os.kill(each, signal.SIGKILL)
    assert [ui.reached(run) for run in (killed, following)] == [FAILURE, SUCCESS]
    found = rows(ui.shop.warehouse, ORDER_LINES)
    assert says in str(ui.of_run(killed, "eventConnection {events {... on MessageEvent {message}}}"))
    anew = Shop(ui.shop.source, ui.shop.home.with_name(f"anew {with_servers}"))
    assert anew.run(only="bronze").success
    pd.testing.assert_frame_equal(found, rows(anew.warehouse, ORDER_LINES))
