"""The command with Spark as the engine, in this process and on a server: it makes the tables that DuckDB makes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from clustering_assets.contracts import CUSTOMER_SEGMENTS, TableContract
from clustering_assets.warehouse import Warehouse
from clustering_assets_tests.conftest import QUICK, Shop
from clustering_assets_tests.spark.test_layers import BRONZE, SILVER
from clustering_assets_tests.spark_cluster import connect_server, require_spark

ROOT = Path(__file__).parents[2]
MOMENTS = {"ingested_at", "loaded_at", "computed_at", "assigned_at"}
MAP = {"map_x", "map_y"}
"""Of another order than all else: a layout in which differences in the last digits become visible ones."""
SETTINGS = ("CLUSTERING_", "DAGSTER_", "SPARK_")


@contextmanager
def _master(kind: str, folder: Path) -> Iterator[str]:
    if kind == "local":
        yield "local[2]"
        return
    with connect_server(folder) as address:
        yield address


@pytest.mark.parametrize("kind", [pytest.param("local", marks=pytest.mark.long), "connect"])
def test_a_run_on_spark_makes_the_tables_that_duckdb_makes(finished: Shop, tmp_path: Path, kind: str) -> None:
    require_spark()
    config, home, dagster_home = tmp_path / "quick.yaml", tmp_path / "home", tmp_path / "dagster"
    config.write_text(json.dumps(QUICK))
    dagster_home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", dagster_home)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)} | {
        "CLUSTERING_HOME": str(home),
        "CLUSTERING_SOURCE_DIR": str(finished.source),
        "CLUSTERING_SPARK_DIR": str(tmp_path / "tables"),
        "DAGSTER_HOME": str(dagster_home),
    }

    def run(**engine: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "clustering_assets.cli", "run", "--json", "--config", str(config)]
        return subprocess.run(command, env=environment | engine, capture_output=True, text=True, check=False)

    with _master(kind, tmp_path) as master:
        done = run(CLUSTERING_ENGINE="spark", CLUSTERING_SPARK_MASTER=master)
    assert done.returncode == 0, done.stderr
    assert [folder.name for folder in (tmp_path / "tables").iterdir()] == ["bronze"]
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        said = {entry.user_message for entry in instance.all_logs(json.loads(done.stdout)["run_id"])}
    assert "putting the customers into the segments" in said, "gold was made on Spark"
    # models are fitted by iterations, in which differences in the last digits of silver grow
    for contract, rtol in (*((each, 1e-9) for each in (*BRONZE, *SILVER)), (CUSTOMER_SEGMENTS, 1e-6)):
        pd.testing.assert_frame_equal(_rows(home, contract), _rows(finished.home, contract), rtol=rtol, atol=1e-12)
    # the other engine says that the home is not its own
    refused = run(CLUSTERING_ENGINE="duckdb")
    assert refused.returncode == 1
    assert "CLUSTERING_ENGINE=spark" in refused.stderr


def _rows(home: Path, contract: TableContract) -> pd.DataFrame:
    columns = ", ".join(name for name in contract.column_names if name not in MOMENTS | MAP)
    with Warehouse(home).read() as backend:
        return backend.con.execute(f"select {columns} from {contract.qualified_name} order by all").df()
