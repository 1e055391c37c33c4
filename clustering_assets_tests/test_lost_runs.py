"""A run whose process is gone is ended; one that is alive, or that nobody knows, is left alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from clustering_assets.automation import lost_runs
from clustering_assets.locks import dead_runs, sign_of_life
from clustering_assets.lost_runs import end_lost_runs
from clustering_assets.resources import Home

RUN = """
import sys
from pathlib import Path
from clustering_assets.locks import sign_of_life
with sign_of_life(Path(sys.argv[1]), sys.argv[2]):
    print("alive", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@dg.op
def nothing() -> None: ...


@dg.job
def example() -> None:
    nothing()


def started(instance: dg.DagsterInstance) -> str:
    """Put a run on the books that has begun."""
    return instance.create_run_for_job(example, status=dg.DagsterRunStatus.STARTED).run_id


def process_of(home: Path, run_id: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(home), run_id]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "alive\n"
    return process


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run
    return run.status


def tick(home: Path, instance: dg.DagsterInstance) -> str | None:
    with dg.build_sensor_context(instance, resources={"home": Home(path=str(home))}) as context:
        said = lost_runs(context)
    assert isinstance(said, dg.SkipReason)
    return said.skip_message


def test_a_killed_run_is_ended_and_one_that_is_alive_is_not(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    killed, alive, elsewhere = (started(instance) for _ in range(3))
    with process_of(tmp_path, alive) as living, process_of(tmp_path, killed) as dying:
        assert tick(tmp_path, instance) == "Every run is alive."
        dying.kill()
        dying.wait()
        assert tick(tmp_path, instance) == f"Ended as failed: {killed}."
        assert status(instance, killed) == dg.DagsterRunStatus.FAILURE
        assert {status(instance, run) for run in (alive, elsewhere)} == {dg.DagsterRunStatus.STARTED}
        assert tick(tmp_path, instance) == "Every run is alive."
        assert living.stdin
        living.stdin.close()
        assert living.wait(60) == 0
    assert not list((tmp_path / "runs" / "alive").iterdir())


def test_a_run_that_ended_before_its_process_was_killed_stays_as_it_ended(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    run = instance.create_run_for_job(example, status=dg.DagsterRunStatus.SUCCESS).run_id
    with process_of(tmp_path, run) as process:
        process.kill()
    assert end_lost_runs(tmp_path, instance) == []
    assert status(instance, run) == dg.DagsterRunStatus.SUCCESS
    assert not list(dead_runs(tmp_path))


def test_where_nothing_can_be_written_a_run_goes_on_without_a_sign(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the place of the folder")
    with sign_of_life(tmp_path, "run"):
        pass
    assert not list(dead_runs(tmp_path))
