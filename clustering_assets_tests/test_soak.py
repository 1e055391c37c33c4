"""A year of deliveries, one after the other through the sensor, ends where one run over all of them ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow.parquet as pq
import pytest

from clustering_assets.automation import everything, source_folder
from clustering_assets.checks import CHECKS
from clustering_assets.clean_up import delete_old_runs
from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    ORDER_LINES,
    REJECTED_ROWS,
    SCALED_FEATURES,
    SEGMENT_MODEL,
    WORKBOOKS,
    TableContract,
)
from clustering_assets.definitions import build_defs
from clustering_assets.reports.workbook import exports_of
from clustering_assets.resources import Home, Retention, SourceFolder
from clustering_assets.synthetic import generate
from clustering_assets.warehouse import Warehouse
from clustering_assets_tests.conftest import Shop

FAST = {"ops": {"gold": {"config": {"stability_resamples": 0, "n_clusters": 3, "map_perplexity": 5.0}}}}
KEPT = Retention(keep_exports=3, keep_models=4, keep_run_days=1)
OF_THE_MOMENT = ["ingested_at", "computed_at", "processed_at"]
RUNS_KEPT = 5


@dataclass
class Deployment:
    """A source folder that the sensor looks at, as the daemon does, and runs in an instance on disk."""

    shop: Shop
    instance: dg.DagsterInstance
    dagster_home: Path
    cursor: str | None = None
    began: list[datetime] = field(default_factory=list)
    measured: list[dict[str, float]] = field(default_factory=list)

    def look(self) -> None:
        """Tick until the sensor has nothing more to ask for; do what it asks for."""
        location = build_defs(
            home=Home(path=str(self.shop.home)), source=SourceFolder(path=str(self.shop.source)), retention=KEPT
        )
        for _ in range(4):
            context = dg.build_sensor_context(
                self.instance, self.cursor, resources={"source": SourceFolder(path=str(self.shop.source))}
            )
            found = source_folder.evaluate_tick(context)
            self.cursor = found.cursor
            for _ in found.run_requests or []:
                self.began.append(datetime.now(UTC))
                job = location.resolve_job_def(everything.name)
                result = job.execute_in_process(instance=self.instance, run_config=FAST, raise_on_error=False)
                assert result.success
        if len(self.began) > RUNS_KEPT:
            checks = chain.from_iterable(check.check_keys for check in CHECKS)
            delete_old_runs(self.instance, self.began[-RUNS_KEPT] - timedelta(milliseconds=1), checks)
        self.measured.append(
            {
                "home": size(self.shop.home),
                "warehouse": self.shop.warehouse.path.stat().st_size,
                "dagster": size(self.dagster_home),
                "memory": resident(),
            }
        )


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def resident() -> int:
    """Bytes that this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def rows(warehouse: Warehouse, contract: TableContract) -> pd.DataFrame:
    names = ", ".join(f'"{name}"' for name in contract.column_names if name not in OF_THE_MOMENT)
    with warehouse.connect() as backend:
        return backend.con.execute(f"select {names} from {contract.qualified_name} order by all").df()


def deliver(folder: Path, files: int, at_once: int, customers: int, lines: int, after: Callable[[], None]) -> int:
    """Write the order lines of a shop as files, in the order of the orders; return how many lines they have."""
    table = generate(customers, lines, seed=5).lines.sort_by("order_date")
    bounds = [round(table.num_rows * number / files) for number in range(files + 1)]
    for first in range(0, files, at_once):
        for number in range(files)[first : first + at_once]:
            part = table.slice(bounds[number], bounds[number + 1] - bounds[number])
            pq.write_table(part, folder / f"delivery_{number:03}.parquet")
        after()
    return int(table.num_rows)


def soak(folder: Path, files: int, at_once: int, customers: int, lines: int) -> Deployment:
    """Deliver, and compare with one run over everything."""
    shop = Shop(folder / "source", folder / "home")
    shop.source.mkdir()
    (folder / "dagster").mkdir()
    with dg.instance_for_test(temp_dir=str(folder / "dagster")) as instance:
        deployment = Deployment(shop, instance, folder / "dagster")
        delivered = deliver(shop.source, files, at_once, customers, lines, deployment.look)
    at_once_shop = Shop(shop.source, folder / "at_once")
    assert at_once_shop.run(**FAST).success

    bronze, again = rows(shop.warehouse, ORDER_LINES), rows(at_once_shop.warehouse, ORDER_LINES)
    pd.testing.assert_frame_equal(bronze, again)
    assert len(bronze) + len(rows(shop.warehouse, REJECTED_ROWS)) == delivered, "no row is lost"
    for contract in (CUSTOMER_FEATURES, SCALED_FEATURES):
        # sums of floats are taken in the order in which rows lie in the table
        pd.testing.assert_frame_equal(
            rows(shop.warehouse, contract), rows(at_once_shop.warehouse, contract), rtol=1e-9, atol=1e-9
        )
    assert len(deployment.began) == -(-files // at_once), "a run for each delivery, and none for nothing"
    for stem, _ in WORKBOOKS.values():
        assert len(exports_of(shop.home / "exports", stem)) == min(KEPT.keep_exports, len(deployment.began))
    models = {path.stem for path in (shop.home / "models").glob("*.skops")}
    assert models == {*rows(shop.warehouse, SEGMENT_MODEL)["model_run_id"]}
    assert len(models) == min(KEPT.keep_models, len(deployment.began))
    return deployment


def test_eight_files_in_two_deliveries_end_where_one_run_ends(tmp_path: Path) -> None:
    deployment = soak(tmp_path, files=8, at_once=4, customers=60, lines=1_500)
    assert len(deployment.measured) == 2


@pytest.mark.long
def test_two_hundred_files_over_a_year_lose_nothing_and_fill_no_disk(
    tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    deployment = soak(tmp_path, files=200, at_once=5, customers=80, lines=4_000)
    figures = pd.DataFrame(deployment.measured)
    record_property("figures", figures.to_dict("list"))
    print(figures.iloc[[0, 9, 19, 29, 39]].div(1 << 20).round(1).to_string())
    half, end = figures.iloc[len(figures) // 2], figures.iloc[-1]
    assert end["memory"] < 1.2 * half["memory"], "memory does not grow with the runs"
    assert end["dagster"] < 1.5 * half["dagster"], "what Dagster records of old runs goes"
    assert end["home"] - end["warehouse"] < 1.5 * (half["home"] - half["warehouse"]), "exports and models are bounded"
