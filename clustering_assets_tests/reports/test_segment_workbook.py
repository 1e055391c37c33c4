"""The workbook says what the tables say, in two languages, and opens everywhere without a repair."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import openpyxl
import pyarrow as pa
import pytest
from dagster import DagsterInstance
from openpyxl.utils import range_boundaries
from openpyxl.utils.escape import unescape
from openpyxl.workbook import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from clustering_assets.assets.exports import segment_report_workbook
from clustering_assets.contracts import CLUSTERING_FEATURES, CUSTOMER_LIST
from clustering_assets.durable import CannotWrite
from clustering_assets.forgetting import accept_requests
from clustering_assets.pseudonyms import record_ids
from clustering_assets.reports.colours import segment_colour
from clustering_assets.reports.excel_sheets import NumberFormats
from clustering_assets.reports.findings_tables import read_findings
from clustering_assets.reports.segment_workbook import Content, read_content, write_segment_workbook
from clustering_assets.reports.wording import UNKNOWN, Wording, languages
from clustering_assets.resources import Home, Reporting, Retention
from clustering_assets_tests.reports.told_shop import NOW, ToldShop, told_shop
from clustering_assets_tests.test_hostile_input import FORMULAS

ENGLISH, GERMAN = Wording("en", "EUR"), Wording("de", "EUR")
SHEETS = ("summary", "segments", "profile", "months", "movements", "quality", "customers", "dictionary", "about")


def content_of(shop: ToldShop, most_customers: int = 1_000) -> Content:
    with shop.warehouse.connect() as backend:
        return read_content(backend, read_findings(backend), most_customers)


def written(path: Path, content: Content, words: Wording = ENGLISH) -> Workbook:
    write_segment_workbook(path, content, words, NOW)
    return openpyxl.load_workbook(path)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ToldShop:
    return told_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def content(shop: ToldShop) -> Content:
    return content_of(shop)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, content: Content) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.xlsx"
    write_segment_workbook(path, content, ENGLISH, NOW)
    return path


@pytest.fixture(scope="module")
def book(path: Path) -> Workbook:
    return openpyxl.load_workbook(path)


def sheet(book: Workbook, key: str, words: Wording = ENGLISH) -> Worksheet:
    return book[words.text(f"workbook.sheets.{key}")]


def row_of(sheet: Worksheet, label: str, column: int = 2) -> list[Any]:
    """Values of the first row that has a label in a column, from the cell after it on."""
    for row in sheet.iter_rows():
        if row[column - 1].value == label:
            return [cell.value for cell in row[column:]]
    raise AssertionError(f"{sheet.title} has no {label!r}")


def below(sheet: Worksheet, header: str, column: int = 2) -> list[list[Any]]:
    """Rows of the table under a header, as far as its column is filled."""
    rows = [[cell.value for cell in row[column - 1 :]] for row in sheet.iter_rows()]
    start = next(place for place, row in enumerate(rows) if row[0] == header) + 1
    end = next((place for place in range(start, len(rows)) if rows[place][0] is None), len(rows))
    return rows[start:end]


def known(value: Any) -> Any:
    return None if value == UNKNOWN else value


# ---------------------------------------------------------------------------------------------------------- the figures


def test_key_figures_are_those_of_the_tables(shop: ToldShop, book: Workbook) -> None:
    [(customers, orders, value, returned, lines, returned_lines)] = shop.ask(
        """select count(*), sum(order_count), sum(mean_order_value * order_count),
                  sum(mean_return_value * returned_line_count), sum(round(lines_per_order * order_count)),
                  sum(returned_line_count) from silver.customer_features"""
    )
    [(saving,)] = shop.ask("select sum(possible_saving) from gold.segment_profiles")
    figures = {
        "customers": customers,
        "orders": orders,
        "order_value": value,
        "returned_value": returned,
        "retained_value": value - returned,
        "return_rate": returned_lines / lines,
        "returned_value_share": returned / value,
        "possible_saving": saving,
    }
    assert row_of(sheet(book, "summary"), "Silhouette", 3)[0] == pytest.approx(0.42)
    for name, figure in figures.items():
        assert row_of(sheet(book, "summary"), ENGLISH.text(f"key_figures.names.{name}"), 3)[0] == pytest.approx(figure)


def test_changes_are_told_against_the_run_before_shares_in_points(book: Workbook, content: Content) -> None:
    summary = sheet(book, "summary")
    assert row_of(summary, "Customers", 3)[:4] == [120, 119, 1, pytest.approx(1 / 119)]
    rate = content.findings.key_figure("return_rate")
    assert rate.change is not None
    shown = row_of(summary, ENGLISH.text("key_figures.names.return_rate"), 3)
    assert (shown[1], shown[2]) == pytest.approx((rate.before, 100 * rate.change))
    assert known(shown[3]) is None


def test_figures_of_segments_are_those_of_the_tables_and_add_up(shop: ToldShop, book: Workbook) -> None:
    segments = sheet(book, "segments")
    header = row_of(segments, "Segment", 3)
    rows = shop.ask(
        """select segment_name, count(*), count(*) / 120, sum(order_count), sum(mean_order_value * order_count),
                  sum(mean_return_value * returned_line_count),
                  sum(returned_line_count) / sum(round(lines_per_order * order_count))
           from silver.customer_features join gold.customer_segments using (customer_id) group by 1"""
    )
    columns = ("customers", "share", "order_count", "order_value", "returned_value", "return_rate")
    for name, *figures in rows:
        shown = dict(zip(header, row_of(segments, name, 3), strict=True))
        assert [shown[ENGLISH.text(f"workbook.segments.{each}")] for each in columns] == pytest.approx(figures)
        assert shown["Retained value"] == pytest.approx(figures[3] - figures[4])
        [(saving, value_share)] = shop.ask(
            f"select possible_saving, value_share from gold.segment_profiles where segment_name = '{name}'"
        )
        assert (shown["Possible saving"], shown["Share of order value"]) == pytest.approx((saving, value_share))
    table = below(segments, "Segment", 3)
    *single, total = table[: len(rows) + 1]
    assert total[0] == ENGLISH.text("workbook.segments.all")
    for place, name in enumerate(header, start=1):
        if name in ("Customers", "Orders", "Order value", "Returned value", "Possible saving"):
            assert sum(row[place] for row in single) == pytest.approx(total[place])


def test_every_segment_has_its_action_and_what_sets_it_apart(book: Workbook, content: Content) -> None:
    segments = sheet(book, "segments")
    texts = [cell.value for row in segments.iter_rows() for cell in row if isinstance(cell.value, str)]
    for segment in content.findings.segments:
        assert ENGLISH.action(segment.kind, segment.action) in texts
        first = segment.differences[0]
        assert any(text.startswith(f"{ENGLISH.feature(first.feature)}: ") for text in texts)
        if segment.saving.possible_saving:
            assert any(ENGLISH.money(segment.saving.possible_saving) in text for text in texts)


def test_the_heat_map_has_the_distance_of_each_segment_from_all_customers(shop: ToldShop, book: Workbook) -> None:
    profile = sheet(book, "profile")
    header = row_of(profile, "Feature")
    count = len(shop.ask("from gold.segment_profiles"))
    names = header[2 : 2 + count]
    for feature in ("return_rate", "order_count", "high_value_return_affinity"):
        rows = shop.ask(
            f"""with scaled as (from gold.scaled_features join (select customer_id, segment_name
                                from gold.customer_segments) using (customer_id))
                select segment_name, (avg({feature}_scaled) - (select avg({feature}_scaled) from scaled))
                       / (select stddev_pop({feature}_scaled) from scaled) from scaled group by 1"""
        )
        shown = row_of(profile, ENGLISH.feature(feature))
        assert dict(zip(names, shown[2 : 2 + count], strict=True)) == pytest.approx(dict(rows), abs=1e-9)
        points = 100 if feature == "high_value_return_affinity" else 1
        means = dict(shop.ask(f"select segment_name, {points} * {feature}_mean from gold.segment_profiles"))
        own = dict(zip(header[3 + count :], shown[3 + count :], strict=True))
        assert {name: value for name, value in own.items() if name} == pytest.approx(means)
        [(mean,)] = shop.ask(f"select {points} * avg({feature}) from silver.customer_features")
        assert shown[1] == pytest.approx(mean)


def test_the_heat_map_is_coloured_by_a_condition_over_all_of_its_cells(book: Workbook) -> None:
    profile = sheet(book, "profile")
    [(area, [rule])] = [(each.sqref, each.rules) for each in profile.conditional_formatting]
    left, top, right, bottom = range_boundaries(str(area))
    assert rule.colorScale is not None
    assert [each.val for each in rule.colorScale.cfvo] == [-2, 0, 2]
    values = [row for row in profile.iter_rows(top, bottom, left, right, values_only=True) if any(row)]
    assert len(values) == len(CLUSTERING_FEATURES)
    assert all(value == UNKNOWN or abs(value) < 10 for row in values for value in row)


def test_months_are_those_of_the_order_lines(shop: ToldShop, book: Workbook) -> None:
    rows = below(sheet(book, "months"), "Month")
    expected = shop.ask(
        """select date_trunc('month', order_date)::timestamp, count(*), count(*) filter (return_quantity > 0),
                  avg((return_quantity > 0)::int), sum(line_value),
                  coalesce(sum(line_value * return_quantity / quantity) filter (return_quantity > 0), 0)
           from bronze.order_lines where order_date < '2026-01-01' group by 1 order by 1"""
    )
    shown = [(row[0], row[1], row[2], row[3], row[6], row[7]) for row in rows]
    assert len(shown) == len(expected)
    for own, (month, *figures) in zip(shown, expected, strict=True):
        assert own[0] == month
        if month >= datetime(2025, 12, 1):
            continue  # of the latest month, a return after the day that is looked from has not happened
        assert own[1:] == pytest.approx(figures)


def test_categories_add_up_to_the_last_twelve_months(book: Workbook) -> None:
    months = sheet(book, "months")
    year = below(months, "Month")[-12:]
    categories = below(months, "Category")
    assert [row[0] for row in categories] == ["Dresses", "Hats & caps", "Shoes", ENGLISH.text("categories.unknown")]
    for place in (1, 2):
        assert sum(row[place] for row in categories) == sum(row[place] for row in year)


def test_movements_are_those_of_the_changes(shop: ToldShop, book: Workbook) -> None:
    movements = sheet(book, "movements")
    moved = dict(shop.ask("select change, count(*) from gold.segment_changes group by 1"))
    corner = next(cell.value for (cell,) in movements.iter_rows(max_col=2, min_col=2) if "→" in str(cell.value))
    header = row_of(movements, corner)
    matrix = {row[0]: dict(zip(header, row[1:], strict=True)) for row in below(movements, corner)}
    assert matrix["Joined"]["Total"] == moved["joined"]
    assert matrix["Total"]["Left"] == moved["left"]
    sizes = dict(shop.ask("select segment_name, count(*) from gold.customer_segments group by 1"))
    assert {name: matrix["Total"][name] for name in sizes} == sizes
    stayed = sum(matrix[name][name] for name in sizes)
    assert stayed == sum(sizes.values()) - moved["moved"] - moved["joined"]
    ways = below(movements, "Before")
    assert sum(row[4] for row in ways) == sum(moved.values())


def test_past_months_have_the_shares_of_the_history(shop: ToldShop, book: Workbook) -> None:
    movements = sheet(book, "movements")
    rows = below(movements, "Month")
    header = row_of(movements, "Month")
    for month, name, share in shop.ask(
        """select as_of, segment_name, count(*) / 120 from gold.segment_history group by 1, 2"""
    ):
        row = next(each for each in rows if each[0] == month)
        assert dict(zip(header, row[1:], strict=True))[name] == pytest.approx(share)


def test_the_account_of_the_rows_is_that_of_bronze(shop: ToldShop, book: Workbook) -> None:
    quality = sheet(book, "quality")
    for what, label in (("read", "Read"), ("kept", "Kept"), ("rejected", "Rejected"), ("superseded", "Replaced by a")):
        [(rows,)] = shop.ask(f"select sum(rows_{what}) from bronze.source_files")
        label = next(c.value for (c,) in quality.iter_rows(min_col=2, max_col=2) if str(c.value).startswith(label))
        assert row_of(quality, label)[0] == rows
    for code, rows in shop.ask("select split_part(reason, ':', 1), count(*) from bronze.rejected_rows group by 1"):
        assert row_of(quality, ENGLISH.name_of("quality.codes", code))[0] == rows
    for feature, filled in shop.ask("select feature, values_filled from silver.imputation_log where values_filled > 0"):
        assert row_of(quality, ENGLISH.feature(feature))[:2] == [filled, pytest.approx(filled / 120)]
    assert row_of(quality, "broken.csv")[0] == "not usable"


def test_every_customer_is_listed_as_the_tables_have_them(shop: ToldShop, book: Workbook) -> None:
    customers = sheet(book, "customers")
    header = [cell.value for cell in customers[2]]
    listed = [dict(zip(header, row, strict=True)) for row in customers.iter_rows(3, values_only=True)]
    rows = shop.ask(
        """select customer_id, segment_id, segment_name, confidence, outlier_score, order_count,
                  mean_order_value * order_count, mean_return_value * returned_line_count, return_rate,
                  last_order_date, reason_1
           from gold.customer_segments join silver.customer_features using (customer_id)
           join (select customer_id, outlier_score from gold.scaled_features) using (customer_id)
           join (select customer_id, reason_1 from gold.customer_reasons) using (customer_id)"""
    )
    assert len(listed) == len(rows) == 120
    shown = {each["Customer"]: each for each in listed}
    for customer, segment_id, name, confidence, score, orders, value, returned, rate, last, reason in rows:
        own = shown[customer]
        assert (own["No."], own["Segment"], own["Orders"], own["Last order"]) == (segment_id, name, orders, last)
        figures = [own[label] for label in ("Confidence", "Outlier score", "Order value", "Returned value")]
        assert figures == pytest.approx([confidence, score, value, returned], rel=1e-12)
        assert own[ENGLISH.feature("return_rate")] == rate
        assert own["First reason"] == "Share of lines sent back: 0.48 (typical 0.06)", reason
    values = [each["Returned value"] for each in listed]
    assert values == sorted(values, reverse=True)


def test_the_list_of_customers_is_a_table_with_filters_and_a_header_that_stays(book: Workbook) -> None:
    customers = sheet(book, "customers")
    [table] = customers.tables.values()
    labels = [column.name for column in table.tableColumns]
    assert table.ref == table.autoFilter.ref == f"A2:{openpyxl.utils.get_column_letter(len(labels))}122"
    assert labels == [cell.value for cell in customers[2]]
    assert len(set(labels)) == len(CUSTOMER_LIST.columns)
    assert customers.freeze_panes == "B3"


def test_the_dictionary_explains_the_columns_of_the_list(book: Workbook) -> None:
    rows = below(sheet(book, "dictionary"), "Column")
    assert [row[0] for row in rows] == [cell.value for cell in sheet(book, "customers")[2]]
    assert [row[1] for row in rows] == list(CUSTOMER_LIST.column_names)
    assert all(row[2] for row in rows)


def test_of_too_many_customers_the_sheet_says_that_it_lists_the_first(tmp_path: Path, shop: ToldShop) -> None:
    book = written(tmp_path / "x.xlsx", content_of(shop, most_customers=50))
    customers = sheet(book, "customers")
    assert customers.max_row == 52
    assert "50 of 120 customers" in customers["A1"].value
    every = [
        row[0] for row in shop.ask("select max(mean_return_value * returned_line_count) from silver.customer_features")
    ]
    assert customers.cell(3, [cell.value for cell in customers[2]].index("Returned value") + 1).value == every[0]


def test_pseudonyms_are_called_so(tmp_path: Path, content: Content) -> None:
    fit = replace(content.findings.fit, ids_are_pseudonyms=True)
    pseudonymous = replace(content, findings=replace(content.findings, fit=fit))
    customers = sheet(written(tmp_path / "x.xlsx", pseudonymous), "customers")
    assert customers["A2"].value == "Pseudonym"
    assert "personal data" not in customers["A1"].value


def test_a_first_run_without_money_and_history_is_told_too(tmp_path: Path) -> None:
    shop = told_shop(tmp_path / "home", customers=60, fits=1, money=False, extras=False)
    book = written(tmp_path / "x.xlsx", content_of(shop))
    said = {cell.value for page in book for row in page.iter_rows() for cell in row}
    assert "Order value" not in {cell.value for cell in sheet(book, "segments")[4]}
    assert ENGLISH.text("movement.first") in said
    assert not any(isinstance(value, str) and "€" in value for value in said)
    assert charts(tmp_path / "x.xlsx").keys() == {"Customers by segment", "rate", "categories"} - {
        "rate",
        "categories",
    } | {str(ENGLISH.text(f"workbook.charts.{key}.title")) for key in ("rate", "categories")}


# --------------------------------------------------------------------------------------------------------------- charts


def charts(path: Path) -> dict[str, list[str]]:
    """References of the charts of a workbook, by their titles."""
    found = {}
    with zipfile.ZipFile(path) as package:
        for name in package.namelist():
            if name.startswith("xl/charts/chart"):
                xml = package.read(name).decode()
                title = re.search(r"<c:title>.*?<a:t>(.*?)</a:t>", xml)
                assert title is not None
                found[title[1]] = re.findall(r"<c:f>(.*?)</c:f>", xml)
    return found


def cells(book: Workbook, reference: str) -> Iterator[Any]:
    name, _, area = reference.rpartition("!")
    area = area.replace("$", "")
    for row in book[name.strip("'")][area] if ":" in area else [[book[name.strip("'")][area]]]:
        yield from (cell.value for cell in row)


def test_charts_are_native_and_refer_to_figures_that_are_there(path: Path, book: Workbook) -> None:
    found = charts(path)
    assert found.keys() == {ENGLISH.text(f"workbook.charts.{key}.title") for key in ENGLISH.text("workbook.charts")}
    for title, references in found.items():
        assert len(references) >= 2, title
        for reference in references:
            assert all(value is not None for value in cells(book, reference)), (title, reference)


def test_every_chart_says_what_it_shows_to_who_cannot_see_it(path: Path) -> None:
    with zipfile.ZipFile(path) as package:
        drawings = [
            package.read(name).decode() for name in package.namelist() if name.startswith("xl/drawings/drawing")
        ]
    said = [text for drawing in drawings for text in re.findall(r'<xdr:cNvPr [^>]*descr="([^"]+)"', drawing)]
    assert len(said) == len(charts(path))
    assert set(said) == {ENGLISH.text(f"workbook.charts.{key}.alternative") for key in ENGLISH.text("workbook.charts")}


def test_segments_have_the_colour_of_every_picture(path: Path, book: Workbook, content: Content) -> None:
    segments = sheet(book, "segments")
    colours = [segment_colour(segment.segment_id)[1:] for segment in content.findings.segments]
    assert [segments.cell(5 + place, 2).fill.fgColor.rgb[2:] for place in range(len(colours))] == colours
    with zipfile.ZipFile(path) as package:
        sizes = next(
            xml
            for name in package.namelist()
            if "charts/chart" in name and "Customers by" in (xml := package.read(name).decode())
        )
    points = re.findall(r'<c:dPt>.*?<a:srgbClr val="(\w+)"/>', sizes)
    assert points == colours


# -------------------------------------------------------------------------------------------------- languages and money


def test_a_german_report_is_german_throughout(tmp_path: Path, content: Content) -> None:
    book = written(tmp_path / "de.xlsx", content, GERMAN)
    assert book.sheetnames == [GERMAN.text(f"workbook.sheets.{key}") for key in SHEETS]
    english = {
        value
        for key, value in flattened(ENGLISH.text("workbook"))
        if value != dict(flattened(GERMAN.text("workbook"))).get(key)
    }
    said = {cell.value for page in book for row in page.iter_rows() for cell in row if isinstance(cell.value, str)}
    same_word = {"Segment", "Pseudonym", "Customers", "%", "Index", "Status"}
    assert said & english - same_word == set()
    segments = sheet(book, "segments", GERMAN)
    assert segments["H5"].number_format == '#,##0 "€"'
    assert segments["F5"].number_format == "#,##0.0 %"
    reason = sheet(book, "customers", GERMAN)[3][22].value
    assert "0,48 (typisch 0,06)" in reason


def flattened(texts: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(texts, dict):
        for key, value in texts.items():
            yield from flattened(value, f"{path}.{key}")
    else:
        yield path, str(texts)


@pytest.mark.parametrize("language", languages())
def test_each_language_has_names_of_sheets_and_columns_that_excel_takes(language: str) -> None:
    words = Wording(language, "EUR")
    names = [words.text(f"workbook.sheets.{key}") for key in SHEETS]
    assert len({name.lower() for name in names}) == len(names)
    assert all(len(name) <= 31 and not set(name) & set("[]:*?/\\'") for name in names)
    meanings = words.text("meanings")
    assert set(meanings) in ({*CUSTOMER_LIST.column_names}, set())


@pytest.mark.parametrize(
    ("language", "currency", "whole", "cents"),
    [
        ("en", "EUR", '"€"#,##0', '"€"#,##0.00'),
        ("en", "GBP", '"£"#,##0', '"£"#,##0.00'),
        ("en", "CHF", '"CHF "#,##0', '"CHF "#,##0.00'),
        ("de", "EUR", '#,##0 "€"', '#,##0.00 "€"'),
        ("de", "USD", '#,##0 "$"', '#,##0.00 "$"'),
    ],
)
def test_money_stands_as_the_language_and_the_currency_have_it(
    language: str, currency: str, whole: str, cents: str
) -> None:
    formats = NumberFormats(Wording(language, currency).locale, currency)
    assert (formats.of("money"), formats.of("cents")) == (whole, cents)


def test_numbers_are_formatted_for_people() -> None:
    formats = NumberFormats(ENGLISH.locale, "EUR")
    assert (formats.of("share"), formats.of("customers"), formats.day) == ("#,##0.0%", "#,##0", "d mmm yyyy")
    assert NumberFormats(GERMAN.locale, "EUR").day == "dd.mm.yyyy"
    assert formats.change("", 1, "unchanged", "points") == (
        '[>=0.05]"▲ "#,##0.0" points";[<=-0.05]"▼ "#,##0.0" points";"unchanged"'
    )


# ------------------------------------------------------------------------------------------------------------- the file


def test_sheets_print_on_a4_as_wide_as_a_page_with_header_and_footer(book: Workbook) -> None:
    for page in book:
        setup = page.page_setup
        assert (setup.orientation, setup.paperSize, page.sheet_properties.pageSetUpPr.fitToPage) == (
            "landscape",
            9,
            True,
        )
        assert setup.fitToWidth in (1, None) or page.title == "Customers"
        assert page.oddHeader.left.text == ENGLISH.text("title")
        assert "Page &P of &N" in str(page.oddFooter.right.text)
    assert sheet(book, "customers").print_title_rows == "$2:$2"


def test_properties_say_what_the_workbook_is(book: Workbook, content: Content) -> None:
    assert book.properties.title == ENGLISH.text("title")
    assert book.properties.subject == f"As of {ENGLISH.day(date(2025, 12, 31))}"
    assert book.properties.created == content.findings.fit.fitted_at
    assert "serial returners" in book.properties.description.lower()


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, path: Path, content: Content) -> None:
    write_segment_workbook(tmp_path / "again.xlsx", content, ENGLISH, NOW)
    assert (tmp_path / "again.xlsx").read_bytes() == path.read_bytes()


def test_what_cannot_be_written_leaves_nothing_beside(tmp_path: Path, content: Content) -> None:
    occupied = tmp_path / "x.xlsx"
    (occupied / "folder").mkdir(parents=True)
    with pytest.raises(CannotWrite, match=r"x\.xlsx"):
        write_segment_workbook(occupied, content, ENGLISH, NOW)
    assert list(tmp_path.iterdir()) == [occupied]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workbook of a shop that wants to do harm: categories, names of files and customers are formulas."""
    folder = tmp_path_factory.mktemp("hostile")
    files = [f"{each}.csv" for each in FORMULAS] + ["long" * 10_000 + ".csv", "bell\x07.csv"]
    shop = told_shop(folder / "home", customers=60, categories=FORMULAS[:20], files=files, extras=False)
    content = content_of(shop)
    ids = [FORMULAS[place % len(FORMULAS)] + str(place) for place in range(content.customers.num_rows)]
    customers = content.customers.set_column(0, "customer_id", pa.array(ids))
    customers = customers.set_column(customers.column_names.index("reason_1"), "reason_1", pa.array(ids))
    write_segment_workbook(folder / "x.xlsx", replace(content, customers=customers), ENGLISH, NOW)
    return folder / "x.xlsx"


