"""The real UI: `dagster dev` is started as `make ui` does it, and a run is launched through its API."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import requests
from dagster import DagsterRunStatus
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError

from clustering_assets.definitions import defs
from clustering_assets_tests.conftest import QUICK, Shop

CHECKOUT = Path(__file__).parent.parent
STARTS_WITHIN = RUNS_WITHIN = 240
"""Seconds; far more than it takes, so that a busy machine does not fail the test."""


@pytest.fixture
def port(shop: Shop) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    dagster_home = shop.home.parent / "dagster"
    dagster_home.mkdir()
    shutil.copy(CHECKOUT / "dagster.yaml", dagster_home)
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", str(CHECKOUT / "workspace.yaml")]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(dagster_home),
        "CLUSTERING_HOME": str(shop.home),
        "CLUSTERING_SOURCE_DIR": str(shop.source),
    }
    with (dagster_home / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=dagster_home,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield port
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def answer(port: int, query: str) -> dict[str, object]:
    response = requests.post(f"http://127.0.0.1:{port}/graphql", json={"query": query}, timeout=30)
    response.raise_for_status()
    data: dict[str, object] = response.json()["data"]
    return data


def wait_for_assets(port: int) -> list[str]:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        try:
            nodes = answer(port, "{assetNodes {assetKey {path} isMaterializable}}")["assetNodes"]
        except requests.RequestException:
            nodes = None
        if nodes:
            return ["/".join(node["assetKey"]["path"]) for node in nodes if node["isMaterializable"]]  # type: ignore[attr-defined]
        time.sleep(1)
    pytest.fail("the UI did not start")


ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE)


def wait_for(client: DagsterGraphQLClient, run: str, wanted: Sequence[DagsterRunStatus] = ENDED) -> DagsterRunStatus:
    status = DagsterRunStatus.QUEUED
    deadline = time.monotonic() + RUNS_WITHIN
    while time.monotonic() < deadline and status not in (*wanted, *ENDED):
        time.sleep(1)
        try:
            status = client.get_run_status(run)
        except DagsterGraphQLClientError:
            continue
    return status


def test_every_asset_is_served_and_runs_from_the_ui_come_one_after_the_other(port: int, shop: Shop) -> None:
    keys = {spec.key for spec in defs.resolve_all_asset_specs()}
    assert set(wait_for_assets(port)) == {key.to_user_string() for key in keys}
    client = DagsterGraphQLClient("127.0.0.1", port_number=port)
    job = client.submit_job_execution("everything", run_config=QUICK)
    assert wait_for(client, job, [DagsterRunStatus.STARTED]) == DagsterRunStatus.STARTED
    # What the button "Materialize" launches
    bronze = [key for key in keys if key.path[0] == "bronze"]
    click = client.submit_job_execution("__ASSET_JOB", asset_selection=bronze)
    assert [wait_for(client, run) for run in (job, click)] == [DagsterRunStatus.SUCCESS] * 2
    times = [
        answer(port, f'{{runOrError(runId: "{run}") {{... on Run {{startTime endTime}}}}}}') for run in (job, click)
    ]
    first, second = (time["runOrError"] for time in times)
    assert first["endTime"] <= second["startTime"], "the second was in the queue meanwhile"  # type: ignore[index]
    with shop.warehouse.connect() as backend:
        [(customers,)] = backend.con.execute("select count(*) from gold.customer_segments").fetchall()
    assert customers == 200
