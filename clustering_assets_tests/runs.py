"""Runs in processes of their own that can be killed: forked from one that has everything imported, they start at once.

The process that forks never opens DuckDB and starts no thread. It reads one order per line and answers with how the
run ended; a run that is to die at a step sends itself SIGKILL there.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from clustering_assets.definitions import build_defs
from clustering_assets.resources import Home, SourceFolder
from clustering_assets_tests.conftest import QUICK, Shop

KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Step:
    """A call at which a run dies: before it, or when it has returned; the first one, or a later one.

    ``name`` is ``module:function`` or ``module:class.method``; ``ending`` is that of the call's first argument.
    """

    name: str
    after: bool = False
    call: int = 1
    ending: str = ""


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit status, what its failures say, and how many seconds it took."""

    status: int
    failures: Sequence[str]
    seconds: float


@dataclass(frozen=True)
class Runs:
    """The process that forks runs."""

    process: subprocess.Popen[str]

    def run(
        self,
        shop: Shop,
        *,
        dies_at: Step | None = None,
        dies_after: float | None = None,
        clock: str | None = None,
    ) -> Ended:
        """Run everything, with the clock as told; die at a step or after some seconds."""
        order = {
            "source": str(shop.source),
            "home": str(shop.home),
            "dies_at": asdict(dies_at) if dies_at else None,
            "dies_after": dies_after,
            "clock": clock,
        }
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()))


@contextmanager
def started() -> Iterator[Runs]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLUSTERING_", "DAGSTER_"))}
    # one thread is enough for a small shop, and a thread would not live on in the fork
    environment = {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "clustering_assets_tests.runs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield Runs(process)


# -------------------------------------------------------------------------------------------- in the process that forks


def _answer(order: dict[str, Any]) -> Ended:
    reading, writing = os.pipe()
    begun = time.monotonic()
    child = os.fork()
    if not child:
        os.setsid()
        os.close(reading)
        failures = _execute(order)
        with os.fdopen(writing, "w") as said:
            json.dump(failures, said)
        os._exit(1 if failures else 0)
    os.close(writing)
    if order["dies_after"] is not None:
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() - begun > order["dies_after"]:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                os.close(reading)
                return Ended(KILLED, [], time.monotonic() - begun)
            time.sleep(0.002)
        os.close(reading)
        return Ended(0, [], time.monotonic() - begun)
    with os.fdopen(reading) as said:
        failures = json.loads(said.read() or "[]")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(status, failures, time.monotonic() - begun)


def _execute(order: dict[str, Any]) -> list[str]:
    """Run, and return what the failures say."""
    if order["clock"]:
        _set_clock(order["clock"])
    if order["dies_at"]:
        _die_at(Step(**order["dies_at"]))
    defs = build_defs(home=Home(path=order["home"], lock_wait=5), source=SourceFolder(path=order["source"]))
    job = defs.resolve_job_def("everything")
    result = job.execute_in_process(run_config=QUICK, raise_on_error=False)
    if result.success:
        return []
    said = [event.step_failure_data for event in result.filter_events(lambda event: event.is_step_failure)]
    return [str(data.user_failure_data.description if data.user_failure_data else data.error) for data in said] or ["?"]


def _set_clock(moment: str) -> None:
    from datetime import datetime

    modules: list[Any] = [module for name, module in sys.modules.items() if name.startswith("clustering_assets.")]
    for module in modules:
        if hasattr(module, "utc_now"):
            module.utc_now = lambda: datetime.fromisoformat(moment)


def _die_at(step: Step) -> None:
    """Wrap the real function, so that the process is gone at the call."""
    module, _, path = step.name.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    real = getattr(owner, name)
    calls = 0

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += str(arguments[-1] if arguments else "").endswith(step.ending)
        if calls == step.call and not step.after:
            os.kill(os.getpid(), signal.SIGKILL)
        returned = real(*arguments, **named)
        if calls == step.call and step.after:
            os.kill(os.getpid(), signal.SIGKILL)
        return returned

    setattr(owner, name, wrapped)


def _serve() -> None:
    for name in ("clustering_assets.gold", "clustering_assets.reports.pictures", "clustering_assets.reports.workbook"):
        importlib.import_module(name)
    importlib.import_module("skops.io")
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(_answer(json.loads(line)))), flush=True)


if __name__ == "__main__":
    _serve()
