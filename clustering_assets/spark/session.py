"""The way to a Spark cluster: what it needs is looked at before anything is read."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OLDEST_JAVA = 17
"""Spark 4 does not start on an older one."""
_PATIENCE = 20.0
"""Seconds after which a master that does not answer is given up."""
_ADDRESSED = re.compile(r"(?:spark|sc)://(.+)")
_OTHER = re.compile(r"local(\[.+\])?|local-cluster\[.+\]|yarn|k8s://.+")
_CONNECT_PORT = 15002
_PACKAGES = {"pyspark": "pyspark", "grpcio": "grpc", "grpcio-status": "grpc_status", "zstandard": "zstandard"}
"""What a server of Spark Connect is spoken to with -> the module that it brings."""

_log = logging.getLogger(__name__)


class SparkUnavailable(Exception):
    """Spark cannot be used as it is set up; the message says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where Spark runs, and where it writes.

    Parameters
    ----------
    master
        ``local[*]``, ``spark://host:port``, ``yarn``, ``k8s://...`` or, for Spark Connect, ``sc://host:port``.
    target
        Folder of the tables, which driver and executors must see under the same path.
    driver_memory
        What the driver's Java machine may take, such as ``2g``; only where this process starts it.
    """

    master: str
    target: Path
    driver_memory: str = "2g"

    @property
    def is_here(self) -> bool:
        """Whether the executors run on this machine, with its Python and its checkout."""
        return self.master.startswith("local") or bool(re.match(r"spark://(127\.0\.0\.1|localhost)[:,]", self.master))


def check(cluster: Cluster) -> None:
    """Look at everything that Spark needs, before anything is read or started.

    Raises
    ------
    SparkUnavailable
        If the package, Java, the master or the folder is missing or of no use.
    """
    connects = cluster.master.startswith("sc://")
    for package in _PACKAGES if connects else ("pyspark",):
        if importlib.util.find_spec(_PACKAGES[package]) is None:
            raise SparkUnavailable(
                f"CLUSTERING_ENGINE is spark, and the package {package} is not installed: install the extra `spark` of "
                "this project, as in pip install -e '.[spark]'"
            )
    if not (_ADDRESSED.fullmatch(cluster.master) or _OTHER.fullmatch(cluster.master)):
        raise SparkUnavailable(
            f"CLUSTERING_SPARK_MASTER is {cluster.master!r}; it can be local[*], spark://host:port, yarn, k8s://... or "
            "sc://host:port"
        )
    if not connects:
        _check_java()
    if addressed := _ADDRESSED.fullmatch(cluster.master):
        _check_reachable(cluster.master, addressed[1])
    _check_writable(cluster.target)


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    where = f"in JAVA_HOME ({home})" if home else "on the PATH"
    if java is None:
        raise SparkUnavailable(f"Spark needs Java {OLDEST_JAVA} or newer, and there is none {where}: install it")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if found is None:
        raise SparkUnavailable(f"{java} does not say its version, but {said.strip()[:200]!r}: reinstall Java")
    if int(found[1]) < OLDEST_JAVA:
        raise SparkUnavailable(
            f"Spark needs Java {OLDEST_JAVA} or newer, and the one {where} is {found[1]}: install a newer one, or set "
            "JAVA_HOME to where it is"
        )


def _check_reachable(master: str, hosts: str) -> None:
    """Find one of the masters that answers; several, separated by commas, stand in for each other."""
    reasons = []
    deadline = time.monotonic() + _PATIENCE
    for address in hosts.split("/")[0].split(";")[0].split(","):
        host, _, port = address.partition(":")
        try:
            left = max(deadline - time.monotonic(), 0.1)
            socket.create_connection((host, int(port or _CONNECT_PORT)), timeout=left).close()
        except (OSError, ValueError) as error:
            reasons.append(f"{address}: {error}")
        else:
            return
    raise SparkUnavailable(
        f"The Spark master {master} does not answer ({'; '.join(reasons)}): start it, or set CLUSTERING_SPARK_MASTER "
        "to the one that runs"
    )


def _check_writable(target: Path) -> None:
    probe = target / f".{os.getpid()}.probe"
    try:
        target.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SparkUnavailable(
            f"Spark's folder {target} cannot be written ({error.strerror}): check its permissions, or set "
            "CLUSTERING_SPARK_DIR to another folder that all workers see"
        ) from error


@contextmanager
def connected(cluster: Cluster) -> Iterator[SparkSession]:
    """Start a session on a cluster that passed `check`, and stop it again whatever happens inside.

    Raises
    ------
    SparkUnavailable
        If the cluster refuses the session.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("clustering-assets")
    builder = builder.remote(cluster.master) if cluster.master.startswith("sc://") else builder.master(cluster.master)
    for name, value in settings(cluster).items():
        builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except (PySparkException, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise SparkUnavailable(
            f"The Spark master {cluster.master} gives no session ({reason}): look at its log"
        ) from error
    try:
        yield session
    finally:
        session.stop()


@contextmanager
def passing_folder(cluster: Cluster, layer: str) -> Iterator[Path]:
    """Give a folder for the files of a layer, until the warehouse has taken them over.

    Those that a lost driver left are removed: runs follow each other.
    """
    folder = cluster.target / layer
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def settings(cluster: Cluster) -> dict[str, str]:
    """Return what Spark is told, on top of its ``spark-defaults.conf``."""
    told = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
    }
    if cluster.master.startswith("sc://"):
        return told  # the rest is the server's
    told |= {
        "spark.driver.memory": cluster.driver_memory,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
    }
    if cluster.is_here:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        told |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.executorEnv.PYTHONPATH": str(Path(__file__).parents[2]),
            # Spark takes 200 for granted: on one machine, most of them would be tasks without rows
            "spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1)),
        }
    return told