def test_no_text_from_outside_becomes_a_formula_or_a_link(hostile: Path) -> None:
    book = openpyxl.load_workbook(hostile)
    assert {cell.data_type for page in book for row in page for cell in row} <= {"s", "n", "d"}
    with zipfile.ZipFile(hostile) as package:
        for name in package.namelist():
            xml = package.read(name)
            assert not re.search(rb"<f[ >/]|<ddeLink|<externalLink|vbaProject", xml), name
            assert not re.search(rb'TargetMode="External"', xml), name
            for link in re.findall(rb"<hyperlink [^>]*>", xml):
                assert b'location="' in link
    ids = {unescape(cell.value) for (cell,) in sheet(book, "customers").iter_rows(3, max_col=1)}
    assert any(text.startswith("=cmd|") for text in ids)
    for page in (sheet(book, "customers"), sheet(book, "quality"), sheet(book, "months")):
        for row in page.iter_rows():
            for cell in row:
                if isinstance(cell.value, str) and cell.value.startswith(("=", "+", "-", "@")):
                    assert cell.quotePrefix, (page.title, cell.coordinate)


def test_texts_that_a_cell_cannot_hold_are_cut_or_made_visible(hostile: Path) -> None:
    files = [row[1].value for row in sheet(openpyxl.load_workbook(hostile), "quality").iter_rows()]
    assert "bell\u2407.csv" in files
    assert max(len(str(each)) for each in files) <= 32_767


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice (soffice) is not installed")
def test_libreoffice_opens_the_workbooks_without_repair_and_sees_the_same_values(
    tmp_path: Path, path: Path, hostile: Path, content: Content
) -> None:
    german = tmp_path / "german.xlsx"
    write_segment_workbook(german, content, GERMAN, NOW)
    sources = [path, german, Path(shutil.copy(hostile, tmp_path / "hostile.xlsx"))]
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    out = tmp_path / "out"
    command = ["soffice", profile, "--headless", "--convert-to", "xlsx", "--outdir", str(out), *map(str, sources)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    for source in sources:
        before, after = openpyxl.load_workbook(source), openpyxl.load_workbook(out / source.name)
        assert after.sheetnames == before.sheetnames
        for page in before:
            for row in page.iter_rows():
                for cell in row:
                    seen = after[page.title][cell.coordinate].value
                    assert same(cell.value, seen), (page.title, cell.coordinate, cell.value, seen)
        assert [len(page._charts) for page in after] == [len(page._charts) for page in before]
        assert sum(len(page.conditional_formatting) for page in after) > 0


def same(value: Any, seen: Any) -> bool:
    """Whether a value is what LibreOffice wrote: it rounds to 15 digits and leaves out an empty text."""
    if isinstance(value, str):
        written = str(seen or "")  # it writes what looks like an escape without escaping it
        return (
            unescape(value).strip() == written.strip() or unescape(unescape(value)).strip() == unescape(written).strip()
        )
    if isinstance(value, int | float) and isinstance(seen, int | float):
        return bool(seen == pytest.approx(value, rel=1e-13, abs=1e-300))
    return bool(value == seen)


# ---------------------------------------------------------------------------------------------------------- the asset


def materialize(home: Path, keep: int = 12, **reporting: str) -> Mapping[str, Any]:
    with DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [segment_report_workbook],
            instance=instance,
            resources={
                "home": Home(path=str(home)),
                "retention": Retention(keep_exports=keep),
                "reporting": Reporting(**reporting),
            },
        )
    [made] = result.asset_materializations_for_node("segment_report_workbook")
    return {name: value.value for name, value in made.metadata.items()}


