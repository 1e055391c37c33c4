"""A Spark of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from clustering_assets.spark.session import Cluster, connected
from clustering_assets_tests.spark_cluster import require_spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A local Spark, two tasks at a time in this machine's Python; skipped where Spark or Java is missing.

    A process has one session at a time: that of a module ends with it, or the next would get it instead of its own.
    """
    require_spark()
    with connected(Cluster("local[2]", tmp_path_factory.mktemp("spark"))) as session:
        yield session
