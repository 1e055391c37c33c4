"""Workbooks equal their table to the last digit, and what a cell cannot hold stays visible and is counted."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl.utils.escape import unescape

from clustering_assets.contracts import CUSTOMER_FEATURES, Column, TableContract
from clustering_assets.reports.data_dictionary import DICTIONARY_HEADER, dictionary_row
from clustering_assets.reports.workbook import (
    CUT_MARK,
    MAX_TEXT,
    WorkbookFacts,
    export_name,
    number_format,
    write_workbook,
)

ARROW_TYPES = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "timestamp": pa.timestamp("us")}
EPOCH = datetime(1899, 12, 30)

few_examples = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def contract_of(type_: str, unit: str = "") -> TableContract:
    columns = (Column("key", "int64", "Row number."), Column("value", type_, "A value.", unit=unit))
    return TableContract("silver", "values", "Values to write.", "One row per value", ("key",), columns)


def table_of(type_: str, values: Sequence[Any]) -> pa.Table:
    return pa.table({"key": pa.array(range(len(values)), pa.int64()), "value": pa.array(values, ARROW_TYPES[type_])})


def write_and_read(type_: str, values: Sequence[Any]) -> tuple[WorkbookFacts, list[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        facts = write_workbook(Path(folder) / "values.xlsx", contract_of(type_), table_of(type_, values))
        sheet = openpyxl.load_workbook(facts.path).worksheets[0]
        read = [unescape(cell) if isinstance(cell, str) else cell for (cell,) in sheet.iter_rows(2, None, 2, 2, True)]
        return facts, read[: len(values)] + [None] * (len(values) - len(read))


def customer_features(rows: int) -> pa.Table:
    """Random rows of the silver contract, one null in five."""
    random = np.random.default_rng(7)
    values = {
        "string": lambda: random.choice(["", "Änne <a&b>", "=1+1", "0123", "日本\n x "], rows),
        "int64": lambda: random.integers(-(10**14), 10**14, rows),
        "float64": lambda: random.standard_normal(rows) * 10.0 ** random.integers(-30, 30, rows),
        "timestamp": lambda: random.integers(0, 3 * 10**9, rows) * 10**6,
    }
    return pa.table(
        {
            column.name: pa.array(values[column.type](), mask=random.random(rows) < 0.2).cast(ARROW_TYPES[column.type])
            for column in CUSTOMER_FEATURES.columns
        }
    )


def test_the_data_sheet_equals_the_table_and_the_second_sheet_is_its_dictionary(tmp_path: Path) -> None:
    table = customer_features(3000)  # more than one block of rows
    facts = write_workbook(tmp_path / "features.xlsx", CUSTOMER_FEATURES, table)
    book = openpyxl.load_workbook(facts.path, read_only=True)

    assert book.sheetnames == ["customer_features", "Data dictionary"]
    header, *rows = book.worksheets[0].iter_rows(values_only=True)
    assert header == CUSTOMER_FEATURES.column_names
    assert rows == [tuple(row.values()) for row in table.to_pylist()]
    assert facts == WorkbookFacts(tmp_path / "features.xlsx", 3000, 44, facts.path.stat().st_size, 1)

    dictionary = [tuple(cell or "" for cell in row) for row in book.worksheets[1].iter_rows(values_only=True)]
    top = dictionary.index(DICTIONARY_HEADER)
    assert dictionary[top + 1 :] == [dictionary_row(column) for column in CUSTOMER_FEATURES.columns]


def test_columns_may_come_in_any_order_and_in_batches(tmp_path: Path) -> None:
    table = customer_features(50)
    shuffled = table.select(table.column_names[::-1])
    one = write_workbook(tmp_path / "one.xlsx", CUSTOMER_FEATURES, table)
    two = write_workbook(tmp_path / "two.xlsx", CUSTOMER_FEATURES, iter(shuffled.to_batches(max_chunksize=7)))
    assert one.path.read_bytes() == two.path.read_bytes()


@pytest.mark.parametrize("rows", [[], table_of("string", [])], ids=["no batches", "empty table"])
def test_a_table_without_rows_has_its_header(tmp_path: Path, rows: Any) -> None:
    facts = write_workbook(tmp_path / "empty.xlsx", contract_of("string"), rows)
    sheet = openpyxl.load_workbook(facts.path).worksheets[0]
    assert list(sheet.values) == [("key", "value")]
    assert (facts.rows, facts.columns, facts.sheets) == (0, 2, 1)


@pytest.mark.parametrize("names", [["key"], ["key", "value", "more"], ["key", "values"]])
def test_other_columns_than_the_contracts_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"silver\.values: columns"):
        write_workbook(tmp_path / "x.xlsx", contract_of("int64"), pa.table({name: [1] for name in names}))


def test_a_value_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1\.5"):
        write_workbook(tmp_path / "x.xlsx", contract_of("int64"), pa.table({"key": [1], "value": [1.5]}))


@few_examples
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=30))
def test_finite_floats_are_exact(values: list[float | None]) -> None:
    facts, read = write_and_read("float64", values)
    assert read == values
    assert facts.non_finite_numbers == 0


def test_floats_of_random_bits_are_exact() -> None:
    values = np.frombuffer(np.random.default_rng(3).bytes(8 * 20_000), dtype=np.float64)
    values = values[np.isfinite(values)]
    assert write_and_read("float64", values.tolist())[1] == values.tolist()


def test_numbers_that_are_not_finite_are_texts_and_null_stays_null() -> None:
    facts, read = write_and_read("float64", [math.nan, math.inf, -math.inf, None, 0.1])
    assert read == ["nan", "inf", "-inf", None, 0.1]
    assert facts.non_finite_numbers == 3


@few_examples
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**15), 10**15) | st.none(), max_size=30))
def test_integers_keep_every_digit_and_more_than_15_digits_are_text(values: list[int | None]) -> None:
    facts, read = write_and_read("int64", values)
    assert read == [str(value) if value is not None and abs(value) >= 10**15 else value for value in values]
    assert facts.long_integers == sum(isinstance(value, str) for value in read)


def visible(text: str) -> str:
    """Replace what XML forbids, as the module documents it."""
    text = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f]", lambda match: chr(0x2400 + ord(match[0])), text)
    return re.sub("[\ufffe\uffff]", "\ufffd", text)


any_text = st.text(st.characters(exclude_categories=["Cs"]))
awkward_text = st.text(st.sampled_from("_x005FA=+-@\t\r\n &<>\"'\x00\x1f\x7f\ufffe\U0001f600]")) | st.lists(
    st.sampled_from(["_x0041_", "x0041_", "_", "_x005F_", "x000D_", "&amp;", "]]>"])
).map("".join)


@few_examples
@given(st.lists(any_text | awkward_text | st.none(), max_size=30))
def test_any_text_reads_back_equal_but_for_the_documented_replacements(values: list[str | None]) -> None:
    facts, read = write_and_read("string", values)
    assert read == [None if value is None else visible(value) for value in values]
    assert facts.illegal_texts == sum(before != after for before, after in zip(values, read, strict=True))


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(1)", "{=1}", "1e5", "TRUE"]
)
def test_text_that_looks_like_a_formula_or_a_value_stays_text(tmp_path: Path, text: str) -> None:
    facts = write_workbook(tmp_path / "x.xlsx", contract_of("string"), table_of("string", [text]))
    cell = openpyxl.load_workbook(facts.path).worksheets[0]["B2"]
    assert (cell.data_type, cell.value) == ("s", text)
    assert cell.quotePrefix == (text[0] in "=+-@\t\r")  # text also after somebody edited the cell


def test_blanks_at_the_ends_of_a_text_are_marked_as_significant(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "x.xlsx", contract_of("string"), table_of("string", [" a \n"])).path
    assert b'<t xml:space="preserve"> a \n</t>' in zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml")


@pytest.mark.parametrize("unit", ["x", "\U0001f600"], ids=["one code unit", "two code units"])
def test_text_that_is_too_long_is_cut_with_a_mark(unit: str) -> None:
    def code_units(text: str) -> int:
        return len(text.encode("utf-16-le")) // 2

    fitting, too_long = unit * (MAX_TEXT // code_units(unit)), unit * (MAX_TEXT // code_units(unit) + 1)
    facts, read = write_and_read("string", [fitting, too_long, None])
    assert read[0] == fitting
    assert read[1].endswith(CUT_MARK)
    assert too_long.startswith(read[1].removesuffix(CUT_MARK))
    assert MAX_TEXT - 2 < code_units(read[1]) <= MAX_TEXT
    assert (read[2], facts.cut_texts) == (None, 1)


def serials(path: Path) -> list[float]:
    xml = zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml").decode()
    return [float(serial) for serial in re.findall(r'<c r="B\d+" s="\d+"><v>([^<]+)</v>', xml)]


@few_examples
@given(st.lists(st.datetimes(datetime(1900, 3, 1), datetime(2079, 6, 5)), min_size=1, max_size=30))
def test_timestamps_are_stored_to_the_microsecond_and_read_to_the_millisecond(values: list[datetime]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_workbook(Path(folder) / "x.xlsx", contract_of("timestamp"), table_of("timestamp", values)).path
        stored = [EPOCH + timedelta(microseconds=round(Fraction(days) * 86_400_000_000)) for days in serials(path)]
    assert stored == values
    _, read = write_and_read("timestamp", values)
    assert all(abs(a - b) <= timedelta(microseconds=500) for a, b in zip(read, values, strict=True))


@few_examples
@given(st.lists(st.datetimes(datetime(1900, 3, 1), datetime(9999, 12, 31, 23, 59, 59)), max_size=30))
def test_whole_seconds_are_exact_until_the_end_of_the_calendar(values: list[datetime]) -> None:
    values = [value.replace(microsecond=0) for value in values]
    assert write_and_read("timestamp", values)[1] == values


def test_timestamps_outside_the_calendar_are_texts() -> None:
    values = [
        datetime(1, 1, 1),
        datetime(1900, 2, 28, 23, 59, 59, 999_999),
        datetime(9999, 12, 31, 23, 59, 59, 1),
        None,
    ]
    facts, read = write_and_read("timestamp", values)
    expected = ["0001-01-01 00:00:00.000000", "1900-02-28 23:59:59.999999", "9999-12-31 23:59:59.000001", None]
    assert (read, facts.timestamps_as_text) == (expected, 3)


def test_timestamps_with_a_zone_are_written_as_utc(tmp_path: Path) -> None:
    moment = datetime(2024, 7, 1, 2, 30, tzinfo=timezone(timedelta(hours=2)))
    zoned = pa.table({"key": [0], "value": pa.array([moment], pa.timestamp("us", "Europe/Berlin"))})
    path = write_workbook(tmp_path / "x.xlsx", contract_of("timestamp"), zoned).path
    assert openpyxl.load_workbook(path).worksheets[0]["B2"].value == datetime(2024, 7, 1, 0, 30)


def test_more_rows_than_fit_go_to_further_sheets_in_order(tmp_path: Path) -> None:
    facts = write_workbook(
        tmp_path / "x.xlsx", contract_of("int64"), table_of("int64", list(range(25))), rows_per_sheet=10
    )
    book = openpyxl.load_workbook(facts.path)
    assert book.sheetnames == ["values", "values (2)", "values (3)", "Data dictionary"]
    assert facts.sheets == 3
    assert [sheet.auto_filter.ref for sheet in book.worksheets[:3]] == ["A1:B11", "A1:B11", "A1:B6"]
    rows = [list(sheet.values) for sheet in book.worksheets[:3]]
    assert {sheet_rows[0] for sheet_rows in rows} == {("key", "value")}
    assert [value for sheet_rows in rows for _, value in sheet_rows[1:]] == list(range(25))


def test_what_could_not_be_held_is_said_in_the_dictionary(tmp_path: Path) -> None:
    facts = write_workbook(tmp_path / "x.xlsx", contract_of("float64"), table_of("float64", [math.nan, 1.0]))
    texts = [row[0] for row in openpyxl.load_workbook(facts.path)["Data dictionary"].values]
    assert texts[:4] == [
        "silver.values",
        "Values to write.",
        "One row per value; key: key.",
        "Numbers that are not finite, written as text: 1",
    ]


def test_sheet_is_frozen_filtered_formatted_and_its_headers_explained(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "x.xlsx", contract_of("float64", "share"), table_of("float64", [0.5])).path
    sheet = openpyxl.load_workbook(path).worksheets[0]
    assert sheet.freeze_panes == "B2"
    assert sheet.auto_filter.ref == "A1:B2"
    assert sheet["B2"].number_format == "0.00%"
    assert sheet["B1"].comment.text == "A value. [share]"


@pytest.mark.parametrize(
    ("type_", "unit", "expected"),
    [
        ("float64", "share", "0.00%"),
        ("float64", "money", "#,##0.00"),
        ("float64", "correlation", "0.000"),
        ("int64", "orders", "#,##0"),
        ("int64", "", "0"),
        ("timestamp", "UTC", "yyyy-mm-dd hh:mm:ss"),
        ("string", "", "General"),
    ],
)
def test_number_format_follows_type_and_unit(type_: str, unit: str, expected: str) -> None:
    assert number_format(Column("x", type_, "", unit=unit)) == expected


def test_the_same_table_gives_the_same_bytes_with_no_clock_in_them(tmp_path: Path) -> None:
    one, two = (write_workbook(tmp_path / name, CUSTOMER_FEATURES, customer_features(5)).path for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as package:
        assert {part.date_time for part in package.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert set(re.findall(rb">(\d{4})-\d\d-\d\dT", package.read("docProps/core.xml"))) == {b"1980"}


WRITE_A_LARGE_TABLE = """
import sys
from pathlib import Path
import pyarrow as pa
from clustering_assets.contracts import CUSTOMER_FEATURES
from clustering_assets.reports.workbook import write_workbook
table = pa.table({column.name: pa.array(range(60_000)) for column in CUSTOMER_FEATURES.columns})
write_workbook(Path(sys.argv[1]), CUSTOMER_FEATURES, table)
"""


@pytest.mark.parametrize("before", [None, b"what was there"], ids=["new", "replacing"])
def test_a_killed_write_leaves_what_was_there(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "x.xlsx"
    if before is not None:
        path.write_bytes(before)
    with subprocess.Popen([sys.executable, "-c", WRITE_A_LARGE_TABLE, str(path)]) as writer:
        while not any(part.stat().st_size for part in tmp_path.glob(".x.xlsx.*.part")):
            assert writer.poll() is None
            time.sleep(0.001)
        writer.kill()
    assert (path.read_bytes() if path.exists() else None) == before


def test_a_failed_write_leaves_nothing_beside(tmp_path: Path) -> None:
    occupied = tmp_path / "x.xlsx"
    (occupied / "folder").mkdir(parents=True)
    with pytest.raises(OSError, match=r"x\.xlsx"):
        write_workbook(occupied, contract_of("int64"), table_of("int64", [1]))
    assert list(tmp_path.iterdir()) == [occupied]


def test_a_finished_write_replaces_the_file_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "x.xlsx"
    path.write_bytes(b"what was there")
    with path.open("rb") as opened_before:
        write_workbook(path, contract_of("int64"), table_of("int64", [1]))
        assert opened_before.read() == b"what was there"  # renamed onto, not written over
    assert [file.name for file in tmp_path.iterdir()] == ["x.xlsx"]
    assert openpyxl.load_workbook(path).worksheets[0]["B2"].value == 1


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2024, 1, 2, 3, 4, 5, 6),
        datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2024, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_export_names_carry_the_utc_second(moment: datetime) -> None:
    assert export_name("silver_customer_features", moment) == "silver_customer_features_20240102_030405.xlsx"


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice (soffice) is not installed")
def test_libreoffice_opens_the_workbook_and_sees_the_same_values(tmp_path: Path) -> None:
    table = customer_features(200)
    source = write_workbook(tmp_path / "features.xlsx", CUSTOMER_FEATURES, table).path
    target = tmp_path / "converted"
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    command = ["soffice", profile, "--headless", "--convert-to", "xlsx", "--outdir", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    header, *rows = openpyxl.load_workbook(target / source.name).worksheets[0].iter_rows(values_only=True)
    assert header == CUSTOMER_FEATURES.column_names
    for read, row in zip(rows, table.to_pylist(), strict=True):
        for cell, value in zip(read, row.values(), strict=True):
            # It may round to 15 digits when it saves, and leave out a cell with an empty text.
            expected = pytest.approx(value, rel=1e-14, abs=0) if isinstance(value, float) else value
            assert cell == expected or (value == "" and cell is None)
