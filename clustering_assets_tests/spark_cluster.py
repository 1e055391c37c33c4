"""A real Spark for tests: a standalone cluster, or a server of Spark Connect, as processes on the loopback."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clustering_assets_tests.processes import CHECKOUT, free_port, kill_group, running, until


def require_spark() -> None:
    """Skip the test where Spark cannot start, and say why."""
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")


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


@contextmanager
def standalone(folder: Path, workers: int = 2, memory: str = "1g") -> Iterator[StandaloneCluster]:
    """Start a master and workers with a processor and some memory each."""
    port, status_port = free_port(), free_port()
    url = f"spark://127.0.0.1:{port}"
    environment = {**_environment(), "SPARK_DAEMON_MEMORY": "256m"}
    with ExitStack() as stack:

        def start(kind: str, log: str, *arguments: str) -> subprocess.Popen[bytes]:
            java_class = f"org.apache.spark.deploy.{kind.lower()}.{kind}"
            command = [_program("spark-class"), java_class, "--host", "127.0.0.1", *arguments]
            return stack.enter_context(running(command, environment, folder, folder / log))

        start("Master", "master.log", "--port", str(port), "--webui-port", str(status_port))
        cluster = StandaloneCluster(url, f"http://127.0.0.1:{status_port}", [])
        for number in range(workers):
            work = folder / f"worker {number}"
            options = ["--cores", "1", "--memory", memory, "--webui-port", "0", "--work-dir", str(work), url]
            cluster.workers.append(start("Worker", f"{work.name}.log", *options))
        until(lambda: cluster.status()["aliveworkers"] == workers, "the workers of the Spark cluster")
        yield cluster


@contextmanager
def connect_server(folder: Path) -> Iterator[str]:
    """Start a server of Spark Connect with two tasks at a time; give its address."""
    port = free_port()
    settings = {"spark.connect.grpc.binding.port": port, "spark.ui.enabled": "false", "spark.driver.memory": "1g"}
    options = [part for name, value in settings.items() for part in ("--conf", f"{name}={value}")]
    server = ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", *options, "spark-internal"]
    command = [_program("spark-submit"), "--master", "local[2]", *server]
    environment = {**_environment(), "PYTHONPATH": str(CHECKOUT)}
    with running(command, environment, folder, folder / "server.log"):
        until(lambda: _listens(port), "a server of Spark Connect")
        yield f"sc://127.0.0.1:{port}"


def _program(name: str) -> str:
    import pyspark

    return str(Path(pyspark.__file__).parent / "bin" / name)


def _environment() -> dict[str, str]:
    return {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}


def _listens(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    return True
