"""Typing of values: what a text becomes, and the flag of what cannot become anything."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clustering_assets_tests.sources.bronze import Bronze, order_lines

NOON = datetime(2024, 1, 31, 12, 30)


def typed(bronze: Bronze, columns: str, *rows: dict[str, str], separator: str = ",") -> list[tuple[object, ...]]:
    """Columns of the lines that rows of values come to."""
    numbered = [{"order_id": f"O{i}"} | row for i, row in enumerate(rows)]
    bronze.load({"lines.csv": order_lines(*numbered, separator=separator)})
    return bronze.lines(columns)


def test_a_quantity_is_a_whole_number_above_zero(bronze: Bronze) -> None:
    expected = {
        "3": (3, ""),
        " 3 ": (3, ""),
        "\t3": (3, ""),
        "+3": (3, ""),
        "3.0": (3, ""),
        "1,200": (1200, ""),
        "9007199254740992": (2**53, ""),
        "": (None, ""),
        " \t ": (None, ""),
        "3.7": (None, "BAD_QUANTITY"),
        "abc": (None, "BAD_QUANTITY"),
        "1,2": (None, "BAD_QUANTITY"),
        "1e400": (None, "BAD_QUANTITY"),
        "nan": (None, "BAD_QUANTITY"),
        "inf": (None, "BAD_QUANTITY"),
        "9007199254740994": (None, "BAD_QUANTITY"),
        "0": (None, "QUANTITY_NOT_POSITIVE"),
        "-2": (None, "QUANTITY_NOT_POSITIVE"),
    }
    found = typed(bronze, "quantity, quality_flags", *({"quantity": text} for text in expected))
    assert dict(zip(expected, found, strict=True)) == expected


def test_a_value_has_a_decimal_point_where_commas_separate(bronze: Bronze) -> None:
    expected = {
        "12.50": (12.5, ""),
        "-12.5": (-12.5, ""),
        "1,234.50": (1234.5, ""),
        " 1,234,567 ": (1234567, ""),
        "1,23.50": (None, "BAD_LINE_VALUE"),
        "12,50": (None, "BAD_LINE_VALUE"),
        "1.234,50": (None, "BAD_LINE_VALUE"),
        "-inf": (None, "BAD_LINE_VALUE"),
        "$5": (None, "BAD_LINE_VALUE"),
    }
    found = typed(bronze, "line_value, quality_flags", *({"line_value": text} for text in expected))
    assert dict(zip(expected, found, strict=True)) == expected


def test_a_point_among_decimal_commas_stands_between_thousands_or_the_value_is_bad(bronze: Bronze) -> None:
    expected = {
        "1.234,50": (1234.5, ""),
        "12,5": (12.5, ""),
        "1.234.567": (1234567, ""),
        "7": (7, ""),
        "12.5": (None, "BAD_LINE_VALUE"),
        "1.2345,0": (None, "BAD_LINE_VALUE"),
    }
    rows = ({"line_value": text} for text in expected)
    found = typed(bronze, "line_value, quality_flags", *rows, separator=";")
    assert dict(zip(expected, found, strict=True)) == expected
    assert bronze.reason("lines.csv") == "separated by semicolons, decimal commas"


def test_a_price_whose_product_with_the_quantity_is_no_number_gives_no_value(bronze: Bronze) -> None:
    header = "Invoice,StockCode,Quantity,InvoiceDate,Price,Customer ID\n"
    bronze.load({"a.csv": header + "1,A,1000000,2024-01-01,1e305,7\n2,A,2,2024-01-01,1.25,7\n"})
    assert bronze.lines("order_id, line_value") == [("1", None), ("2", 2.5)]


DATE_FAMILIES = {
    "%Y-%m-%d": "",
    "%Y/%m/%d": "",
    "%d/%m/%Y": "dates like %d/%m/%Y",
    "%d.%m.%Y": "dates like %d.%m.%Y",
    "%d-%m-%Y": "dates like %d-%m-%Y",
    "%d/%m/%y": "dates like %d/%m/%y",
    "%d.%m.%y": "dates like %d.%m.%y",
    "%m/%d/%Y": "dates like %m/%d/%Y",
    "%m-%d-%Y": "dates like %m-%d-%Y",
    "%m/%d/%y": "dates like %m/%d/%y",
    "%Y.%m.%d": "dates like %Y.%m.%d",
    "%Y%m%d": "dates like %Y%m%d",
}


@pytest.mark.parametrize("family", DATE_FAMILIES)
def test_dates_of_every_family_are_recognised_with_and_without_a_time(bronze: Bronze, family: str) -> None:
    times = ["", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p"]
    if DATE_FAMILIES[family] == "":
        times = times[:3] if family == "%Y-%m-%d" else ["", " %H:%M:%S"]
    moments = [NOON + timedelta(days=i) for i in range(len(times))]
    moments[0] = datetime(2024, 1, 31)
    dates = [moment.strftime(family + time) for moment, time in zip(moments, times, strict=True)]
    rows = [{"order_id": f"O{i}", "order_date": f" {date}\t"} for i, date in enumerate(dates)]
    bronze.load({"lines.csv": order_lines(*rows)})
    assert bronze.lines("order_date, quality_flags") == [(moment, "") for moment in moments]
    assert bronze.reason("lines.csv") == DATE_FAMILIES[family]


def test_day_and_month_that_could_change_places_are_read_day_first_and_it_is_said(bronze: Bronze) -> None:
    assert typed(bronze, "order_date", {"order_date": "03/04/2024"}) == [(datetime(2024, 4, 3),)]
    assert "day and month may be the other way round" in bronze.reason("lines.csv")


def test_a_file_can_write_its_two_dates_in_two_ways(bronze: Bronze) -> None:
    values = {"order_date": "2024-01-31 12:30:00", "return_date": "02/13/2024", "return_quantity": "1"}
    found = typed(bronze, "order_date, return_date, quality_flags", values)
    assert found == [(NOON, datetime(2024, 2, 13), "")]


def test_offsets_from_utc_are_honoured(bronze: Bronze) -> None:
    dates = (
        "2024-01-31 12:30:00",
        "2024-01-31T12:30:00Z",
        "2024-01-31 12:30:00+00",
        "2024-01-31T14:30:00+02:00",
        "2024-01-31 07:00:00-05:30",
        "2024-01-31 12:30:00.000000",
    )
    found = typed(bronze, "order_date, quality_flags", *({"order_date": date} for date in dates))
    assert dict(zip(dates, found, strict=True)) == dict.fromkeys(dates, (NOON, ""))


def test_what_is_no_date_of_our_time_is_null_with_a_flag(bronze: Bronze) -> None:
    dates = ("31/31/2024", "2024-02-30", "soon", "0024-01-01", "2300-01-01", "infinity", "45292")
    good = [{"order_date": "2024-01-31", "return_date": "2024-01-31"}] * len(dates)
    bad = [{"order_date": date, "return_date": date} for date in dates]
    found = typed(bronze, "order_date, return_date, quality_flags", *bad, *good)
    assert found[: len(bad)] == [(None, None, "BAD_ORDER_DATE;BAD_RETURN_DATE")] * len(bad)


def test_a_return_comes_after_its_order_and_is_not_larger(bronze: Bronze) -> None:
    cases: list[tuple[dict[str, str], tuple[int, datetime | None, str]]] = [
        ({"return_quantity": "1", "return_date": "2024-03-09"}, (1, datetime(2024, 3, 9), "")),
        ({"return_quantity": "1", "return_date": "2024-03-05"}, (1, datetime(2024, 3, 5, 10), "")),
        ({"return_quantity": "1", "return_date": "2024-03-04"}, (1, None, "RETURN_BEFORE_ORDER")),
        ({"return_quantity": "3"}, (2, None, "RETURN_EXCEEDS_QUANTITY")),
        ({"return_quantity": "-1"}, (0, None, "BAD_RETURN_QUANTITY")),
        ({"return_quantity": "x"}, (0, None, "BAD_RETURN_QUANTITY")),
        ({"return_quantity": ""}, (0, None, "")),
        ({"return_quantity": "5", "quantity": ""}, (5, None, "")),
        ({"return_quantity": "1", "return_date": "2024-03-04", "order_date": ""}, (1, datetime(2024, 3, 4), "")),
    ]
    found = typed(bronze, "return_quantity, return_date, quality_flags", *(values for values, _ in cases))
    assert found == [expected for _, expected in cases]


def test_customer_ids_are_trimmed_and_lower_case_when_they_are_addresses(bronze: Bronze) -> None:
    expected = {
        " Ann@Example.COM  ": "ann@example.com",
        "\tann@example.com\r\n": "ann@example.com",
        " Müller 7 ": "Müller 7",
        "ÄNN@X.DE": "änn@x.de",
    }
    found = typed(bronze, "source_customer_id, customer_id", *({"customer_id": text} for text in expected))
    assert dict(found) == expected


def test_a_row_without_customer_order_or_sku_is_rejected_with_the_first_that_lacks(bronze: Bronze) -> None:
    required = ["customer_id", "order_id", "sku"]
    lacking = [dict.fromkeys(required[i:], blank) for blank in ("", " ", "\t", " \t \r\n") for i in range(3)]
    assert typed(bronze, "category", *lacking, {"category": " "}) == [(None,)]
    codes = ["NO_CUSTOMER", "NO_ORDER", "NO_SKU"] * 4
    assert bronze.rejected() == [(row, code) for row, code in enumerate(codes, start=2)]
    texts = bronze.rows("select raw_text from bronze.rejected_rows order by source_row")
    assert texts[8] == ("O8,ann@example.com,\t,2024-03-05 10:00:00,2,10.5,0,,shoes",)
    bronze.assert_sound()


NUMBERS = st.floats(allow_nan=True, allow_infinity=True).map(repr) | st.integers().map(str) | st.text(max_size=4)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_number_is_kept_exactly_or_null(bronze: Bronze, numbers: list[tuple[str, str]]) -> None:
    clean = [[text.replace("\0", "").encode(errors="ignore").decode() for text in pair] for pair in numbers]
    rows = [{"order_id": f"O{i}", "quantity": one, "line_value": other} for i, (one, other) in enumerate(clean)]
    bronze.load({"lines.csv": order_lines(*rows)})
    assert bronze.statuses() == [("lines.csv", "loaded")]
    found = bronze.lines("quantity, line_value, quality_flags")
    assert len(found) == len(rows)
    for (quantity, value, flags), row in zip(found, rows, strict=True):
        for number, text, flag in (
            (quantity, row["quantity"], "QUANTITY"),
            (value, row["line_value"], "BAD_LINE_VALUE"),
        ):
            if number is None:
                assert flag in flags or not text.strip()
            else:
                assert math.isfinite(number)
                assert number == float(text.replace(",", ""))
