"""``source.yaml``: what it can say, and what is said about what it cannot."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clustering_assets.sources.ingestion import ingest
from clustering_assets.sources.layout import CANONICAL, Repeats
from clustering_assets.sources.mapping import BadMapping, layouts_for
from clustering_assets_tests.sources.bronze import NOW, Bronze, order_lines

COLUMNS = "columns: {order_id: Bestellung, customer_id: Kunde, sku: Artikel, order_date: Datum, line_value: Betrag}\n"
KEYS = "order_id: a, customer_id: b, sku: c"
GERMAN = "Kunde;Bestellung;Artikel;Datum;Betrag\nann;1;X;03.04.2024;1.009,50\nann;1;X;05.04.2024;2,5\n"


def test_a_mapping_names_columns_formats_and_the_rule_for_repeats(bronze: Bronze) -> None:
    mapping = COLUMNS + 'date_format: "%d.%m.%Y"\ndecimal_mark: ","\nrepeats: sum\n'
    bronze.load({"source.yaml": mapping, "a.csv": GERMAN, "b.csv": order_lines({})})
    assert bronze.lines("order_id, order_date, line_value") == [
        ("1", datetime(2024, 4, 3), 1012.0),
        ("O1", datetime(2024, 3, 5, 10), 10.5),
    ]
    assert bronze.rows("select source_file, layout from bronze.source_files order by 1") == [
        ("a.csv", "source.yaml"),
        ("b.csv", "order_lines"),
    ]
    assert "other way round" not in bronze.reason("a.csv")


def test_what_is_not_given_is_found_out_and_the_last_row_wins(bronze: Bronze) -> None:
    bronze.load({"source.yaml": COLUMNS, "a.csv": GERMAN})
    assert bronze.line("order_date, line_value") == (datetime(2024, 4, 5), 2.5)


def test_a_format_of_the_day_reads_times_too(bronze: Bronze) -> None:
    german = "Kunde;Bestellung;Artikel;Datum;Betrag\nann;1;X;31.12.2024 14:05;1,5\nann;2;X;31.12.2024;1,5\n"
    bronze.load({"source.yaml": COLUMNS + 'date_format: "%d.%m.%Y"\n', "a.csv": german})
    assert bronze.lines("order_date") == [(datetime(2024, 12, 31, 14, 5),), (datetime(2024, 12, 31),)]


@pytest.mark.parametrize("given", ["%Y/%m/%d", "%d.%m.%Y %H:%M"])
def test_a_format_that_fits_no_date_at_all_is_named(bronze: Bronze, given: str) -> None:
    bronze.load({"source.yaml": COLUMNS + f'date_format: "{given}"\n', "a.csv": GERMAN, "b.csv": order_lines({})})
    assert f"has no order date that is written as the date_format '{given}'" in bronze.reason("a.csv")


def test_a_column_that_the_mapping_names_and_the_file_lacks_is_named(bronze: Bronze) -> None:
    bronze.load({"source.yaml": COLUMNS.replace("Betrag", "Wert"), "a.csv": GERMAN, "b.csv": order_lines({})})
    assert "has no column Wert, which source.yaml names: write there what the header" in bronze.reason("a.csv")


CANCELLING = (
    "columns: {order_id: Beleg, customer_id: Kunde, sku: Artikel, order_date: Datum, "
    "quantity: Menge, unit_price: Preis}\n"
    "repeats: sum\ncancellations: negative_quantity\n"
)
WITH_CREDIT_NOTES = (
    "Beleg;Kunde;Artikel;Datum;Menge;Preis\n1;ann;X;01.02.2024;5;2,5\nG7;ann;X;13.02.2024;-2;2,5\n"
    "G8;bob;X;13.02.2024;-1;2,5\n"
)


def test_negative_quantities_cancel_earlier_purchases_if_the_mapping_says_so(bronze: Bronze) -> None:
    bronze.load({"source.yaml": CANCELLING, "a.csv": WITH_CREDIT_NOTES})
    assert bronze.lines("order_id, quantity, line_value, return_quantity, return_date") == [
        ("1", 5, 12.5, 2, datetime(2024, 2, 13))
    ]
    assert bronze.rows("select split_part(reason, ':', 1) from bronze.rejected_rows") == [("UNMATCHED_CANCELLATION",)]
    bronze.load(
        {"source.yaml": CANCELLING.replace("cancellations: negative_quantity\n", ""), "a.csv": WITH_CREDIT_NOTES}
    )
    assert bronze.lines("order_id, return_quantity, quality_flags") == [
        ("1", 0, ""),
        ("G7", 0, "QUANTITY_NOT_POSITIVE"),
        ("G8", 0, "QUANTITY_NOT_POSITIVE"),
    ]


def test_formats_are_those_of_text_not_of_typed_columns(bronze: Bronze) -> None:
    mapping = COLUMNS + 'date_format: "%d.%m.%Y"\ndecimal_mark: ","\n'
    out = pa.BufferOutputStream()
    columns = {"Bestellung": [7], "Kunde": [3.0], "Artikel": ["X"], "Datum": [NOW], "Betrag": [1.125]}
    pq.write_table(pa.table(columns), out)
    bronze.load({"source.yaml": mapping, "a.parquet": out.getvalue().to_pybytes()})
    assert bronze.line("order_id, customer_id, order_date, line_value, quality_flags") == ("7", "3", NOW, 1.125, "")


def test_a_known_layout_can_be_given_with_its_formats(bronze: Bronze) -> None:
    mapping = 'layout: order_lines\ndate_format: "%d/%m/%Y"\n'
    unknown = "Invoice,StockCode,Quantity,InvoiceDate,Price,Customer ID\n1,A,5,2024-01-01,2,7\n"
    bronze.load({"source.yaml": mapping, "a.csv": order_lines({"order_date": "03/04/2024"}), "b.csv": unknown})
    assert bronze.line("order_date") == (datetime(2024, 4, 3),)
    assert "looks like the layout order_lines" in bronze.reason("b.csv") or "no known layout" in bronze.reason("b.csv")


def test_every_canonical_column_can_be_mapped(bronze: Bronze) -> None:
    columns = "\n".join(f"  {name}: the {name}" for name in CANONICAL)
    bronze.write({"source.yaml": f"columns:\n{columns}\nrepeats: returns\n"})
    first = layouts_for(bronze.folder)[0]
    assert first.columns == {name: (f"the {name}",) for name in CANONICAL}
    assert first.repeats is Repeats.RETURNS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file: "),
        ("- a\n- b\n", "the file: "),
        ("a: b: c", "is no readable YAML"),
        (b"columns: \xff", "is no readable YAML"),
        ("repeats: sum", "give either 'layout' or 'columns'"),
        (f"layout: order_lines\ncolumns: {{{KEYS}}}", "give either 'layout' or 'columns'"),
        ("layout: sap", "'layout' is one of returns_export, online_retail, order_lines"),
        (
            f"columns: {{{KEYS}, return_date: d}}\ncancellations: negative_quantity",
            "known from 'cancellations' or from return_date: leave one out",
        ),
        (f"columns: {{{KEYS}}}\ndate_format: %d.%m.%Y", "in line 2: .*put a value that starts with a sign, such as %"),
        (f"columns: {{{KEYS}}}\ncancellations: C", "cancellations: Input should be 'negative_quantity'"),
        ("layout: order_lines\nrepeats: sum", "only date_format and decimal_mark go with it"),
        ("columns: {order_id: a, sku: c}", "'columns' lacks customer_id"),
        (f"columns: {{{KEYS}, colour: d}}", r"columns\.colour: is no column of an order line; those are order_id"),
        (f"columns: {{{KEYS}, brand: 7}}", r"columns\.brand: Input should be a valid string"),
        (f"columns: {{{KEYS}, brand: ''}}", r"columns\.brand: String should have at least 1 character"),
        (
            f"columns: {{{KEYS}}}\ndate_format: DD.MM.YYYY",
            "date_format: 'DD.MM.YYYY' is no strptime format; one is %d.%m.%Y",
        ),
        (f"columns: {{{KEYS}}}\ndecimal_mark: ';'", "decimal_mark: Input should be '.' or ','"),
        (f"columns: {{{KEYS}}}\nrepeats: first", "repeats: Input should be 'latest', 'sum' or 'returns'"),
        (f"columns: {{{KEYS}}}\nencoding: latin-1", "encoding: Extra inputs are not permitted"),
    ],
)
def test_what_a_mapping_gets_wrong_is_named_with_file_and_key(bronze: Bronze, text: str | bytes, message: str) -> None:
    bronze.write({"source.yaml": text, "a.csv": order_lines({})})
    with pytest.raises(BadMapping, match=message) as why:
        ingest(bronze.backend, bronze.folder, NOW)
    assert str(bronze.folder / "source.yaml") in str(why.value)
    assert bronze.backend.list_tables(database="bronze") == []


def test_an_unknown_configured_layout_is_refused(bronze: Bronze) -> None:
    bronze.write({"a.csv": order_lines({})})
    with pytest.raises(BadMapping, match="the layout 'sap' is unknown: set one of returns_export, "):
        ingest(bronze.backend, bronze.folder, NOW, layout="sap")


def test_a_configured_layout_is_the_only_one_and_beats_the_mapping(bronze: Bronze) -> None:
    bronze.load({"source.yaml": "layout: online_retail", "a.csv": order_lines({})}, layout="order_lines")
    assert bronze.statuses() == [("a.csv", "loaded")]
