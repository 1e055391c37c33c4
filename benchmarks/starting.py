"""How long it takes until something happens: loading the definitions, a run through Dagster, and the same run bare.

``python -m benchmarks.starting NAME SOURCE_FOLDER WORK_FOLDER`` prints a JSON object: seconds by part. Each function
measures processes of its own, from their start to their end, so that what they import counts.

The bare run, `benchmarks.bare`, calls the same functions in one process that never loads Dagster. What a run through
Dagster takes more is Dagster's: it and the definitions are loaded, steps, verdicts and versions recorded, tables
described for the UI. Beside the time, processor time is measured: that says the same on a machine that has other work.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

Seconds = dict[str, float]

REPEATS = 1
"""Times that each is measured; the median counts."""

_WITHOUT_DAGSTER = "bare"
_WITH_DAGSTER = "through Dagster"
_PROCESSOR = ", processor time"


class _Cost(NamedTuple):
    """What a process took, its children included: seconds, and seconds of a processor."""

    seconds: float
    processor: float


def _cost(arguments: Sequence[str], source: Path, work: Path, home: Path) -> _Cost:
    work.mkdir(parents=True, exist_ok=True)
    folder = home.with_name(f"{home.name}_dagster")
    if not folder.exists():
        folder.mkdir(parents=True)
        shutil.copy(Path(__file__).parent.parent / "dagster.yaml", folder)
    places = {"CLUSTERING_HOME": home, "CLUSTERING_SOURCE_DIR": source, "DAGSTER_HOME": folder}
    environment = {**os.environ, **{name: str(place) for name, place in places.items()}}
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return _Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime)


def imported(source: Path, work: Path) -> Seconds:
    """Load the definitions, as every process of Dagster does; an empty interpreter's start is left in."""
    costs = [_cost(["-c", "import clustering_assets.definitions"], source, work, work / "home") for _ in range(REPEATS)]
    return _medians("import", costs)


def reloaded(source: Path, work: Path) -> Seconds:
    """Start the server of the code location, as a reload in the UI does, until it answers with its assets."""
    arguments = ["api", "grpc", "--python-file", str(Path(__file__).parent.parent / "clustering_assets/definitions.py")]
    times = []
    for number in range(REPEATS):
        port = 27_310 + number  # not of those that systems give to clients: one would connect to itself
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
            server.kill()  # one that was started in the background would not heed a gentler signal
            server.wait()
    return {"reload": statistics.median(times)}


def _wait_for_assets(port: int, server: subprocess.Popen[bytes]) -> None:
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    while True:
        try:
            # a new one each time: one that was refused waits longer and longer
            DagsterGrpcClient(port=port, host="127.0.0.1").list_repositories()
            return
        except DagsterUserCodeUnreachableError:
            if server.poll() is not None:
                raise RuntimeError("the server of the code location ended") from None
            time.sleep(0.05)


def runs(source: Path, work: Path) -> Seconds:
    """From nothing to the exports, and once more with nothing changed; through Dagster and bare by turns."""
    from clustering_assets.run_config import GoldConfig  # knows Dagster: the bare process is given its settings

    settings = json.dumps(GoldConfig().arguments())
    costs: dict[str, list[_Cost]] = defaultdict(list)
    for number in range(REPEATS):
        for way in (_WITH_DAGSTER, _WITHOUT_DAGSTER):
            home = work / f"{way.replace(' ', '_')}_{number}"
            bare = ["-m", "benchmarks.bare", str(source), str(home), settings]
            arguments = ["-m", "clustering_assets.run"] if way == _WITH_DAGSTER else bare
            for name in ("first run", "rerun"):
                costs[f"{name} {way}"].append(_cost(arguments, source, work, home))
    figures = {key: figure for name, found in costs.items() for key, figure in _medians(name, found).items()}
    return figures | {
        f"{name} more{what}": figures[f"{name} {_WITH_DAGSTER}{what}"] - figures[f"{name} {_WITHOUT_DAGSTER}{what}"]
        for name in ("first run", "rerun")
        for what in ("", _PROCESSOR)
    }


def _medians(name: str, costs: Sequence[_Cost]) -> Seconds:
    seconds, processor = (statistics.median(each) for each in zip(*costs, strict=True))
    return {name: seconds, f"{name}{_PROCESSOR}": processor}


MEASURED: dict[str, Callable[[Path, Path], Seconds]] = {
    "import": imported,
    "reload": reloaded,
    "runs": runs,
}

if __name__ == "__main__":
    name, source, work = sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve()
    shutil.rmtree(work, ignore_errors=True)
    print(json.dumps(MEASURED[name](source, work)))
