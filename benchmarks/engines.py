"""Bronze and silver on DuckDB and on a Spark cluster of one worker and of two, on this machine, over the same lines.

``python -m benchmarks.engines MILLIONS...`` prints a row for each number of lines; ``--skew`` gives one customer a
tenth of them. The workers have a processor each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import duckdb

from benchmarks.measured import measured
from benchmarks.sources import copies

Figures = dict[str, float]
_MILLION = 1_000_000
_FILES = 8
_ENGINES = ("duckdb", "spark 1", "spark 2")


def on_duckdb(source: Path, work: Path) -> Figures:
    """Load and compute with DuckDB, in 2 GB."""
    from clustering_assets.silver import write_silver
    from clustering_assets.sources.ingestion import ingest
    from clustering_assets.warehouse import Warehouse, utc_now

    with Warehouse(work / "home").connect() as backend:
        started = time.perf_counter()
        ingest(backend, source, utc_now())
        between = time.perf_counter()
        write_silver(backend, None, "benchmark", utc_now())
    return {"bronze": between - started, "silver": time.perf_counter() - between}


def on_spark(source: Path, work: Path, workers: int) -> Figures:
    """Load and compute on a standalone cluster, which is started for it and does not count."""
    from clustering_assets.forgotten import Forgotten
    from clustering_assets.silver import write_silver
    from clustering_assets.sources.files import DEFAULT_LIMITS
    from clustering_assets.spark.bronze import bronze_folder, ingest
    from clustering_assets.spark.session import Cluster
    from clustering_assets.spark.silver import computed_silver
    from clustering_assets.warehouse import Warehouse, utc_now
    from clustering_assets_tests.spark_cluster import standalone

    events, settings = work / "events", work / "settings"
    for folder in (events, settings):
        folder.mkdir(parents=True)
    (settings / "spark-defaults.conf").write_text(
        f"spark.eventLog.enabled true\nspark.eventLog.dir file://{events}\nspark.eventLog.compress false\n"
        "spark.eventLog.rolling.enabled false\nspark.executor.memory 2g\n"
    )
    os.environ["SPARK_CONF_DIR"] = str(settings)
    warehouse = Warehouse(work / "home")
    with standalone(work, workers, memory="2g") as started_cluster:
        cluster = Cluster(started_cluster.url, work / "tables")
        started = time.perf_counter()
        ingest(cluster, warehouse, source, utc_now(), None, DEFAULT_LIMITS, Forgotten())
        between = time.perf_counter()
        with warehouse.connect() as backend:
            bronze = bronze_folder(backend)
        if bronze is None:
            raise RuntimeError("bronze was not written")
        with computed_silver(cluster, bronze, None) as computed, warehouse.connect() as backend:
            write_silver(backend, None, "benchmark", utc_now(), computed=computed)
        done = time.perf_counter()
    return {"bronze": between - started, "silver": done - between, "gigabytes shuffled": _shuffled(events)}


def _shuffled(events: Path) -> float:
    """Add up what tasks wrote for other tasks, by Spark's own log."""
    total = 0
    for log in events.iterdir():
        with log.open() as lines:
            for line in lines:
                if line.startswith('{"Event":"SparkListenerTaskEnd"'):
                    metrics = json.loads(line).get("Task Metrics") or {}
                    total += metrics.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0)
    return total / 1e9


def _in_files(lines: Path, folder: Path) -> Path:
    """Deal the orders of a folder out to files, since a file is read by one task."""
    folder.mkdir()
    with closing(duckdb.connect(config={"temp_directory": str(folder / "spill")})) as connection:
        for number in range(_FILES):
            connection.execute(
                f"""copy (from read_parquet('{lines}/*.parquet') where hash(SALES_ORDER_NO) % {_FILES} = {number})
                    to '{folder}/{number}.parquet'"""
            )
    shutil.rmtree(lines)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.add_argument("millions", nargs="+", type=float, help="millions of order lines")
    parser.add_argument("--skew", action="store_true", help="give one customer a tenth of the lines")
    parser.add_argument("--engines", nargs="+", choices=_ENGINES, default=_ENGINES, help="which of them")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        for millions in given.millions:
            shape = "one customer has a tenth of the lines" if given.skew else "even"
            source = _in_files(
                copies(Path(folder), int(millions * _MILLION), shape), Path(folder) / f"{millions} in files"
            )
            for engine in given.engines:
                work = Path(folder) / "work"
                found, peak = measured("benchmarks.engines", "--part", engine, str(source), str(work))
                shutil.rmtree(work)
                sys.stdout.write(json.dumps({"lines": millions, "engine": engine, **found, "driver": peak}) + "\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--part":
        engine, _, workers = sys.argv[2].partition(" ")
        source, work = Path(sys.argv[3]), Path(sys.argv[4])
        work.mkdir(parents=True)
        print(json.dumps(on_duckdb(source, work) if engine == "duckdb" else on_spark(source, work, int(workers))))
    else:
        raise SystemExit(main())
