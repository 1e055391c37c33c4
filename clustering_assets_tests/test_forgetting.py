"""Requests to be forgotten: accepted once or many times, closed only when nothing is left, and never told by name."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pytest

from clustering_assets.automation import requests_to_forget
from clustering_assets.contracts import CUSTOMER_SEGMENTS, FORGOTTEN_CUSTOMERS, FULFILLED_REQUESTS, ORDER_LINES
from clustering_assets.forgetting import NotForgotten, accept_requests, forgotten_customers, fulfil_requests
from clustering_assets.forgotten import UnusableRequest, read_record
from clustering_assets.pseudonyms import pseudonym
from clustering_assets.resources import Home
from clustering_assets.warehouse import Warehouse, replace_table, table
from clustering_assets_tests.test_pseudonyms import KEY

NOW = datetime(2026, 1, 1)
PEOPLE = ["ann@x.org", "bob@x.org"]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Ann and Bob in bronze, and in gold by their pseudonyms."""
    made = Warehouse(tmp_path / "home", lock_wait=0)
    with made.connect() as backend:
        lines = pd.DataFrame({"customer_id": PEOPLE}).reindex(columns=[*ORDER_LINES.column_names])
        replace_table(backend, ORDER_LINES, lines)
        segments = pd.DataFrame({"customer_id": [pseudonym(each, KEY) for each in PEOPLE]})
        replace_table(backend, CUSTOMER_SEGMENTS, segments.reindex(columns=[*CUSTOMER_SEGMENTS.column_names]))
    return made


def ask(warehouse: Warehouse, *ids: str, name: str = "request.txt") -> Path:
    path = warehouse.home / "forget" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(ids))
    return path


def accept(warehouse: Warehouse) -> tuple[int, int, int, int]:
    with warehouse.connect() as backend:
        found = accept_requests(backend, warehouse.home, KEY, NOW)
    return found.requests, found.customers, found.unknown_customers, found.rows_removed


def leave_bronze(warehouse: Warehouse) -> None:
    with warehouse.connect() as backend:
        backend.con.execute("delete from bronze.order_lines where customer_id = 'ann@x.org'")


def test_a_request_is_closed_when_nothing_is_left_and_not_before(warehouse: Warehouse) -> None:
    request = ask(warehouse, " ANN@x.org", "carl")
    assert fulfil_requests(warehouse, KEY, NOW) == 0, "nobody accepted it yet"
    assert accept(warehouse) == (1, 2, 1, 1)
    with pytest.raises(NotForgotten, match=r"still in bronze\.order_lines") as told:
        fulfil_requests(warehouse, KEY, NOW)
    assert "ann@" not in str(told.value)
    assert request.exists()
    leave_bronze(warehouse)
    late = ask(warehouse, "bob@x.org", name="late.txt")
    assert fulfil_requests(warehouse, KEY, NOW) == 2
    assert not request.exists()
    assert late.exists()
    with warehouse.connect() as backend:
        assert table(backend, CUSTOMER_SEGMENTS).customer_id.to_pyarrow().to_pylist() == [pseudonym("bob@x.org", KEY)]
        assert table(backend, FULFILLED_REQUESTS).select("requests", "customers").to_pyarrow().to_pylist() == [
            {"requests": 1, "customers": 2}
        ]


def test_what_a_killed_job_did_may_be_done_again(warehouse: Warehouse) -> None:
    ask(warehouse, "ann@x.org")
    assert accept(warehouse) == (1, 1, 0, 1)
    before = read_record(warehouse.home)
    leave_bronze(warehouse)
    assert accept(warehouse) == (1, 1, 1, 0)
    assert read_record(warehouse.home) == before
    assert fulfil_requests(warehouse, KEY, NOW) == 1
    assert accept(warehouse) == (0, 0, 0, 0)
    assert fulfil_requests(warehouse, KEY, NOW) == 0


def test_another_pseudonym_key_does_not_undo_a_request(warehouse: Warehouse) -> None:
    ask(warehouse, "ann@x.org")
    accept(warehouse)
    with warehouse.connect() as backend:
        accept_requests(backend, warehouse.home, None, NOW)
        assert "ann@x.org" in forgotten_customers(backend, warehouse.home)


def test_the_record_outlives_the_warehouse_and_is_missed_when_it_is_gone(warehouse: Warehouse) -> None:
    ask(warehouse, "ann@x.org")
    accept(warehouse)
    warehouse.path.unlink()
    with warehouse.connect() as backend:
        assert "ann@x.org" in forgotten_customers(backend, warehouse.home)
    accept(warehouse)
    with warehouse.connect() as backend:
        assert table(backend, FORGOTTEN_CUSTOMERS).count().execute() == 1
        (warehouse.home / "forgotten.json").write_text("{")
        with pytest.raises(UnusableRequest, match=r"forgotten\.json cannot be read .* put back a copy"):
            forgotten_customers(backend, warehouse.home)
        (warehouse.home / "forgotten.json").unlink()
        with pytest.raises(UnusableRequest, match=r"is missing, and 1 customers .* put back a copy"):
            forgotten_customers(backend, warehouse.home)


def test_a_request_that_is_no_text_stops_the_run_and_is_not_named(warehouse: Warehouse) -> None:
    ask(warehouse, name="ann@x.org.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnusableRequest, match=r"A file in .*forget cannot be read .* UTF-8") as told:
        accept(warehouse)
    assert "ann@" not in str(told.value)


def test_a_warehouse_that_is_written_anew_has_the_same_tables_and_no_byte_of_what_was_deleted(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, lock_wait=0)
    with warehouse.connect() as backend:
        rows = pd.DataFrame({"customer_id": [f"{name}@x.org" for name in ("gonemarkerqz", "stays")] * 5_000})
        replace_table(backend, ORDER_LINES, rows.reindex(columns=[*ORDER_LINES.column_names]))
        backend.con.execute("delete from bronze.order_lines where customer_id like 'gone%'")
    assert b"gonemarkerqz" in warehouse.path.read_bytes()
    with warehouse.connect() as backend:
        described = backend.con.execute("select table_name, column_name, data_type, comment from duckdb_columns()").df()
    warehouse.write_anew()
    assert b"gonemarkerqz" not in warehouse.path.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [warehouse.path.name]
    with warehouse.connect() as backend:
        assert table(backend, ORDER_LINES).count().execute() == 5_000
        again = backend.con.execute("select table_name, column_name, data_type, comment from duckdb_columns()").df()
    pd.testing.assert_frame_equal(described.sort_values([*described]), again.sort_values([*again]), check_like=True)


def test_a_warehouse_that_was_written_anew_is_opened_by_any_client(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, lock_wait=0)
    with warehouse.connect() as backend:
        backend.con.execute("create table main.t as select 1 as one")
    warehouse.write_anew()
    with duckdb.connect(str(warehouse.path), read_only=True) as reader:
        assert reader.sql("select one from t").fetchall() == [(1,)]


def test_the_sensor_asks_for_a_run_while_there_is_a_request_and_names_nobody(warehouse: Warehouse) -> None:
    with dg.build_sensor_context(resources={"home": Home(path=str(warehouse.home))}) as context:
        assert isinstance(requests_to_forget(context), dg.SkipReason)
        request = ask(warehouse, "ann@x.org", name="ann@x.org.txt")
        asked = requests_to_forget(context)
        assert isinstance(asked, dg.RunRequest)
        assert "ann@" not in str(asked)
        request.unlink()
        assert isinstance(requests_to_forget(context), dg.SkipReason)
