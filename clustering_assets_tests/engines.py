"""The engines that the expressions are tested on, and how frames get in and out of them."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import ibis
import ibis.expr.types as ir
import pandas as pd
import pytest
from ibis.backends import BaseBackend

from clustering_assets.contracts import Column
from clustering_assets.spark.session import Cluster, settings
from clustering_assets_tests.oracle import contract_frame
from clustering_assets_tests.spark_cluster import require_spark


def _spark() -> BaseBackend:
    """Spark on this machine, with its tables in a folder that is gone with the process."""
    require_spark()
    from pyspark.sql import SparkSession

    folder = TemporaryDirectory(prefix="spark-")
    atexit.register(folder.cleanup)
    told = {
        **settings(Cluster("local[1]", Path(folder.name))),
        "spark.sql.warehouse.dir": folder.name,
        "spark.local.dir": folder.name,
        "spark.sql.shuffle.partitions": "1",
    }
    return ibis.pyspark.connect(SparkSession.builder.master("local[1]").config(map=told).getOrCreate())


ENGINES: dict[str, Callable[[], BaseBackend]] = {
    "duckdb": lambda: ibis.duckdb.connect(),
    "spark": _spark,
}
EVERY_ENGINE = [pytest.param(name, marks=pytest.mark.long if name == "spark" else ()) for name in ENGINES]
"""For fixtures: Spark takes seconds for what takes DuckDB milliseconds; what it is asked every time is in ``spark``."""


def table_of(frame: pd.DataFrame, columns: Sequence[Column]) -> ir.Table:
    return ibis.memtable(frame, schema=_schema(columns))


def prepare(
    engine: BaseBackend, name: str, columns: Sequence[Column], build: Callable[[ir.Table], Mapping[str, ir.Table]]
) -> Callable[[pd.DataFrame], dict[str, ir.Table]]:
    """Translate expressions over one table once, as views, and return a function that computes them for other rows."""
    source = engine.create_table(name, schema=_schema(columns))
    views = {result: engine.create_view(f"{name}_{result}", expr) for result, expr in build(source).items()}

    def compute(frame: pd.DataFrame) -> dict[str, ir.Table]:
        engine.create_table(name, table_of(frame, columns), overwrite=True)
        return views

    return compute


def fetch(engine: BaseBackend, table: ir.Table, columns: Sequence[Column], *, by: str | None = None) -> pd.DataFrame:
    """Compute a table that has exactly the columns and types of a contract, sorted where a column is given."""
    types = {
        name: "timestamp" if type_.is_timestamp() else str(type_).lstrip("!") for name, type_ in table.schema().items()
    }
    assert types == {column.name: column.type for column in columns}
    frame = contract_frame(engine.to_pyarrow(table).to_pylist(), columns)
    return frame if by is None else frame.sort_values(by, ignore_index=True)


def assert_same(actual: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(actual, expected, rtol=1e-9, atol=1e-12)


def _schema(columns: Sequence[Column]) -> ibis.Schema:
    return ibis.schema({column.name: column.type for column in columns})
