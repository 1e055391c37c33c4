"""The door to the tables: written whole or not at all, described, and closed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from clustering_assets.contracts import Column, TableContract
from clustering_assets.warehouse import (
    LAYERS,
    Warehouse,
    WarehouseUnavailable,
    has_table,
    record_versions,
    replace_table,
    table,
    table_version,
    transaction,
    utc_now,
)

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

CONTRACT = TableContract(
    "silver",
    "example",
    "An example of somebody's table",
    "One row per name",
    ("name",),
    (
        Column("name", "string", "The customer's name."),
        Column("number", "int64", "A number."),
        Column("at", "timestamp", "When."),
    ),
)
ROWS = {"at": [datetime(2024, 1, 1)], "more": [1], "number": [3.0], "name": ["ann"]}


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    with Warehouse(tmp_path / "home").connect() as opened:
        yield opened


def test_the_home_and_the_layers_are_made_and_the_file_is_free_afterwards(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "a" / "home")
    with warehouse.connect() as backend:
        assert set(LAYERS) <= set(backend.list_databases())
        replace_table(backend, CONTRACT, pa.table(ROWS))
    with warehouse.connect() as backend:
        assert has_table(backend, CONTRACT)
    with duckdb.connect(str(warehouse.path), read_only=True) as other:
        assert other.sql("select name from silver.example").fetchall() == [("ann",)]


@pytest.mark.parametrize("content", [b"this is no database", b"\0" * 20_000])
def test_a_file_that_is_no_warehouse_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "warehouse.duckdb").write_bytes(content)
    with (
        pytest.raises(WarehouseUnavailable, match=r"warehouse.duckdb is damaged .* away and run again"),
        Warehouse(tmp_path).connect(),
    ):
        pass


@pytest.mark.parametrize("make", [pa.table, pd.DataFrame])
def test_a_table_gets_the_columns_order_types_and_descriptions_of_its_contract(
    backend: Backend, make: type[pd.DataFrame]
) -> None:
    replace_table(backend, CONTRACT, make(ROWS))
    described = backend.con.execute(
        "select column_name, data_type, comment from duckdb_columns() where table_name = 'example'"
    ).fetchall()
    assert described == [
        ("name", "VARCHAR", "The customer's name."),
        ("number", "BIGINT", "A number."),
        ("at", "TIMESTAMP", "When."),
    ]
    comment = backend.con.execute("select comment from duckdb_tables() where table_name = 'example'").fetchall()
    assert comment == [("An example of somebody's table One row per name.",)]
    assert table(backend, CONTRACT).to_pyarrow().to_pylist() == [
        {"name": "ann", "number": 3, "at": datetime(2024, 1, 1)}
    ]


def test_a_table_is_replaced_whole_or_stays(backend: Backend) -> None:
    replace_table(backend, CONTRACT, pa.table(ROWS))
    with pytest.raises(duckdb.Error, match="no number"):
        replace_table(backend, CONTRACT, pa.table(ROWS | {"number": ["no number"]}))
    with suppress(ZeroDivisionError), transaction(backend):
        replace_table(backend, CONTRACT, pa.table(ROWS | {"name": ["bob"]}))
        record_versions(backend, {"silver.example": "2"})
        raise ZeroDivisionError
    assert table(backend, CONTRACT).name.to_pyarrow().to_pylist() == ["ann"]
    assert table_version(backend, "silver.example") is None
    with transaction(backend):
        replace_table(backend, CONTRACT, table(backend, CONTRACT).filter(lambda rows: rows.number > 3))
    assert table(backend, CONTRACT).count().execute() == 0


def test_versions_are_remembered_by_name(backend: Backend) -> None:
    assert table_version(backend, "a") is None
    record_versions(backend, {"a": "1", "b": "1"})
    record_versions(backend, {"a": "2"})
    assert [table_version(backend, name) for name in "abc"] == ["2", "1", None]


def test_moments_are_utc_without_a_zone(backend: Backend) -> None:
    assert utc_now().tzinfo is None
    assert backend.con.execute("select current_setting('TimeZone')").fetchone() == ("UTC",)
