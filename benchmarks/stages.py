"""What is timed. Each stage runs in a process of its own, so that its peak memory is its own.

``python -m benchmarks.stages STAGE SOURCE_FOLDER WORK_FOLDER`` prints a JSON object: seconds by part.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

Seconds = dict[str, float]


def bare_import(source: Path, work: Path) -> Seconds:
    """The yardstick: the least that anybody does who wants to work with the data."""
    import duckdb

    [file] = source.glob("*.csv")
    with duckdb.connect(str(work / "bare.duckdb")) as connection:
        started = time.perf_counter()
        connection.execute("create table t as select * from read_csv($1)", [str(file)])
        connection.execute("checkpoint")
        return {"bare import": time.perf_counter() - started}


def bronze_and_silver(source: Path, work: Path) -> Seconds:
    """From the source folder to the silver tables, as the assets do it, without Dagster."""
    from clustering_assets.silver import write_silver
    from clustering_assets.sources.ingestion import ingest
    from clustering_assets.warehouse import Warehouse, utc_now

    with Warehouse(work / "home").connect() as backend:
        started = time.perf_counter()
        ingest(backend, source, utc_now())
        read = time.perf_counter()
        write_silver(backend, None, "benchmark", utc_now())
        done = time.perf_counter()
    return {"bronze": read - started, "silver": done - read, "bronze and silver": time.perf_counter() - started}


def rerun(source: Path, work: Path) -> Seconds:
    """Bronze again, with nothing changed; the home of the stage before is used."""
    from clustering_assets.sources.ingestion import ingest
    from clustering_assets.warehouse import Warehouse, utc_now

    with Warehouse(work / "home").connect() as backend:
        started = time.perf_counter()
        if ingest(backend, source, utc_now()):
            raise RuntimeError("the source folder changed during the benchmark")
        return {"rerun": time.perf_counter() - started}


STAGES: dict[str, Callable[[Path, Path], Seconds]] = {
    "bare_import": bare_import,
    "bronze_and_silver": bronze_and_silver,
    "rerun": rerun,
}
CONTINUES = {"rerun"}
"""Stages that go on with what the stage before left."""

if __name__ == "__main__":
    stage, source, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if stage not in CONTINUES:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    print(json.dumps(STAGES[stage](source, work)))
