"""The command with Spark as the engine, in this process and on a server: it makes the tables that DuckDB makes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from clustering_assets.contracts import CUSTOMER_SEGMENTS
from clustering_assets_tests.conftest import QUICK, Shop
from clustering_assets_tests.processes import CHECKOUT, environment_of
from clustering_assets_tests.spark.test_layers import BRONZE, SILVER
from clustering_assets_tests.spark_cluster import connect_server, require_spark
from clustering_assets_tests.test_kill_points import tables

MAP = ["map_x", "map_y"]
"""Of another order than all else: a layout in which differences in the last digits become visible ones."""


@pytest.mark.parametrize("kind", [pytest.param("local", marks=pytest.mark.long), "connect"])
def test_a_run_on_spark_makes_the_tables_that_duckdb_makes(finished: Shop, tmp_path: Path, kind: str) -> None:
    require_spark()
    config, dagster_home = tmp_path / "quick.yaml", tmp_path / "dagster"
    config.write_text(json.dumps(QUICK))
    dagster_home.mkdir()
    shutil.copy(CHECKOUT / "dagster.yaml", dagster_home)
    shop = Shop(finished.source, tmp_path / "home")
    environment = environment_of(shop, dagster_home, CLUSTERING_SPARK_DIR=str(tmp_path / "tables"))

    def run(**engine: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "clustering_assets.cli", "run", "--json", "--config", str(config)]
        return subprocess.run(command, env=environment | engine, capture_output=True, text=True, check=False)

    with connect_server(tmp_path) if kind == "connect" else nullcontext("local[2]") as master:
        done = run(CLUSTERING_ENGINE="spark", CLUSTERING_SPARK_MASTER=master)
    assert done.returncode == 0, done.stderr
    assert [folder.name for folder in (tmp_path / "tables").iterdir()] == ["bronze"]
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        said = {entry.user_message for entry in instance.all_logs(json.loads(done.stdout)["run_id"])}
    assert "putting the customers into the segments" in said, "gold was made on Spark"
    # models are fitted by iterations, in which differences in the last digits of silver grow
    found, expected = tables(shop.home), tables(finished.home)
    for contract, rtol in (*((each, 1e-9) for each in (*BRONZE, *SILVER)), (CUSTOMER_SEGMENTS, 1e-6)):
        pair = (each[contract.qualified_name].drop(columns=MAP, errors="ignore") for each in (found, expected))
        pd.testing.assert_frame_equal(*pair, rtol=rtol, atol=1e-12)
    # the other engine says that the home is not its own
    refused = run(CLUSTERING_ENGINE="duckdb")
    assert refused.returncode == 1
    assert "CLUSTERING_ENGINE=spark" in refused.stderr
