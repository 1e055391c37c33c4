"""The sheet of the returns by month and by category."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from xlsxwriter.worksheet import Worksheet

from clustering_assets.reports.charts import Lines, category_name, counted, last_year, rate, rate_before
from clustering_assets.reports.colours import MORE
from clustering_assets.reports.excel_sheets import MUTED, Book, height_of
from clustering_assets.reports.findings import CategoryMonth, Findings
from clustering_assets.reports.sheets.cells import LINE, PER_CENT, SIGNED, bars
from clustering_assets.reports.sheets.native_charts import (
    CHART_FONT,
    CHART_ROWS,
    GRID,
    PLAIN_AXIS,
    RETAINED,
    placed,
    titled,
)

_SHARES = ("lines", "returned_lines", "rate", "rate_before", "change")
_YEAR = 12


def write_months(book: Book, findings: Findings) -> None:
    """Write returns by month of the order, against the year before, and by category."""
    words, money = book.words, findings.has_money
    sheet = book.sheet("months", [2, 24, *[12] * 5, *([16] * 2 if money else []), 3, *[12] * 8])
    row = book.title(sheet, words.text("categories.heading"), words.text("categories.intro"), 150)
    if not findings.category_months:
        book.write(sheet, row, 1, words.text("categories.nothing"))
        return
    keys = ["month", *_SHARES, *(["order_value", "returned_value"] if money else [])]
    book.headers(sheet, row, 1, [words.text(f"workbook.months.{key}") for key in keys])
    top = row
    found, months = counted(findings.category_months), _all_months(findings)
    for month in months:
        row += 1
        book.write(sheet, row, 1, month, num_format="mmm yyyy", **LINE)
        _shares(book, sheet, row, found, [month])
        if money:
            own = [each for each in findings.category_months if each.month == month]
            for column, values in ((7, [each.order_value for each in own]), (8, [each.returned_value for each in own])):
                book.write(sheet, row, column, sum(value or 0.0 for value in values), "money", **LINE)
    sheet.freeze_panes(top + 1, 2)
    sheet.repeat_rows(top)
    side = 8 + 2 * money
    if len(months) > _YEAR:
        chart = _year_chart(book, row)
        sheet.insert_chart(top, side, chart, placed(book, "rate", 700, 320))
    else:
        book.write(sheet, top, side, words.text("categories.no_year"), font_color=MUTED)
    _categories(book, sheet, row + 2, findings, top + (CHART_ROWS if len(months) > _YEAR else 0) + 2)


def _all_months(findings: Findings) -> list[date]:
    """Return every month from the first order to the latest."""
    months = [min(each.month for each in findings.category_months)]
    while months[-1] < max(each.month for each in findings.category_months):
        latest = months[-1]
        months.append(date(latest.year + latest.month // 12, latest.month % 12 + 1, 1))
    return months


def _shares(book: Book, sheet: Worksheet, row: int, found: Lines, months: Sequence[date]) -> None:
    """Write how many lines of some months came back, and the share against the year before."""
    own = [found[month] for month in months if month in found]
    lines, returned = (sum(each[place] for each in own) for place in (0, 1))
    now, before = rate(found, months), rate_before(found, months)
    change = None if now is None or before is None else PER_CENT * (now - before)
    for column, value, unit in ((2, lines, "lines"), (3, returned, "lines"), (4, now, "share"), (5, before, "share")):
        book.write(sheet, row, column, value, unit, **LINE)
    book.write(sheet, row, 6, change, num_format=SIGNED, **LINE)


def _year_chart(book: Book, last: int) -> Any:
    chart = book.book.add_chart({"type": "line"})
    name, first = book.words.text("workbook.sheets.months"), last - _YEAR + 1
    for key, column, colour, dash, marker in (
        ("year_before", 5, "#8A8F98", "dash", "diamond"),
        ("this_year", 4, MORE, "solid", "circle"),
    ):
        chart.add_series(
            {
                "name": str(book.words.text(f"categories.{key}")),
                "categories": [name, first, 1, last, 1],
                "values": [name, first, column, last, column],
                "line": {"color": colour, "width": 2.25, "dash_type": dash},
                "marker": {"type": marker, "size": 6, "fill": {"color": colour}, "border": {"color": colour}},
            }
        )
    titled(book, chart, "rate")
    chart.set_legend({"position": "bottom", "font": CHART_FONT})
    chart.set_x_axis({**PLAIN_AXIS, "num_format": "mmm yyyy", "text_axis": True, "label_position": "low"})
    shape = book.formats.of("share", 0)
    chart.set_y_axis({**PLAIN_AXIS, "major_gridlines": GRID, "min": 0, "num_format": shape, "line": {"none": True}})
    chart.show_blanks_as("gap")
    return chart


def _categories(book: Book, sheet: Worksheet, row: int, findings: Findings, chart_row: int) -> None:
    """Write the categories over the last twelve months, those with the most lines first."""
    words = book.words
    row = book.heading(sheet, row, words.text("workbook.months.by_category"))
    book.headers(sheet, row, 1, [words.text(f"workbook.months.{key}") for key in ("category", *_SHARES)])
    year, top = last_year(findings.category_months), row + 1
    groups: dict[str, list[CategoryMonth]] = {}
    for each in findings.category_months:
        groups.setdefault(category_name(each, words), []).append(each)
    for category, own in groups.items():
        row += 1
        book.write(sheet, row, 1, category, text_wrap=True, **LINE)
        sheet.set_row(row, height_of(category, 24))
        _shares(book, sheet, row, counted(own), year)
    sheet.conditional_format(top, 4, row, 4, bars())
    chart = _categories_chart(book, top - 1, row)
    sheet.insert_chart(
        chart_row, 10 if findings.has_money else 8, chart, placed(book, "categories", 700, 90 + 30 * len(groups))
    )


def _categories_chart(book: Book, top: int, last: int) -> Any:
    chart = book.book.add_chart({"type": "bar"})
    name = book.words.text("workbook.sheets.months")
    for key, column, colour in (("this_year", 4, MORE), ("year_before", 5, RETAINED)):
        chart.add_series(
            {
                "name": str(book.words.text(f"categories.{key}")),
                "categories": [name, top + 1, 1, last, 1],
                "values": [name, top + 1, column, last, column],
                "fill": {"color": colour},
                "gap": 60,
            }
        )
    titled(book, chart, "categories")
    chart.set_legend({"position": "bottom", "font": CHART_FONT})
    chart.set_y_axis({**PLAIN_AXIS, "reverse": True, "crossing": "max"})
    chart.set_x_axis({**PLAIN_AXIS, "major_gridlines": GRID, "num_format": book.formats.of("share", 0), "min": 0})
    return chart
