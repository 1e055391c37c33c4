"""Recognising a layout from a header."""

from __future__ import annotations

import pytest

from clustering_assets.sources import online_retail, order_lines, returns_export
from clustering_assets.sources.files import UnusableFile
from clustering_assets.sources.layout import READABLE, recognise
from clustering_assets.sources.mapping import KNOWN_LAYOUTS
from clustering_assets_tests.sources.bronze import Bronze

KNOWN = list(KNOWN_LAYOUTS.values())
FIRST_EDITION = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (["order_id", "customer_id", "sku"], "order_lines"),
        ([f" {name.upper()}\t" for name in READABLE], "order_lines"),
        ([names[0] for names in returns_export.COLUMNS.values()], "returns_export"),
        ([returns_export.COLUMNS[name][0].lower() for name in returns_export.REQUIRED], "returns_export"),
        ([names[0] for names in online_retail.COLUMNS.values()], "online_retail"),
        (FIRST_EDITION, "online_retail"),
        (["", "sku", "", "customer_id", "order_id", "sku"], "order_lines"),
    ],
)
def test_a_layout_is_known_by_its_required_columns_in_any_order_and_case(header: list[str], name: str) -> None:
    assert recognise(header, KNOWN).name == name


@pytest.mark.parametrize("layout", KNOWN, ids=lambda layout: layout.name)
def test_each_required_column_is_missed_by_name(layout: object) -> None:
    known = KNOWN_LAYOUTS[str(getattr(layout, "name", ""))]
    for lacking in known.required:
        header = [known.columns[name][0] for name in known.required if name != lacking]
        with pytest.raises(
            UnusableFile, match=f"looks like the layout {known.name} but lacks the required column "
        ) as why:
            recognise(header, KNOWN)
        assert f"column {known.columns[lacking][0]}: add what is missing" in str(why.value)


def test_of_an_unknown_header_only_known_names_are_shown_since_it_may_be_somebodys_data() -> None:
    header = ["ann@example.com", "", "BRAND_", "brand_", *(f"column {i}" for i in range(2996))]
    with pytest.raises(UnusableFile) as why:
        recognise(header, KNOWN)
    assert str(why.value) == (
        "has no known layout (columns: 3,000, known of them: BRAND_; known layouts: returns_export, online_retail, "
        "order_lines): name its columns in source.yaml"
    )


def test_of_two_columns_with_one_name_the_first_counts() -> None:
    assert order_lines.LAYOUT.positions(["x", "sku", "SKU", "order_id"]) == {"order_id": 3, "sku": 1}


def test_the_preferred_name_of_a_column_wins() -> None:
    assert online_retail.LAYOUT.positions(["UnitPrice", "Price"]) == {"unit_price": 1}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_headers_with_marks_quotes_and_blanks_load(bronze: Bronze, mark: str, quote: str) -> None:
    header = f"{mark}{quote}Order_ID{quote}, CUSTOMER_ID ,sku,sku,,\n"
    bronze.load({"a.csv": header + "1,a,X,Y,,\n"})
    assert bronze.line("order_id, customer_id, sku") == ("1", "a", "X")
