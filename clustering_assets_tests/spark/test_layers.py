"""Bronze and silver on Spark come to what DuckDB comes to, on a real cluster that loses a worker too."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest

from clustering_assets.acceptance import ContractBroken
from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    DROPPED_CUSTOMERS,
    FILE_STATE,
    IMPUTATION_LOG,
    IMPUTED_FEATURES,
    SOURCE_FILES,
)
from clustering_assets.forgotten import Forgotten
from clustering_assets.silver import write_silver
from clustering_assets.sources.files import DEFAULT_LIMITS
from clustering_assets.sources.ingestion import ROWS, NoUsableRows, ingest
from clustering_assets.spark import bronze as spark_bronze
from clustering_assets.spark.session import Cluster
from clustering_assets.spark.silver import computed_silver
from clustering_assets.synthetic import generate, write
from clustering_assets.warehouse import Warehouse, WarehouseUnavailable
from clustering_assets_tests.conftest import make_shop
from clustering_assets_tests.processes import kill_group, until
from clustering_assets_tests.sources import bad_folder
from clustering_assets_tests.spark_cluster import StandaloneCluster, require_spark, standalone

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC).replace(tzinfo=None)
BRONZE = (*ROWS, SOURCE_FILES, FILE_STATE)
SILVER = (CUSTOMER_FEATURES, IMPUTATION_LOG, DROPPED_CUSTOMERS, IMPUTED_FEATURES)
REAL = Path(__file__).parents[3] / "shared" / "data"
NOBODY = Forgotten()


@dataclass(frozen=True)
class Both:
    """The same sources in a home of DuckDB and in one of Spark."""

    source: Path
    folder: Path
    master: str

    @property
    def duckdb(self) -> Warehouse:
        return Warehouse(self.folder / "duckdb")

    @property
    def spark(self) -> Warehouse:
        return Warehouse(self.folder / "home")

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.master, self.folder / "tables", "1g")

    def load_duckdb(self, forgotten: Forgotten = NOBODY) -> bool:
        with self.duckdb.connect() as backend:
            return ingest(backend, self.source, NOW, forgotten=forgotten)

    def load_spark(self, forgotten: Forgotten = NOBODY) -> bool:
        return spark_bronze.ingest(self.cluster, self.spark, self.source, NOW, None, DEFAULT_LIMITS, forgotten)

    def silver(self, as_of: date | None = None) -> None:
        with self.duckdb.connect() as backend:
            write_silver(backend, as_of, "version", NOW)
        with self.spark.connect() as backend:
            folder = spark_bronze.bronze_folder(backend)
        assert folder is not None
        with computed_silver(self.cluster, folder, as_of) as computed, self.spark.connect() as backend:
            write_silver(backend, as_of, "version", NOW, computed=computed)

    def assert_same(self, *contracts: object) -> None:
        for contract in contracts or (*BRONZE, *SILVER):
            query = f"from {contract.qualified_name} order by all"  # type: ignore[attr-defined]
            frames = []
            for warehouse in (self.duckdb, self.spark):
                with warehouse.read() as backend:
                    frames.append(backend.con.execute(query).df())
            pd.testing.assert_frame_equal(*frames, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneCluster]:
    """A standalone master with two workers on the loopback."""
    require_spark()
    with standalone(tmp_path_factory.mktemp("cluster")) as started:
        yield started


def test_a_shop_that_grows_comes_to_the_same_tables_though_a_worker_is_killed(
    cluster: StandaloneCluster, tmp_path: Path
) -> None:
    shop = make_shop(tmp_path, customers=60, lines=1_500)
    both = Both(shop.source, tmp_path, cluster.url)
    assert both.load_duckdb()
    assert both.load_spark()
    both.assert_same(*BRONZE)

    # customers and orders of the first file come again, and others
    write(generate(80, 1_000, seed=12), tmp_path / "later", "returns_export", "csv", dirty_share=0.01)
    for file in (tmp_path / "later").iterdir():
        shutil.move(file, shop.source / f"later_{file.name}")
    killed = threading.Thread(target=_kill_a_worker_in_the_middle, args=(cluster, both))
    killed.start()
    assert both.load_duckdb()
    assert both.load_spark()
    killed.join()
    assert len(cluster.workers) == 1, "no worker was killed"
    both.assert_same(*BRONZE)
    assert not both.load_spark()
    assert len(list((tmp_path / "tables" / "bronze").iterdir())) == 1


def _kill_a_worker_in_the_middle(cluster: StandaloneCluster, both: Both) -> None:
    """Kill it once the first file of the second load is read, and before the rows are settled."""
    before = set((both.folder / "tables" / "bronze").iterdir())

    def is_read() -> bool:
        new = set((both.folder / "tables" / "bronze").iterdir()) - before
        return any(list((folder / "incoming").glob("*.parquet")) for folder in new)

    until(is_read, "the first file of the second load", pause=0.02)
    cluster.kill_worker()


@pytest.fixture
def both(tmp_path: Path) -> Both:
    require_spark()
    source = tmp_path / "source"
    source.mkdir()
    return Both(source, tmp_path, "local[2]")


def test_bad_files_leave_good_ones_alone_and_whoever_is_forgotten_is_kept_out(both: Both) -> None:
    bad_folder.write(both.source)
    assert both.load_duckdb()
    assert both.load_spark()
    both.assert_same(*BRONZE)
    with both.duckdb.read() as backend:
        [(somebody,)] = backend.con.execute("select min(customer_id) from bronze.order_lines").fetchall()
    forgotten = NOBODY.and_also([somebody], NOW)
    assert both.load_duckdb(forgotten)
    assert both.load_spark(forgotten)
    both.assert_same(*BRONZE)
    with both.spark.read() as backend:
        assert (
            backend.con.execute("select 1 from bronze.order_lines where customer_id = $1", [somebody]).fetchall() == []
        )


def test_a_load_that_cannot_be_accepted_leaves_the_last_good_tables(both: Both) -> None:
    make_shop(both.folder, customers=20, lines=400)
    assert both.load_spark()
    with both.spark.read() as backend:
        before = backend.con.execute("from bronze.order_lines order by all").fetchall()
    kept = sorted(both.source.iterdir())
    header = "order_id,customer_id,sku\n"
    for file in kept:
        shutil.move(file, both.folder)
    (both.source / "little.csv").write_text(header + "o,c,s\n")
    with pytest.raises(ContractBroken, match="rows are left of"):
        spark_bronze.ingest(
            both.cluster, both.spark, both.source, NOW, None, DEFAULT_LIMITS, NOBODY, least_rows_kept=0.5
        )
    (both.source / "little.csv").write_text(header)
    with pytest.raises(NoUsableRows):
        both.load_spark()
    for file in kept:
        shutil.move(both.folder / file.name, file)
    (both.source / "little.csv").write_text(f"{header}o,c,s\n")
    driver = get_context("spawn").Process(target=_lose_the_driver, args=(both,))
    driver.start()
    driver.join()
    assert driver.pid
    kill_group(driver.pid)
    assert driver.exitcode == -signal.SIGKILL
    assert len(list((both.folder / "tables" / "bronze").iterdir())) == 2
    with both.spark.read() as backend:
        assert backend.con.execute("from bronze.order_lines order by all").fetchall() == before
    assert both.load_spark()
    assert len(list((both.folder / "tables" / "bronze").iterdir())) == 1


def _lose_the_driver(both: Both) -> None:
    """Load, and be killed in the transaction that changes the views."""
    os.setsid()
    spark_bronze.record_files = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    both.load_spark()


def test_an_engine_does_not_go_on_with_the_tables_of_another(both: Both) -> None:
    make_shop(both.folder, customers=20, lines=400)
    with both.spark.connect() as backend:
        ingest(backend, both.source, NOW)
    with pytest.raises(WarehouseUnavailable, match="CLUSTERING_ENGINE=duckdb"):
        both.load_spark()


@pytest.mark.long
@pytest.mark.skipif(not (REAL / "online_retail_ii").exists(), reason="the data of UCI Online Retail II is not there")
def test_uci_online_retail_comes_to_the_same_tables(both: Both) -> None:
    both = replace(both, source=REAL / "online_retail_ii")
    assert both.load_duckdb()
    assert both.load_spark()
    both.silver()
    both.assert_same()
