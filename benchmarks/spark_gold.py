"""Gold of millions of customers on Spark: ``python -m benchmarks.spark_gold CUSTOMERS`` prints a JSON object.

The driver is this process and the Java machine that it starts. The work on each customer is done by two workers of a
standalone cluster on this machine, with a processor each. What is printed are the seconds from one message of the log
to the next, the customers per second and processor that are put into segments, and the peak memory of the driver.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measured import peak_memory
from benchmarks.planted import behaviour
from benchmarks.shops import FEATURES
from clustering_assets import gold
from clustering_assets.contracts import CUSTOMER_SEGMENTS
from clustering_assets.run_config import GoldConfig
from clustering_assets.spark import gold as spark_gold
from clustering_assets.spark.session import Cluster, connected
from clustering_assets.warehouse import utc_now
from clustering_assets_tests.spark_cluster import standalone

WORKERS = 2
DRIVER_MEMORY = "1g"
FILE_ROWS = 250_000
MODELLED = 50_000
"""Customers that are made up anew; the others repeat them, each a little different."""


def write_customers(customers: int, folder: Path, seed: int = 0) -> None:
    """Write made-up customers as `spark.gold.write_customers` writes those of silver, a chunk at a time."""
    folder.mkdir()
    rows, _ = behaviour(seed, customers=min(customers, MODELLED))
    random = np.random.default_rng(seed)
    for start in range(0, customers, FILE_ROWS):
        n = min(FILE_ROWS, customers - start)
        values = rows[random.integers(len(rows), size=n)]
        values = values * (1 + 0.02 * random.standard_normal(values.shape))
        columns = {name: values[:, position] for position, name in enumerate(FEATURES)}
        ids = [f"c{number:09}" for number in range(start, start + n)]
        nothing = pa.array([""] * n)
        table = pa.table({"customer_id": ids, "quality_flags": nothing, **columns, "imputed": nothing})
        pq.write_table(table, folder / f"{start:09}.parquet")


class _Steps(logging.Handler):
    """Takes the time of each message."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.seen: list[tuple[str, float]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append((record.getMessage(), time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Seconds from each message to the one after it."""
        after = zip(self.seen, self.seen[1:], strict=False)
        return {message: then - moment for (message, moment), (_, then) in after}


def measure(customers: int, folder: Path) -> dict[str, object]:
    write_customers(customers, folder / "customers")
    steps, begun = _Steps(), time.perf_counter()
    for module in (gold, spark_gold):
        log = logging.getLogger(module.__name__)
        log.setLevel(logging.INFO)
        log.addHandler(steps)
    asked = gold.Request(**GoldConfig().arguments(), input_version="", model_run_id="benchmark", now=utc_now())
    with (
        standalone(folder, WORKERS) as cluster,
        connected(Cluster(cluster.url, folder / "tables", DRIVER_MEMORY)) as session,
    ):
        found = spark_gold.segment_many(session, folder / "customers", folder, asked, None)
        steps.seen.append(("", time.perf_counter()))
        java = peak_memory(session.sparkContext._gateway.proc.pid)  # type: ignore[union-attr]
    seconds = steps.seconds()
    return {
        "customers": customers,
        "seconds": {"sample": steps.seen[0][1] - begun, **seconds, "all": steps.seen[-1][1] - begun},
        "customers per second and processor": customers / seconds["putting the customers into the segments"] / WORKERS,
        "GB of the driver": {"Python": (python := peak_memory()), "Java": java, "both": python + java},
        "segments": len(found.facts.segment_ids),
        "tables in files": isinstance(found.tables[CUSTOMER_SEGMENTS], str),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="spark-gold-") as place:
        print(json.dumps(measure(int(sys.argv[1]), Path(place)), indent=1))
