"""Several programs at the same warehouse: who comes second waits, and says for whom."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from clustering_assets import gold
from clustering_assets.automation import JOBS
from clustering_assets.contracts import CUSTOMER_FEATURES, CUSTOMER_SEGMENTS, TableContract
from clustering_assets.definitions import defs
from clustering_assets.gold import Segmentation
from clustering_assets.locks import Busy, one_run_at_a_time, process_in_words
from clustering_assets.resources import WAREHOUSE_POOL
from clustering_assets.warehouse import Warehouse, WarehouseHeld, WarehouseUnavailable, record_versions
from clustering_assets_tests.conftest import QUICK, Shop, make_shop
from clustering_assets_tests.warm_python import QUICK_GOLD

HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only={}); print('held', flush=True); sys.stdin.read()"
TURN = """
import sys
from pathlib import Path
from clustering_assets.locks import one_run_at_a_time
with one_run_at_a_time(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def program(code: str, argument: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program, which holds what it is to hold from here on until its input ends."""
    command = [sys.executable, "-c", code, str(argument)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "home", lock_wait=30)
    with made.connect() as backend:
        backend.con.execute("create table main.numbers as select 1 as number")
    return made


@pytest.mark.parametrize("read_only", [True, False])
def test_a_program_that_lets_go_is_waited_for_and_named_once(
    warehouse: Warehouse, read_only: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with program(HOLD.format(read_only), warehouse.path) as holder:
        assert holder.stdin
        timer = threading.Timer(3, holder.stdin.close)
        timer.start()
        with warehouse.connect() as backend:
            assert backend.con.execute("select number from main.numbers").fetchall() == [(1,)]
        timer.join()
    assert caplog.messages == [
        f"The warehouse {warehouse.path} is held by PID {holder.pid} ({Path(sys.executable).name}, "
        f"user {getpass.getuser()}); waiting for up to 30 s."
    ]


@pytest.mark.parametrize("wait", [0, 0.5])
def test_a_program_that_never_lets_go_is_named_with_what_to_do(warehouse: Warehouse, wait: float) -> None:
    impatient = Warehouse(warehouse.home, lock_wait=wait)
    with (
        program(HOLD.format(True), warehouse.path) as holder,
        pytest.raises(WarehouseHeld, match=rf"held by PID {holder.pid} .*within {wait:g} s: close that program"),
        impatient.connect(),
    ):
        pass


def test_a_program_that_is_killed_holds_nothing(warehouse: Warehouse) -> None:
    with program(HOLD.format(False), warehouse.path) as holder:
        holder.kill()
        holder.wait()
        with Warehouse(warehouse.home, lock_wait=0).connect():
            pass


def test_a_damaged_file_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "warehouse.duckdb").write_bytes(b"no database")
    with pytest.raises(WarehouseUnavailable, match="is damaged"), Warehouse(tmp_path, lock_wait=3_600).connect():
        pass
    assert not caplog.messages


def test_two_programs_that_make_the_warehouse_at_once_make_one(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from clustering_assets.warehouse import Warehouse
print("held", flush=True)
number = sys.stdin.read()
with Warehouse(Path(sys.argv[1])).connect() as backend:
    backend.con.execute(f"create table main.made_{number} as select 1")
"""
    with ExitStack() as stack:
        makers = [stack.enter_context(program(code, tmp_path)) for _ in range(2)]
        for number, maker in enumerate(makers):
            assert maker.stdin
            maker.stdin.write(str(number))
            maker.stdin.close()
        assert [maker.wait(60) for maker in makers] == [0, 0]
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        made = connection.sql("select table_name from duckdb_tables() order by 1").fetchall()
    assert made == [("made_0",), ("made_1",)]
    assert not list(tmp_path.glob(".*"))


def test_a_process_is_named_without_what_may_be_secret() -> None:
    code = "import sys; print('held', flush=True); sys.stdin.read()"
    with program(code, Path("--password=hunter2")) as process:
        said = process_in_words(process.pid)
    assert said.startswith(f"PID {process.pid} (python")
    assert "hunter2" not in said
    assert process_in_words(process.pid) == f"PID {process.pid}", "it has ended"


def test_a_run_waits_for_the_one_before_it_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with program(TURN, tmp_path) as first:
        with pytest.raises(Busy, match=rf"at work in {tmp_path}: PID {first.pid}"), one_run_at_a_time(tmp_path, False):
            pass
        assert first.stdin
        timer = threading.Timer(1, first.stdin.close)
        timer.start()
        with one_run_at_a_time(tmp_path):
            assert (tmp_path / "runs" / "turn").read_text() == str(os.getpid())
        timer.join()
    [said] = caplog.messages
    assert f"PID {first.pid}" in said


def test_a_killed_run_keeps_nobody_waiting(tmp_path: Path) -> None:
    with program(TURN, tmp_path) as first:
        first.kill()
        first.wait()
        with one_run_at_a_time(tmp_path, waits=False):
            pass


def test_two_runs_of_the_command_at_once_both_end_well(tmp_path: Path) -> None:
    shop: Shop = make_shop(tmp_path, customers=60, lines=1_500)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLUSTERING_", "DAGSTER_"))}
    environment = {**kept, "CLUSTERING_HOME": str(shop.home), "CLUSTERING_SOURCE_DIR": str(shop.source)}
    config = tmp_path / "quick.yaml"
    config.write_text(json.dumps(QUICK))
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "clustering_assets.cli", "run", "--config", str(config)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [run.communicate(timeout=240) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert [error.count("Another run is at work") for _, error in said].count(1) == 1
    for pattern in ("silver_customer_features_*.xlsx", "gold_cluster_processed_*.xlsx"):
        assert len(list((shop.home / "exports").glob(pattern))) == 1, "the second found everything done"
    with shop.warehouse.connect() as backend:
        [(models,)] = backend.con.execute("select count(*) from gold.segment_model").fetchall()
    assert models == 1


@pytest.mark.parametrize("contract", [CUSTOMER_FEATURES, CUSTOMER_SEGMENTS], ids=lambda contract: contract.layer)
def test_segments_are_not_written_over_what_another_program_wrote_meanwhile(
    ran: Shop, monkeypatch: pytest.MonkeyPatch, contract: TableContract
) -> None:
    def fitted_beside_another(*arguments: Any) -> Segmentation:
        with ran.warehouse.connect() as backend:
            record_versions(backend, {contract.qualified_name: "that of another program"})
        return segment(*arguments)

    segment = gold.segment
    monkeypatch.setattr(gold, "segment", fitted_beside_another)
    with ran.warehouse.read() as backend:
        before = backend.con.sql("from gold.segment_model order by all").fetchall()
    result = ran.run(only="gold", ops={"gold": {"config": {**QUICK_GOLD, "random_state": 8}}})
    [failure] = [event.step_failure_data for event in result.filter_events(lambda event: event.is_step_failure)]
    assert failure.user_failure_data is not None
    assert f"Another run wrote the {contract.layer} layer" in (failure.user_failure_data.description or "")
    with ran.warehouse.read() as backend:
        assert backend.con.sql("from gold.segment_model order by all").fetchall() == before


@pytest.mark.parametrize("job", [job.name for job in JOBS])
def test_every_step_that_opens_the_warehouse_is_in_its_pool(job: str) -> None:
    steps = [node.definition for node in defs.resolve_job_def(job).nodes]
    assert {step.pool for step in steps if "home" in step.required_resource_keys} <= {WAREHOUSE_POOL}
