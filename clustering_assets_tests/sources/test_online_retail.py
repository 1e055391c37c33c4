"""The layout of UCI Online Retail, on a few rows and on the whole data set where it is at hand."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

import clustering_assets
from clustering_assets.sources.accounting import cancellation_outcomes, rejections_by_code
from clustering_assets.sources.ingestion import ingest
from clustering_assets_tests.sources.bronze import NOW, Bronze, csv_text

HEADER = ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"]
CHECKOUT = Path(clustering_assets.__file__).parents[1]
TEST_DATA = Path(os.environ.get("CLUSTERING_TEST_DATA", CHECKOUT.parent / "shared" / "data"))


def retail(*rows: tuple[str, str, str, str, str]) -> str:
    """Rows of invoice, stock code, quantity, day of January 2024 and customer."""
    return csv_text(
        HEADER,
        [[invoice, sku, "", quantity, f"2024-01-{day}", "2.5", who, "UK"] for invoice, sku, quantity, day, who in rows],
    )


def test_cancellations_become_returns_of_the_latest_purchase_before_them(bronze: Bronze) -> None:
    bronze.load(
        {
            "a.csv": retail(
                ("1", "A", "5", "01", "13085.0"),
                ("2", "A", "3", "02", "13085.0"),
                ("C3", "A", "-4", "03", "13085"),
                ("4", "A", "9", "04", "13085"),
                ("C5", "Z", "-1", "05", "13085"),
                ("c6", "A", "-20", "06", "13085"),
                ("C7", "A", "3", "07", "13085"),
            )
        }
    )
    assert bronze.lines("order_id, customer_id, quantity, line_value, return_quantity, return_date") == [
        ("1", "13085", 5, 12.5, 5, datetime(2024, 1, 6)),
        ("2", "13085", 3, 7.5, 3, datetime(2024, 1, 3)),
        ("4", "13085", 9, 22.5, 9, datetime(2024, 1, 6)),
        ("C7", "13085", 3, 7.5, 0, None),
    ]
    assert bronze.rows("select order_id, matched_quantity, outcome from bronze.cancellations order by 1") == [
        ("C3", 4, "matched"),
        ("C5", 0, "unmatched"),
        ("c6", 13, "partly matched"),
    ]
    assert bronze.rejected() == [(6, "UNMATCHED_CANCELLATION")]
    bronze.assert_sound()


NO_PRODUCTS = ["POST", "DOT", "M", "m", "D", "S", "C2", "CRUK", "BANK CHARGES", "AMAZONFEE", "B", "PADS"]
NO_PRODUCTS += ["ADJUST", "ADJUST2", "TEST001", "TEST002", "SP1002", "gift_0001_20"]


def test_fees_and_tests_are_no_products(bronze: Bronze) -> None:
    sold = [(str(place), code, "1", "01", "7") for place, code in enumerate(NO_PRODUCTS)]
    cancelled = [("C1", code, "-1", "01", "7") for code in NO_PRODUCTS]
    bronze.load({"a.csv": retail(*sold, *cancelled, ("1", "85123M", "1", "01", "7"))})
    assert bronze.rejected() == [(row, "NOT_A_PRODUCT") for row in range(2, 2 + len(sold) + len(cancelled))]
    assert bronze.line("sku") == ("85123M",)


def test_a_cancellation_waits_for_its_purchase_in_another_file(bronze: Bronze) -> None:
    bronze.load({"b.csv": retail(("C2", "A", "-1", "02", "7"), ("3", "Z", "1", "02", "7"))})
    assert bronze.rejected() == [(2, "UNMATCHED_CANCELLATION")]
    bronze.load({"a.csv": retail(("1", "A", "1", "01", "7"))})
    assert bronze.rejected() == []
    assert bronze.lines("sku, return_quantity") == [("A", 1), ("Z", 0)]
    (bronze.folder / "b.csv").unlink()
    bronze.load()
    assert bronze.lines("sku, return_quantity, return_date") == [("A", 0, None)]
    bronze.assert_sound()


def test_rows_that_a_later_file_has_too_count_once(bronze: Bronze) -> None:
    both = [("2", "A", "4", "02", "7"), ("C3", "A", "-3", "03", "7")]
    bronze.load(
        {"a.csv": retail(("1", "A", "1", "01", "7"), *both), "b.csv": retail(*both, ("4", "A", "1", "04", "7"))}
    )
    assert bronze.lines("source_file, order_id, return_quantity") == [
        ("a.csv", "1", 0),
        ("b.csv", "2", 3),
        ("b.csv", "4", 0),
    ]
    assert cancellation_outcomes(bronze.backend) == {"cancellations_matched": 1, "cancellations_superseded": 1}
    assert bronze.totals() == {"kept": 3, "rejected": 0, "superseded": 2, "merged": 1}
    bronze.assert_sound()


@pytest.mark.skipif(not (TEST_DATA / "online_retail_ii").is_dir(), reason=f"UCI Online Retail II is not in {TEST_DATA}")
def test_the_figures_of_uci_online_retail_ii(bronze: Bronze) -> None:
    ingest(bronze.backend, TEST_DATA / "online_retail_ii", NOW)
    bronze.assert_sound()
    assert bronze.rows("select rows_read, layout, reason from bronze.source_files") == [
        (1_067_371, "online_retail", "")
    ]
    assert bronze.totals() == {"kept": 766_130, "rejected": 248_332, "superseded": 26_405, "merged": 26_504}
    assert rejections_by_code(bronze.backend) == {
        "rejected_no_customer": 243_007,
        "rejected_not_a_product": 3_738,
        "rejected_unmatched_cancellation": 1_587,
    }
    outcomes = {"matched": 15_874, "partly_matched": 125, "unmatched": 1_587}
    assert cancellation_outcomes(bronze.backend) == {f"cancellations_{name}": rows for name, rows in outcomes.items()}
    # Of the 17,641 product cancellations with a customer, 55 are there twice.
    assert sum(outcomes.values()) == 17_641 - 55
    figures = "count(distinct customer_id), count(*) filter (return_quantity > 0)"
    assert bronze.rows(f"select {figures} from bronze.order_lines") == [(5_853, 15_653)]
