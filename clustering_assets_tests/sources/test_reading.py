"""The shape of files: encodings, separators, rows that are none, their numbers; Parquet types and sheets."""

from __future__ import annotations

import gzip
import io
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter

from clustering_assets_tests.sources.bronze import Bronze, order_lines

HEADER = "order_id,customer_id,sku\n"


def numbered(bronze: Bronze) -> dict[int, str]:
    """Source row -> order number, or the code of the rejection."""
    lines = bronze.rows("select source_row, order_id from bronze.order_lines")
    return dict(sorted(lines + bronze.rejected()))


def test_rows_are_numbered_as_they_stand_with_the_header_as_the_first(bronze: Bronze) -> None:
    rows = ["1,a,X", "bad", "also,bad", "2,a,X", "3,,X", "1,2,3,4,5", '4,a,"X\nY"', "5,a,X", "", "bad"]
    bronze.load({"a.csv": HEADER + "\n".join(rows)})
    codes = {3: "UNPARSABLE", 4: "UNPARSABLE", 6: "NO_CUSTOMER", 7: "UNPARSABLE"}
    found = numbered(bronze)
    assert {row: found[row] for row in range(2, 10)} == codes | {2: "1", 5: "2", 8: "4", 9: "5"}
    assert list(found.values()).count("UNPARSABLE") == 4
    reasons = bronze.rows("select reason, raw_text from bronze.rejected_rows order by source_row limit 4")
    assert reasons == [
        ("UNPARSABLE: Expected Number of Columns: 3 Found: 1", "bad"),
        ("UNPARSABLE: Expected Number of Columns: 3 Found: 2", "also,bad"),
        ("NO_CUSTOMER: the row has no customer id", "3,,X"),
        ("UNPARSABLE: Expected Number of Columns: 3 Found: 5", "1,2,3,4,5"),
    ]
    bronze.assert_sound()


def test_many_unparsable_rows_in_a_large_file_keep_their_places(bronze: Bronze) -> None:
    rows = ["bad" if number % 7 == 0 else f"{number},a,X" for number in range(2, 60_000)]
    bronze.load({"a.csv": HEADER + "\n".join(rows)})
    assert bronze.rows("select count(*) from bronze.order_lines where order_id <> source_row::varchar") == [(0,)]
    assert bronze.rows("select count(*), count(*) filter (source_row % 7 = 0) from bronze.rejected_rows") == [
        (8571, 8571)
    ]


TEXTS = {
    "utf_8.csv": (HEADER + "1,a,Größe\n").encode(),
    "utf_8_with_mark.csv": b"\xef\xbb\xbf" + (HEADER + "2,a,Größe\n").encode(),
    "latin_1.csv": (HEADER + "3,a,Größe\n").encode("latin-1"),
    "windows.csv": (HEADER + "4,a,Größe\n").encode("cp1252"),
    "utf_16.csv": (HEADER + "5,a,Größe\n").encode("utf-16"),
    "utf_16_be.csv": b"\xfe\xff" + (HEADER + "6,a,Größe\n").encode("utf-16-be"),
    "latin_1.csv.gz": gzip.compress((HEADER + "7,a,Größe\n").encode("latin-1")),
    "members.csv.gz": gzip.compress(HEADER.encode()) + gzip.compress("8,a,Größe\n".encode()),
    "late.csv": (HEADER + "9,,\n" * 400_000 + "9,a,Größe\n").encode("latin-1"),
    "cr.csv": (HEADER + "10,a,Größe\n").replace("\n", "\r").encode(),
    "crlf.csv": (HEADER + "11,a,Größe\n").replace("\n", "\r\n").encode(),
    "mixed.csv": (HEADER + "12,a,Größe\r\n13,a,Größe\n").encode(),
    "tabs.csv": (HEADER + "14,a,Größe\n").replace(",", "\t").encode(),
    "bars.csv": (HEADER + "15,a,Größe\n").replace(",", "|").encode(),
    "no_end.csv": (HEADER + "16,a,Größe").encode(),
    "separator_at_the_end.csv": (HEADER + "17,a,Größe,\n18,a,Größe,\n").encode(),
    "quoted_header.csv": ('"order_id","customer_id","sku","a\nb, ""c"""\n19,a,Größe,x\n').encode(),
}


def test_text_is_read_in_any_common_encoding_and_form(bronze: Bronze) -> None:
    bronze.load(TEXTS)
    assert bronze.statuses() == [(name, "loaded") for name in sorted(TEXTS)]
    assert {sku for (sku,) in bronze.lines("sku")} == {"Größe"}
    assert sorted(int(order) for (order,) in bronze.lines("order_id")) == list(range(1, 20))
    assert bronze.reason("latin_1.csv.gz") == "Latin-1 (Windows-1252)"
    assert bronze.reason("late.csv") == "Latin-1 (Windows-1252)"
    assert bronze.reason("utf_16_be.csv") == "UTF-16"
    assert bronze.reason("mixed.csv") == "with line ends of several kinds"
    assert bronze.reason("tabs.csv") == "separated by tabs"
    bronze.assert_sound()


