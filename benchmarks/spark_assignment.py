"""Millions of customers put into their segments by Spark: ``python -m benchmarks.spark_assignment CUSTOMERS FOLDER``.

The driver is a process of its own with the Java machine that it starts, and what it sends out is done in others, as on
a cluster: by a standalone master and a worker. Printed is a JSON object: the seconds of the sample, of the fit and of
the assignment, customers per second and core, and the peak memory of the driver's Python and of its Java machine.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
from pyspark.sql import SparkSession

from benchmarks.planted import behaviour
from benchmarks.shops import FEATURES
from clustering_assets.segmentation.hybrid import HybridSegmenter
from clustering_assets.segmentation.map import CustomerMap, landmark_rows
from clustering_assets.spark.assignment import Fitted, assigned, stratified_sample

CORES = 2
DRIVER_MEMORY = "3g"
"""Heap of the driver's Java machine; with its Python, the driver is to stay within 4 GB."""
EXECUTOR_MEMORY = 2_048
FILE_ROWS = 250_000
MODELLED = 50_000
"""Customers that are made up anew; the others repeat them, each a little different."""


def write_customers(customers: int, folder: Path, seed: int = 0) -> None:
    """Write made-up customers as Parquet files, in chunks that fit into memory."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows, _ = behaviour(seed, customers=min(customers, MODELLED))
    random = np.random.default_rng(seed)
    for start in range(0, customers, FILE_ROWS):
        n = min(FILE_ROWS, customers - start)
        values = rows[random.integers(len(rows), size=n)]
        values = values * (1 + 0.02 * random.standard_normal(values.shape))
        columns = {name: values[:, position] for position, name in enumerate(FEATURES)}
        ids = [f"c{number:09}" for number in range(start, start + n)]
        pq.write_table(pa.table({"customer_id": ids, **columns}), folder / f"{start:09}.parquet")


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Start a master and a worker on the loopback; give the address of the master."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = f"spark://127.0.0.1:{port}"
    deploy, own = "org.apache.spark.deploy", ["--host", "127.0.0.1", "--webui-port", "0"]
    size = ["--cores", str(CORES), "--memory", f"{EXECUTOR_MEMORY}m", "--work-dir", str(folder / "work")]
    commands = [
        [f"{deploy}.master.Master", *own, "--port", port],
        [f"{deploy}.worker.Worker", *own, *size, address],
    ]
    start = Path(pyspark.__file__).parent / "bin" / "spark-class"
    with ExitStack() as started, (folder / "cluster.log").open("w") as log:
        for command in commands:
            process = subprocess.Popen([start, *command], stdout=log, stderr=log)
            started.callback(process.wait)
            started.callback(process.terminate)
        yield address


def measure(master: str, customers: int, folder: Path, *, with_map: bool) -> dict[str, Any]:
    session = (
        SparkSession.builder.master(master)
        .config("spark.driver.memory", DRIVER_MEMORY)
        .config("spark.executor.memory", f"{EXECUTOR_MEMORY}m")
        .config("spark.executorEnv.PYTHONPATH", str(Path(__file__).parents[1]))
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.local.dir", str(folder / "scratch"))
        .getOrCreate()
    )
    try:
        rows = session.read.parquet(str(folder / "customers"))
        times = [time.perf_counter()]
        sample = stratified_sample(rows, 50_000, 0)
        times.append(time.perf_counter())
        features = sample[FEATURES]
        segmenter = HybridSegmenter(random_state=0, n_clusters=6).fit(features, is_sample=len(sample) < customers)
        placing, ids = None, ()
        if with_map:
            landmarks = landmark_rows(len(sample), 10_000, 0)
            placing = CustomerMap.fit(np.asarray(segmenter.transform(features))[landmarks], are_all=False)
            ids = tuple(sample["customer_id"].iloc[landmarks])
        times.append(time.perf_counter())
        fitted = Fitted(segmenter, {}, placing, ids)
        assigned(rows, fitted).write.mode("overwrite").parquet(str(folder / "assigned"))
        times.append(time.perf_counter())
        written = session.read.parquet(str(folder / "assigned"))
        counted = written.count()
        outliers = written.where("label = -1").count()
        # the script that starts it becomes it
        java = session.sparkContext._gateway.proc.pid  # type: ignore[union-attr]
        peak = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{java}/status").read_text())[0])
    finally:
        session.stop()
    sampled, fit, assigning = np.diff(times).tolist()
    return {
        "customers": counted,
        "outlier share": outliers / counted,
        "with the map": with_map,
        "seconds of the sample": sampled,
        "seconds of the fit": fit,
        "seconds of the assignment": assigning,
        "customers per second and core": counted / assigning / CORES,
        "GB of the driver's Python": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "GB of the driver's Java": peak * 1024 / 1e9,
    }


if __name__ == "__main__":
    many, place = int(sys.argv[1]), Path(sys.argv[2]).resolve()
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m"}
    write_customers(many, place / "customers")
    with cluster(place) as at:
        print(json.dumps(measure(at, many, place, with_map="--map" in sys.argv[3:])))
