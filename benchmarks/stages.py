"""What is timed of the tables. Each stage runs in a process of its own, so that its peak memory is its own.

``python -m benchmarks.stages STAGE SOURCE_FOLDER WORK_FOLDER`` prints a JSON object: seconds by part, and bytes that
were spilled.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

Figures = dict[str, float]


def bare_import(source: Path, work: Path) -> Figures:
    """The yardstick: the least that anybody does who wants to work with the data."""
    import duckdb

    [file] = source.glob("*.csv")
    with duckdb.connect(str(work / "bare.duckdb")) as connection:
        started = time.perf_counter()
        connection.execute("create table t as select * from read_csv($1)", [str(file)])
        connection.execute("checkpoint")
        return {"bare import": time.perf_counter() - started}


def bronze_and_silver(source: Path, work: Path) -> Figures:
    """From the source folder to the silver tables, as the assets do it, without Dagster."""
    with _warehouse(work) as backend, _spilled(work) as spilled:
        bronze = _ingest(backend, source)
        silver = _silver(backend)
    return {"bronze": bronze, "silver": silver, "bronze and silver": bronze + silver, **spilled}


def rerun(source: Path, work: Path) -> Figures:
    """Bronze again, with nothing changed; the home of the stage before is used."""
    from clustering_assets.sources.ingestion import ingest
    from clustering_assets.warehouse import utc_now

    with _warehouse(work) as backend:
        started = time.perf_counter()
        if ingest(backend, source, utc_now()):
            raise RuntimeError("the source folder changed during the benchmark")
        return {"rerun": time.perf_counter() - started}


def one_more_file(source: Path, work: Path) -> Figures:
    """Load most of the lines, then a file with the rest; how many values then differ from those of loading it at once.

    ``SOURCE_FOLDER`` has the folders ``most`` and ``rest``.
    """
    folder = work / "source"
    folder.mkdir()
    os.link(source / "most" / "most.csv", folder / "most.csv")
    with _warehouse(work) as backend:
        first = _ingest(backend, folder)
        os.link(source / "rest" / "rest.csv", folder / "rest.csv")
        second = _ingest(backend, folder)
        _silver(backend)
    with _warehouse(work / "at once") as backend:
        _ingest(backend, folder)
        _silver(backend)
        backend.con.execute(f"attach '{work / 'home' / 'warehouse.duckdb'}' as stepwise (read_only)")
        return {"first load": first, "one more file": second, "rows that differ": _differences(backend)}


MOMENTS = {"ingested_at", "computed_at", "loaded_at", "stamp"}
"""Columns that no two loads have in common."""


def _differences(backend: Backend) -> float:
    from clustering_assets.contracts import ALL_TABLES, Column
    from clustering_assets.warehouse import has_table

    def same(column: Column) -> str:
        here, there = f'here."{column.name}"', f'there."{column.name}"'
        if column.type != "float64":
            return f"{here} is not distinct from {there}"
        # sums differ in their last digits by the order of the rows
        return f"coalesce(abs({here} - {there}) <= 1e-9 * greatest(1, abs({here})), {here} is null and {there} is null)"

    count = 0
    for contract in ALL_TABLES:
        if contract.layer in ("bronze", "silver") and has_table(backend, contract):
            compared = [column for column in contract.columns if column.name not in MOMENTS]
            query = f"""
                select count(*) from {contract.qualified_name} as here
                full join stepwise.{contract.qualified_name} as there using ({", ".join(contract.key)})
                where not ({" and ".join(map(same, compared))})"""
            count += int(backend.con.execute(query).fetchall()[0][0])
    return float(count)


@contextmanager
def _warehouse(work: Path) -> Iterator[Backend]:
    from clustering_assets.warehouse import Warehouse

    with Warehouse(work / "home").connect() as backend:
        yield backend


def _ingest(backend: Backend, source: Path) -> float:
    from clustering_assets.sources.ingestion import ingest
    from clustering_assets.warehouse import utc_now

    started = time.perf_counter()
    ingest(backend, source, utc_now())
    return time.perf_counter() - started


def _silver(backend: Backend) -> float:
    from clustering_assets.silver import write_silver
    from clustering_assets.warehouse import utc_now

    started = time.perf_counter()
    write_silver(backend, None, "benchmark", utc_now())
    return time.perf_counter() - started


@contextmanager
def _spilled(work: Path) -> Iterator[Figures]:
    """Look every half second how much DuckDB has spilled; the most is there afterwards."""
    found, done = {"gigabytes spilled": 0.0}, threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            spilled = 0
            for file in (work / "home" / "spill").glob("*"):
                with suppress(FileNotFoundError):  # DuckDB has removed it meanwhile
                    spilled += file.stat().st_blocks * 512
            found["gigabytes spilled"] = max(found["gigabytes spilled"], spilled / 1e9)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


STAGES: dict[str, Callable[[Path, Path], Figures]] = {
    "bare_import": bare_import,
    "bronze_and_silver": bronze_and_silver,
    "rerun": rerun,
    "one_more_file": one_more_file,
}
CONTINUES = {"rerun"}
"""Stages that go on with what the stage before left."""

if __name__ == "__main__":
    stage, source, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if stage not in CONTINUES:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    print(json.dumps(STAGES[stage](source, work)))
