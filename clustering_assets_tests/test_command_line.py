"""The command line as people use it: in a terminal, in a pipe, and with what goes wrong."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import yaml

from clustering_assets.warehouse import Warehouse
from clustering_assets_tests.conftest import QUICK, make_shop

CHECKOUT = Path(__file__).parent.parent
FILES = 40
LINES_OF_A_RUN = 40
"""A person reads them from top to bottom."""


@dataclass(frozen=True)
class Deployment:
    """A folder with source, home and Dagster's own, and the command in it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLUSTERING_")}
        return {
            **kept,
            "CLUSTERING_HOME": str(self.folder / "home"),
            "CLUSTERING_SOURCE_DIR": str(self.folder / "source"),
            "CLUSTERING_LOCK_WAIT": "0",
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "COLUMNS": "120",
        }

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.folder / "home")

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "clustering_assets.cli", *arguments],
            capture_output=True,
            text=True,
            env={**self.environment, **settings},
            cwd=CHECKOUT,
            timeout=300,
        )

    def command_in_terminal(self, *arguments: str) -> tuple[int, str]:
        """Run the command where standard output and error are a terminal; return its status and what was shown."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "clustering_assets.cli", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**self.environment, "TERM": "xterm-256color"},
            cwd=CHECKOUT,
        )
        os.close(theirs)
        shown = bytearray()
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # the terminal is gone with the last program in it
                break
            if not part:
                break
            shown += part
        os.close(ours)
        return process.wait(), shown.decode()


def plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Deployment, str]:
    """A shop whose lines are in many files, after a first run in a terminal; and what the terminal showed."""
    folder = tmp_path_factory.mktemp("deployment")
    shop = make_shop(folder, customers=60, lines=1_500)
    [whole] = shop.source.iterdir()
    header, *lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    whole.unlink()
    for place in range(FILES):
        (shop.source / f"lines_{place:03}.csv").write_text(header + "".join(lines[place::FILES]), encoding="utf-8")
    (folder / "dagster").mkdir()
    shutil.copy(CHECKOUT / "dagster.yaml", folder / "dagster")
    deployment = Deployment(folder)
    (folder / "quick.yaml").write_text(yaml.safe_dump(QUICK), encoding="utf-8")
    status, shown = deployment.command_in_terminal("run", "--config", str(folder / "quick.yaml"))
    assert status == 0, shown
    return deployment, plain(shown)


@pytest.fixture
def deployment(first: tuple[Deployment, str]) -> Deployment:
    return first[0]


# ------------------------------------------------------------------------------------------------------------ progress


def test_in_a_terminal_a_run_shows_each_layer_with_its_time_and_rows(first: tuple[Deployment, str]) -> None:
    deployment, shown = first
    with deployment.warehouse.read() as backend:
        rows = {
            layer: backend.con.execute(f"select count(*) from {layer}.{table}").fetchall()[0][0]
            for layer, table in (
                ("bronze", "order_lines"),
                ("silver", "customer_features"),
                ("gold", "customer_segments"),
            )
        }
    for layer, count in {**rows, "exports": 2 * rows["gold"]}.items():
        assert re.search(rf"✓ +{layer} +[\d.]+ s +{count:,} rows", shown), layer
    assert f"rows from {FILES} files" in shown
    assert shown.index("✓") < shown.index("home: "), "the summary comes after the progress"


def test_the_log_of_a_run_over_many_files_is_read_from_top_to_bottom(deployment: Deployment) -> None:
    with dg.DagsterInstance.from_config(deployment.environment["DAGSTER_HOME"]) as instance:
        [run] = instance.get_runs(limit=1)
        said = [entry.user_message for entry in instance.all_logs(run.run_id) if entry.dagster_event is None]
    with deployment.warehouse.read() as backend:
        ids = {each for (each,) in backend.con.execute("select customer_id from bronze.order_lines").fetchall()}
    assert 15 <= len(said) <= LINES_OF_A_RUN
    for step in ("files are to be read", f"read {FILES} of {FILES} files", "segments", "resamples", "map", ".xlsx"):
        assert any(step in line for line in said), step
    assert not [line for line in said if any(each in line for each in ids)]
