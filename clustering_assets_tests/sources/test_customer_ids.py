"""Customers who were forgotten, when their rows are read again: refused, however their id is written."""

from __future__ import annotations

from datetime import datetime

import pytest

from clustering_assets.forgotten import Forgotten
from clustering_assets.integrity import EVERY_ROW_ACCOUNTED_FOR
from clustering_assets.sources.customer_ids import canonical_ids
from clustering_assets_tests.sources.bronze import Bronze, order_lines

NOBODY = Forgotten()
ANN = NOBODY.and_also(["ann@example.com"], datetime(2026, 1, 1))
HEADER = "order_id,customer_id,sku,order_date,quantity,line_value"


def texts(bronze: Bronze) -> str:
    """Everything in bronze, as text."""
    return str([bronze.rows(f"from {name}") for (name,) in bronze.rows(NAMES)])


NAMES = "select schema_name || '.' || table_name from duckdb_tables() where schema_name = 'bronze'"


def test_ids_are_one_however_they_are_written(bronze: Bronze) -> None:
    written = [" Ann@X.org\t", "ann@x.org", "17", " 17 ", "Bob", "bob", "  "]
    assert canonical_ids(bronze.backend, written) == ["17", "Bob", "ann@x.org", "bob"]


def test_a_record_grows_and_keeps_who_is_in_it() -> None:
    both = ANN.and_also(["bob", "ann@example.com"], datetime(2027, 1, 1))
    assert "ann@example.com" in both
    assert "bob" in both
    assert "ann@example.com" not in NOBODY
    assert {*both.customers.values()} == {"2026-01-01T00:00:00", "2027-01-01T00:00:00"}
    assert len({NOBODY.digest, ANN.digest, both.digest}) == 3
    assert ANN.key == both.key
    assert ANN.key not in repr(both)


def test_rows_of_the_forgotten_are_refused_and_those_of_others_stay(bronze: Bronze) -> None:
    bronze.load({"a.csv": order_lines({"customer_id": " Ann@Example.com "}, {"customer_id": "bob", "order_id": "O2"})})
    assert bronze.load(forgotten=ANN)
    assert bronze.lines("customer_id") == [("bob",)]
    assert bronze.rows("select source_row, reason, raw_text from bronze.rejected_rows") == [
        (2, "FORGOTTEN: the customer asked to be forgotten", "")
    ]
    assert "ann" not in texts(bronze).lower()
    assert not bronze.load(forgotten=ANN)
    bronze.assert_sound()


def test_bronze_is_the_same_whether_they_were_forgotten_before_or_after_the_load(bronze: Bronze) -> None:
    rows = order_lines({}, {}, {"quantity": "3"}, {"customer_id": "bob"}, {"customer_id": "", "sku": "S9"})
    bronze.load({"a.csv": rows, "b.csv": order_lines({}, {"customer_id": "bob", "sku": "S2"})})
    bronze.load(forgotten=ANN)
    after = bronze.content()
    for name in ("a.csv", "b.csv"):
        (bronze.folder / name).rename(bronze.folder / f".{name}")
    bronze.load({"c.csv": order_lines({"customer_id": "carl"})}, forgotten=ANN)
    for name in ("a.csv", "b.csv"):
        (bronze.folder / f".{name}").rename(bronze.folder / name)
    (bronze.folder / "c.csv").unlink()
    bronze.load(forgotten=ANN)
    assert bronze.content() == after
    bronze.assert_sound()


@pytest.mark.parametrize(
    "row",
    [
        "O1,,S1,2024-01-01,1,ANN@example.com",
        "O1,ann@example.com",
        "O1,x,S1,2024-01-01,1,1,too,many,<Ann@Example.com>",
        ",ann@example.com,S1,2024-01-01,1,1",
        "O1,,S1,mailto:ann@example.com,1,1",
        'O1,,"order of ann@example.com, see above",2024-01-01,1,1',
    ],
)
def test_the_text_of_a_broken_row_that_names_them_is_blanked(bronze: Bronze, row: str) -> None:
    bronze.load({"a.csv": f"{HEADER}\nO2,bob,S1,2024-01-01,1,1\n{row}\nO3,,S1,2024-01-01,1,1\n"}, forgotten=ANN)
    assert "ann@example.com" not in texts(bronze).lower()
    assert [source_row for source_row, _ in bronze.rejected()] == [3, 4]
    assert "O3" in texts(bronze)
    bronze.assert_sound()


def test_they_leave_the_last_good_version_of_a_file_that_is_broken_now(bronze: Bronze) -> None:
    bronze.load({"a.csv": order_lines({}, {"customer_id": "bob"}, {"customer_id": "", "sku": "ann@example.com"})})
    bronze.write({"a.csv": b"\0\0"})
    bronze.load(forgotten=ANN)
    assert "stay" in bronze.reason("a.csv")
    assert bronze.lines("customer_id") == [("bob",)]
    assert "ann@example.com" not in texts(bronze)
    bronze.assert_sound()
    assert not bronze.load(forgotten=ANN)


def test_their_cancellations_go_with_their_purchases(bronze: Bronze) -> None:
    header = "Invoice,StockCode,Quantity,InvoiceDate,Price,Customer ID"
    rows = [f"{order},S1,{units},2024-01-0{day},1,{who}" for who in (17, 18) for order, units, day in ORDERS]
    bronze.load({"a.csv": "\n".join([header, *rows, ""])})
    seventeen = NOBODY.and_also(["17"], datetime(2026, 1, 1))
    bronze.load(forgotten=seventeen)
    assert bronze.lines("customer_id, return_quantity") == [("18", 1)]
    assert bronze.rows("select customer_id, outcome from bronze.cancellations") == [("18", "matched")]
    assert bronze.rejected() == [(2, "FORGOTTEN"), (3, "FORGOTTEN")]
    bronze.assert_sound()


ORDERS = [("1", 2, 1), ("C2", -1, 2)]


def test_a_shop_may_forget_its_only_customer(bronze: Bronze) -> None:
    bronze.load({"a.csv": order_lines({})})
    assert bronze.load(forgotten=ANN)
    assert bronze.lines("customer_id") == []
    assert EVERY_ROW_ACCOUNTED_FOR.faults(bronze.backend) == []