def test_the_workbook_is_written_once_for_the_same_tables_and_the_newest_stay(tmp_path: Path) -> None:
    told_shop(tmp_path, customers=60, fits=1, extras=False)
    (tmp_path / "exports").mkdir()
    page = tmp_path / "exports" / "segment_report_20260101_000000.html"
    page.touch()
    first, second = materialize(tmp_path), materialize(tmp_path)
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["path"] == second["path"]
    assert re.fullmatch(r"segment_report_\d{8}_\d{6}\.xlsx", Path(first["path"]).name)
    german = materialize(tmp_path, keep=1, language="de", currency="GBP")
    assert german["changed"]
    assert [*(tmp_path / "exports").glob("*.xlsx")] == [Path(german["path"])]
    assert page.exists()
    segments = sheet(openpyxl.load_workbook(german["path"]), "segments", GERMAN)
    assert segments["H5"].number_format == '#,##0 "£"'


def test_who_is_forgotten_takes_the_workbook_along(tmp_path: Path) -> None:
    shop = told_shop(tmp_path, customers=60, fits=1, extras=False)
    path = Path(materialize(tmp_path)["path"])
    assert "c00001@example.com" in {
        cell.value for (cell,) in sheet(openpyxl.load_workbook(path), "customers")["A3:A62"]
    }
    unfinished = path.with_name(f".{path.name}.0a.part")
    unfinished.touch()
    (tmp_path / "forget").mkdir(exist_ok=True)
    (tmp_path / "forget" / "request.txt").write_text("c00001@example.com\n")
    with shop.warehouse.connect() as backend:
        accept_requests(backend, tmp_path, None, NOW)
    assert [*(tmp_path / "exports").iterdir()] == []


def test_workbooks_of_before_a_pseudonym_key_are_removed(tmp_path: Path) -> None:
    shop = told_shop(tmp_path, customers=60, fits=1, extras=False)
    clear = Path(materialize(tmp_path)["path"])
    with shop.warehouse.connect() as backend:
        record_ids(backend, "gold", "of a key")
    after = Path(materialize(tmp_path)["path"])
    assert (clear.exists(), after.exists()) == (False, True)
    assert sheet(openpyxl.load_workbook(after), "customers")["A2"].value == "Pseudonym"
