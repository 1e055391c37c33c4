"""The programs of a deployment as processes of their own: how tests start them, wait for them and look at them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from clustering_assets_tests.conftest import Shop

CHECKOUT = Path(__file__).parent.parent
PATIENCE = 300
"""Seconds; far more than anything here takes, so that a busy machine does not fail a test."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def environment_of(shop: Shop, dagster_home: Path, **more: str) -> dict[str, str]:
    """Return the environment of this process, with a shop and a DAGSTER_HOME in the place of its own."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("CLUSTERING_")},
        "CLUSTERING_HOME": str(shop.home),
        "CLUSTERING_SOURCE_DIR": str(shop.source),
        "DAGSTER_HOME": str(dagster_home),
        "PYTHONPATH": str(CHECKOUT),
        **more,
    }


@contextmanager
def running(command: list[str], environment: dict[str, str], cwd: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program; stop it in the end as a service is stopped, and what it leaves behind by force."""
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=file, stderr=file, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        kill_group(process.pid)
        process.wait()


def kill_group(leader: int) -> None:
    """Kill what is left of a process and of all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def until(done: Callable[[], Any], what: str, patience: float = PATIENCE, pause: float = 0.5) -> Any:
    """Ask again and again until there is an answer, also where nobody answers yet; return it."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with suppress(requests.RequestException, OSError):
            if found := done():
                return found
        time.sleep(pause)
    return pytest.fail(f"waited in vain: {what}")


def resident(pid: int) -> int:
    """Bytes that a program and the servers that it started hold in memory; not the runs that these started."""
    process = Path("/proc") / str(pid)
    if "multiprocessing" in process.joinpath("cmdline").read_text():
        return 0
    started = " ".join(path.read_text() for path in process.glob("task/*/children")).split()
    own = int(process.joinpath("statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return own + sum(resident(int(child)) for child in started)


def parent(pid: int) -> int:
    """Return the process that started another one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
