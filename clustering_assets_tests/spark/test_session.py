"""Whatever Spark lacks is said before anything is read."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from clustering_assets.config import BadSetting, read_environment
from clustering_assets.resources import Engine
from clustering_assets.spark import session
from clustering_assets.spark.session import Cluster, SparkUnavailable, check
from clustering_assets_tests.processes import free_port
from clustering_assets_tests.spark_cluster import require_spark


@pytest.fixture(autouse=True)
def _spark() -> None:
    require_spark()


def java_of(folder: Path, version: str) -> Path:
    """Make a Java that says of itself that it is of some version."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{version}' >&2\n")
    program.chmod(0o755)
    return folder


def test_what_works_passes(tmp_path: Path) -> None:
    check(Cluster("local[1]", tmp_path / "tables"))
    with socket.create_server(("127.0.0.1", 0)) as master:
        port = master.getsockname()[1]
        check(Cluster(f"spark://127.0.0.1:{port}", tmp_path))
        check(Cluster(f"spark://127.0.0.1:{free_port()},127.0.0.1:{port}", tmp_path))
    assert list((tmp_path / "tables").iterdir()) == []


def test_an_engine_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERING_ENGINE", "flink")
    with pytest.raises(BadSetting, match="CLUSTERING_ENGINE is 'flink'; it can be duckdb or spark"):
        read_environment()


def test_duckdb_asks_for_nothing_of_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "check", pytest.fail)
    assert Engine().cluster is None


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SparkUnavailable, match="pyspark is not installed"):
        check(Cluster("local[1]", tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "grpc_status" else name)
    check(Cluster("local[1]", tmp_path))
    with pytest.raises(SparkUnavailable, match="grpcio-status is not installed"):
        check(Cluster("sc://127.0.0.1", tmp_path))


def test_java_that_is_missing_old_or_strange_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, said, words in (
        ("eleven", 'openjdk version "11.0.2" 2019-01-15', "the one in JAVA_HOME .* is 11: install a newer one"),
        ("eight", 'java version "1.8.0_202"', "is 8: install"),
        ("strange", "no idea", "does not say its version, but 'no idea'"),
    ):
        monkeypatch.setenv("JAVA_HOME", str(java_of(tmp_path / name, said)))
        with pytest.raises(SparkUnavailable, match=words):
            check(Cluster("local[1]", tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(SparkUnavailable, match="there is none in JAVA_HOME"):
        check(Cluster("local[1]", tmp_path))
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SparkUnavailable, match="there is none on the PATH"):
        check(Cluster("local[1]", tmp_path))


@pytest.mark.parametrize("master", ["sparks://here:7077", "local[", "127.0.0.1:7077", ""])
def test_a_master_that_is_no_address_is_refused(tmp_path: Path, master: str) -> None:
    with pytest.raises(SparkUnavailable, match="it can be local"):
        check(Cluster(master, tmp_path))


@pytest.mark.parametrize("scheme", ["spark", "sc"])
def test_a_master_that_does_not_answer_is_given_up_soon(tmp_path: Path, scheme: str) -> None:
    started = time.monotonic()
    with pytest.raises(SparkUnavailable, match=r"does not answer .*: start it, or set CLUSTERING_SPARK_MASTER"):
        check(Cluster(f"{scheme}://127.0.0.1:{free_port()}", tmp_path))
    with pytest.raises(SparkUnavailable, match="does not answer"):
        check(Cluster(f"{scheme}://nowhere.invalid:7077", tmp_path))
    assert time.monotonic() - started < 2 * session._PATIENCE


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SparkUnavailable, match=r"file/tables cannot be written .*CLUSTERING_SPARK_DIR"):
        check(Cluster("local[1]", tmp_path / "file" / "tables"))
    if os.geteuid():
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        with pytest.raises(SparkUnavailable, match="closed cannot be written"):
            check(Cluster("local[1]", closed))