def test_what_is_damaged_within_a_good_file_costs_its_row_only(bronze: Bronze) -> None:
    rows = b"1,a,Gr\xc3\xb6\xc3\x9fe\n" + b"0,,\n" * 400_000
    bad = [b"2,a,Gr\xf6\xdfe\n", b"3,a," + b"x" * 2_100_000 + b"\n", b'4,a,"X"Y\n', b"\0\0\n"]
    bronze.load({"a.csv": HEADER.encode() + rows + b"".join(bad) + b"5,a,X\0Y\n"})
    assert bronze.lines("order_id, sku") == [("1", "Größe"), ("5", "X\0Y")]
    problems = bronze.rows(
        "select reason from bronze.rejected_rows where reason like 'UNPARSABLE%' order by source_row"
    )
    for (problem,), words in zip(problems, ["unicode", "line size", "quote", "Found: 1"], strict=True):
        assert words in problem
    bronze.assert_sound()


COMMENTED = "order_id,customer_id,sku,comment\n"


@pytest.mark.parametrize(
    ("rows", "opens", "closes"),
    [(1_000, 500, None), (300_000, 1_000, None), (300_000, 1_000, 200_000)],
    ids=["to the end", "in a file that is read in parts", "for many rows"],
)
def test_a_file_in_which_an_open_quote_hides_rows_is_refused(
    bronze: Bronze, rows: int, opens: int, closes: int | None
) -> None:
    """A reader that works in parallel finds its way back somewhere behind the quote, and what is between is gone."""
    comments = {opens: '"open', closes: 'shut"'}
    lines = "".join(f"o{i},c{i % 500},s,{comments.get(i, 'as good as new, yet sent back')}\n" for i in range(rows))
    bronze.load({"a.csv": COMMENTED + lines, "b.csv": HEADER + "1,a,X\n"})
    assert bronze.statuses() == [("a.csv", "unusable"), ("b.csv", "loaded")]
    assert re.match(
        rf"has a quotation mark in row {opens + 2} that is not closed, which hides [0-9,]+ lines: close it, or double",
        bronze.reason("a.csv"),
    )


def test_a_line_end_is_a_part_of_a_value_that_is_quoted(bronze: Bronze) -> None:
    values = '1,a,X,"one\n\ntwo\r\nthree\n"\n2,a,X,"one\ntwo",and more\n3,a,X,"end\n'
    bronze.load({"a.csv": 'order_id,customer_id,sku,"comment\nof two lines"\n' + values[: values.index("3,a")]})
    assert numbered(bronze) == {2: "1", 3: "UNPARSABLE"}
    bronze.load({"a.csv": COMMENTED + "1,a,X,\n" + '2,a,X,"open\n'})
    assert numbered(bronze) == {2: "1", 3: "UNPARSABLE"}, "a quote in the last row hides nothing"


BROKEN = {
    "blank.csv": ("\n \n", "is empty: export it again or delete it"),
    "mark.csv": ("\ufeff", "is empty: export it again or delete it"),
    "packed_nothing.csv.gz": (gzip.compress(b""), "is empty: export it again or delete it"),
    "one_column.csv": ("order_id\n1\n", "lacks the required columns customer_id, sku"),
    "title_first.csv": ("Report\n" + HEADER, "has no known layout (columns: 1, known of them: none; "),
    "long_header.csv": ("x" * 200_000 + "," + HEADER, "has no readable header (field larger than"),
    "nul.csv": (HEADER + "1,a,X\0\n", "is called .csv but is no text"),
    "utf_32.csv": (HEADER.encode("utf-32"), "is called .csv but is no text"),
    "wrong_sum.csv.gz": (gzip.compress(HEADER.encode())[:-8] + b"8bytes..", "is no intact gzip file (CRC"),
    "padded.csv.gz": (gzip.compress(b"order_id,customer_id,sku\n1,a,X\n") + b"\0" * 9, "is a damaged CSV file"),
}


def test_what_is_no_table_is_refused_with_a_reason(bronze: Bronze) -> None:
    bronze.load({"good.csv": order_lines({}), **{name: content for name, (content, _) in BROKEN.items()}})
    for name, (_, words) in BROKEN.items():
        assert words in bronze.reason(name)
    assert bronze.statuses() == sorted([(name, "unusable") for name in BROKEN] + [("good.csv", "loaded")])


# ------------------------------------------------------------------------------------------------------------ Parquet


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"order_id": ["1", "2"], "customer_id": ["a", "b"], "sku": ["X", "Y"]} | columns), out)
    return out.getvalue()


