"""How long it takes until something happens: loading the definitions, a run through Dagster, and the same run bare.

``python -m benchmarks.starting NAME SOURCE_FOLDER WORK_FOLDER`` prints a JSON object: seconds by part. Each function
measures processes of its own, from their start to their end, so that what they import counts.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Seconds = dict[str, float]

REPEATS = 1
"""Times that each is measured; the median counts."""

_WITHOUT_DAGSTER = "bare"
_WITH_DAGSTER = "through Dagster"


def _timed(arguments: Sequence[str], source: Path, work: Path, home: Path) -> float:
    work.mkdir(parents=True, exist_ok=True)
    folder = home.with_name(f"{home.name}_dagster")
    if not folder.exists():
        folder.mkdir(parents=True)
        shutil.copy(Path(__file__).parent.parent / "dagster.yaml", folder)
    places = {"CLUSTERING_HOME": home, "CLUSTERING_SOURCE_DIR": source, "DAGSTER_HOME": folder}
    environment = {**os.environ, **{name: str(place) for name, place in places.items()}}
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def imported(source: Path, work: Path) -> Seconds:
    """Load the definitions, as every process of Dagster does; an empty interpreter's start is left in."""
    times = [
        _timed(["-c", "import clustering_assets.definitions"], source, work, work / "home") for _ in range(REPEATS)
    ]
    return {"import": statistics.median(times)}


def reloaded(source: Path, work: Path) -> Seconds:
    """Start the server of the code location, as a reload in the UI does, until it answers with its assets."""
    arguments = ["api", "grpc", "--python-file", str(Path(__file__).parent.parent / "clustering_assets/definitions.py")]
    times = []
    for number in range(REPEATS):
        port = 47_310 + number
        environment = {**os.environ, "CLUSTERING_HOME": str(work / "home"), "CLUSTERING_SOURCE_DIR": str(source)}
        started = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, "-m", "dagster", *arguments, "--port", str(port)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for_assets(port, server)
            times.append(time.perf_counter() - started)
        finally:
            server.terminate()
            server.wait()
    return {"reload": statistics.median(times)}


def _wait_for_assets(port: int, server: subprocess.Popen[bytes]) -> None:
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    client = DagsterGrpcClient(port=port, host="localhost")
    while True:
        try:
            client.list_repositories()
            return
        except DagsterUserCodeUnreachableError:
            if server.poll() is not None:
                raise RuntimeError("the server of the code location ended") from None
            time.sleep(0.05)


_RUNS: dict[str, list[str]] = {
    _WITH_DAGSTER: ["-m", "clustering_assets.run"],
    _WITHOUT_DAGSTER: ["-m", "benchmarks.starting", "in_this_process"],
}


def first_run(source: Path, work: Path) -> Seconds:
    """From nothing to the exports, through Dagster and bare by turns, each into a home of its own."""
    return _by_turns("first run", source, work, again=False)


def rerun(source: Path, work: Path) -> Seconds:
    """The same once more, with nothing changed."""
    return _by_turns("rerun", source, work, again=True)


def _by_turns(name: str, source: Path, work: Path, *, again: bool) -> Seconds:
    times: dict[str, list[float]] = {way: [] for way in _RUNS}
    for number in range(REPEATS):
        for way, arguments in _RUNS.items():
            home = work / f"{way.replace(' ', '_')}_{0 if again else number}"
            more = [str(source), str(home)] if way == _WITHOUT_DAGSTER else []
            if again and number == 0:
                _timed([*arguments, *more], source, work, home)
            times[way].append(_timed([*arguments, *more], source, work, home))
    medians = {way: statistics.median(each) for way, each in times.items()}
    extra = medians[_WITH_DAGSTER] - medians[_WITHOUT_DAGSTER]
    return {**{f"{name} {way}": found for way, found in medians.items()}, f"{name} more": extra}


def in_this_process(source: Path, home: Path) -> Seconds:
    """Call what the assets and their checks call, without Dagster and without the metadata that only it shows."""
    from clustering_assets.conformance import violations
    from clustering_assets.contracts import (
        ALL_TABLES,
        CUSTOMER_FEATURES,
        IMPUTED_FEATURES,
        WORKBOOKS,
    )
    from clustering_assets.integrity import IDENTITIES
    from clustering_assets.run_config import GoldConfig
    from clustering_assets.silver import write_silver
    from clustering_assets.sources.ingestion import bronze_version, ingest
    from clustering_assets.versions import fingerprint
    from clustering_assets.warehouse import Warehouse, has_table, table, table_version, utc_now

    started = time.perf_counter()
    warehouse = Warehouse(home)
    with warehouse.connect() as backend:
        ingest(backend, source, utc_now())
        version = fingerprint(bronze_version(backend))
        if changed := version != table_version(backend, CUSTOMER_FEATURES.qualified_name):
            write_silver(backend, None, version, utc_now())
    if changed:
        from clustering_assets.gold import segment, write_gold

        with warehouse.connect() as backend:
            customers = table(backend, CUSTOMER_FEATURES).order_by("customer_id").to_pandas()
            imputed = table(backend, IMPUTED_FEATURES).to_pandas().set_index("customer_id")["imputed"]
        found = segment(
            customers,
            imputed,
            **GoldConfig().arguments(),
            earlier=None,
            input_version=version,
            model_run_id=version,
            now=utc_now(),
        )
        with warehouse.connect() as backend:
            write_gold(backend, home, found, None, version)
        _export(warehouse)
    with warehouse.connect() as backend:
        faults = [
            *(fault for known in ALL_TABLES if has_table(backend, known) for fault in violations(backend, known)),
            *(fault for identity in IDENTITIES for fault in identity.faults(backend)),
        ]
    from clustering_assets.reports.workbook import count_rows, exports_of

    for stem, _ in WORKBOOKS.values():
        count_rows(exports_of(home / "exports", stem)[-1])
    if faults:
        raise RuntimeError(f"the tables break their contracts: {faults[:3]}")
    return {"in this process": time.perf_counter() - started}


def _export(warehouse: Any) -> None:
    from clustering_assets.contracts import WORKBOOKS
    from clustering_assets.reports.findings import read_findings
    from clustering_assets.reports.segment_report import STEM, write_report
    from clustering_assets.reports.segment_workbook import read_content, write_segment_workbook
    from clustering_assets.reports.wording import Wording
    from clustering_assets.reports.workbook import next_export, write_workbook
    from clustering_assets.warehouse import table, utc_now

    folder, now, wording = warehouse.home / "exports", utc_now(), Wording("en", "EUR")
    folder.mkdir(exist_ok=True)
    with warehouse.connect() as backend:
        rows = {
            stem: table(backend, contract).order_by(list(contract.key)).to_pyarrow()
            for stem, contract in WORKBOOKS.values()
        }
        findings = read_findings(backend)
        content = read_content(backend, findings)
    for stem, contract in WORKBOOKS.values():
        write_workbook(next_export(folder, stem, now), contract, rows[stem])
    write_report(next_export(folder, STEM, now, ".html"), findings=findings, wording=wording, now=now)
    write_segment_workbook(next_export(folder, STEM, now), content=content, wording=wording, now=now)


MEASURED: dict[str, Callable[[Path, Path], Seconds]] = {
    "import": imported,
    "reload": reloaded,
    "rerun": rerun,
    "first_run": first_run,
    "in_this_process": in_this_process,
}

if __name__ == "__main__":
    name, source, work = sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve()
    if name != "in_this_process":
        shutil.rmtree(work, ignore_errors=True)
    print(json.dumps(MEASURED[name](source, work)))
