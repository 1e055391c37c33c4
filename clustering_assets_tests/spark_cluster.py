"""A real Spark cluster for tests: a standalone master and workers, as processes on the loopback of this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 180.0


def require_spark() -> None:
    """Skip the test where Spark cannot start, and say why."""
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class StandaloneCluster:
    """A master that answers, and its workers."""

    url: str
    status_url: str
    workers: list[subprocess.Popen[bytes]]

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.status_url}/json/", timeout=10) as answer:  # noqa: S310
            return dict(json.load(answer))

    def kill_worker(self) -> None:
        """Kill a worker and all that it has started, as when its machine is gone."""
        worker = self.workers.pop()
        kill_group(worker.pid)
        worker.wait()


def kill_group(leader: int) -> None:
    """Kill what is left of a process and of all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


@contextmanager
def standalone(folder: Path, workers: int = 2, memory: str = "1g") -> Iterator[StandaloneCluster]:
    """Start a master and workers with a processor and some memory each."""
    import pyspark

    spark_class = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
    port, status_port = free_port(), free_port()
    environment = {
        **os.environ,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "PYSPARK_PYTHON": sys.executable,
    }
    url = f"spark://127.0.0.1:{port}"
    log = (folder / "cluster.log").open("wb")

    def start(kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [spark_class, f"org.apache.spark.deploy.{kind.lower()}.{kind}", "--host", "127.0.0.1", *arguments]
        # a group of its own, so that what it starts can be killed with it
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    started = [start("Master", "--port", str(port), "--webui-port", str(status_port))]
    try:
        cluster = StandaloneCluster(url, f"http://127.0.0.1:{status_port}", [])
        for number in range(workers):
            work = folder / f"worker {number}"
            options = ["--cores", "1", "--memory", memory, "--webui-port", "0", "--work-dir", str(work), url]
            cluster.workers.append(start("Worker", *options))
        started += cluster.workers
        _wait_for(cluster, workers)
        yield cluster
    finally:
        for process in reversed(started):
            kill_group(process.pid)
            process.wait()
        log.close()


@contextmanager
def connect_server(folder: Path) -> Iterator[str]:
    """Start a server of Spark Connect with two tasks at a time; give its address."""
    import pyspark

    port = free_port()
    submit = [str(Path(pyspark.__file__).parent / "bin" / "spark-submit"), "--master", "local[2]"]
    server_class = ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]
    settings = {"spark.connect.grpc.binding.port": port, "spark.ui.enabled": "false", "spark.driver.memory": "1g"}
    options = [part for name, value in settings.items() for part in ("--conf", f"{name}={value}")]
    environment = {
        **os.environ,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*submit, *server_class, *options, "spark-internal"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait_until_it_listens(port)
            yield f"sc://127.0.0.1:{port}"
        finally:
            kill_group(server.pid)
            server.wait()


def _wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError("the server of Spark Connect did not start") from None
            time.sleep(0.2)
        else:
            return


def _wait_for(cluster: StandaloneCluster, workers: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if cluster.status()["aliveworkers"] == workers:
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("the Spark cluster did not start")
        time.sleep(0.2)