def test_parquet_rows_start_at_one_and_types_come_through(bronze: Bronze) -> None:
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    content = parquet(
        order_id=pa.array([1.0, 2.5]),
        customer_id=pa.array([13085, 7], pa.uint64()),
        order_date=pa.array([noon, None], pa.timestamp("us", tz="America/New_York")),
        quantity=pa.array([3.0, float("nan")]),
        line_value=[Decimal("1.50"), Decimal("-2.25")],
        return_quantity=pa.array([1, 0], pa.int8()),
        return_date=[date(2024, 1, 5), None],
        category=pa.array(["shoes", None]).dictionary_encode(),
    )
    bronze.load({"a.parquet": content})
    assert bronze.lines(
        """source_row, order_id, customer_id, order_date, quantity, line_value, return_quantity, return_date, category,
           quality_flags"""
    ) == [
        (1, "1", "13085", datetime(2024, 1, 1, 12), 3, 1.5, 1, datetime(2024, 1, 5), "shoes", ""),
        (2, "2.5", "7", None, None, -2.25, 0, None, None, ""),
    ]


def test_odd_parquet_columns_become_flags_not_failures(bronze: Bronze) -> None:
    content = parquet(
        quantity=pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
        line_value=[{"a": 1}, None],
        order_date=[[1], [2, 3]],
        category=[b"raw", b"\xff"],
        sku=["X", None],
        **{'od"d;name': [1, 2], "": [1, 2], "SKU": ["other", "other"], "filename": ["f", "g"]},
    )
    bronze.load({"sku=Z/a.parquet": content})
    assert bronze.line("sku, quality_flags, category") == ("X", "BAD_ORDER_DATE;BAD_QUANTITY;BAD_LINE_VALUE", "raw")
    assert bronze.rejected() == [(2, "NO_SKU")]


def test_text_columns_of_parquet_may_have_decimal_commas(bronze: Bronze) -> None:
    bronze.load({"a.parquet": parquet(line_value=["1.234,5", "7"], quantity=[1000, 2])})
    assert bronze.lines("line_value, quantity") == [(1234.5, 1000), (7.0, 2)]


def test_a_parquet_file_without_rows_is_unusable(bronze: Bronze) -> None:
    none = pa.array([], pa.string())
    bronze.load({"a.parquet": parquet(order_id=none, customer_id=none, sku=none), "b.csv": order_lines({})})
    assert "has no rows" in bronze.reason("a.parquet")


# ---------------------------------------------------------------------------------------------------------- Workbooks

COLUMNS = ["order_id", "customer_id", "sku", "order_date", "quantity", "line_value"]
NOON = datetime(2024, 1, 31, 12)
ROW = ["1", "a", "X", NOON, 2, 1.5]


def save(path: Path, sheets: dict[str, list[list[Any]]], corner: tuple[int, int] = (0, 0)) -> None:
    with xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd hh:mm"}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for place, row in enumerate(rows):
                sheet.write_row(corner[0] + place, corner[1], row)


def test_each_sheet_with_a_header_is_read_and_the_others_are_named(bronze: Bronze) -> None:
    save(
        bronze.folder / "a.xlsx",
        {
            "lines": [COLUMNS, ROW],
            "B#2": [["Report"], [], COLUMNS, ["2", *ROW[1:]]],
            "notes": [["a", "b"], [1, 2]],
            "header": [COLUMNS],
            "empty": [],
        },
    )
    bronze.load()
    assert bronze.lines("source_file, source_row, order_id, order_date, quantity, line_value") == [
        ("a.xlsx#B#2", 4, "2", NOON, 2, 1.5),
        ("a.xlsx#lines", 2, "1", NOON, 2, 1.5),
    ]
    assert bronze.reason("a.xlsx#empty") == "the sheet is empty"
    assert bronze.reason("a.xlsx#header") == "the sheet has a header and no rows: nothing to load"
    assert bronze.reason("a.xlsx#notes").startswith("the sheet has no known layout (columns: 2, known of them: none; ")
    bronze.assert_sound()


def test_a_table_may_start_anywhere_and_have_blank_rows(bronze: Bronze) -> None:
    rows = [COLUMNS, ROW, [], [None, " "], ["2", *ROW[1:], "beyond the header"], ["3"]]
    save(bronze.folder / "a.xlsx", {"S": rows}, corner=(3, 2))
    bronze.load()
    assert numbered(bronze) == {5: "1", 8: "2", 9: "NO_CUSTOMER"}
    bronze.assert_sound()


def test_numbers_that_are_ids_have_no_decimals(bronze: Bronze) -> None:
    rows = [COLUMNS, [489434, 13085, 22041, NOON, 2, 1], [489435, 13085, "85123A", NOON, "abc", 2.25]]
    save(bronze.folder / "a.xlsx", {"S": rows})
    bronze.load()
    assert bronze.lines("order_id, customer_id, sku, quantity, line_value, quality_flags") == [
        ("489434", "13085", "22041", 2, 1.0, ""),
        ("489435", "13085", "85123A", None, 2.25, "BAD_QUANTITY"),
    ]


def test_a_workbook_without_a_usable_sheet_is_unusable(bronze: Bronze) -> None:
    save(bronze.folder / "a.xlsx", {"S": [], "T": [["x"]]})
    bronze.load({"b.csv": order_lines({})})
    assert bronze.reason("a.xlsx").startswith("sheet 'S' is empty; sheet 'T' has no known layout")
