"""The first sheet: what a reader of one page has to know."""

from __future__ import annotations

from typing import Any

from xlsxwriter.worksheet import Worksheet

from clustering_assets.reports.colours import FEWER
from clustering_assets.reports.excel_sheets import INK, MUTED, Book, header, segment_fill
from clustering_assets.reports.findings import Findings, KeyFigure
from clustering_assets.reports.segment_report import headline
from clustering_assets.reports.sheets.cells import LINE, PER_CENT, SEVERAL, times, unchanged
from clustering_assets.reports.sheets.native_charts import (
    CHART_FONT,
    CHART_ROWS,
    GRID,
    PLAIN_AXIS,
    RETAINED,
    RETURNED,
    placed,
    titled,
)
from clustering_assets.reports.sheets.segments import FIGURES, TOP, column_of, figure_of, write_headers, write_name
from clustering_assets.reports.wording import Wording

_SHEETS = ("segments", "profile", "months", "movements", "quality", "customers", "dictionary", "about")
_KEY_HEADERS = ("figure", "now", "before", "change", "relative")
_GLANCE = ("customers", "share", "returned_value_share", "possible_saving")
_GLANCE_WITHOUT_MONEY = ("customers", "share", "order_count", "return_rate")


def write_summary(book: Book, findings: Findings) -> None:
    """Write what matters on one page: key figures, the segments at a glance, and what is on the other sheets."""
    words = book.words
    sheet = book.sheet("summary", [2, 2.5, 31, 15, 15, 20, 15, 3, *[11] * 8])
    sheet.fit_to_pages(1, 1)
    row = book.title(sheet, str(words.text("title"))) - 1
    span = words.plain("headline.span", first=words.day(findings.orders_from), last=words.day(findings.orders_to))
    book.write(sheet, row, 1, f"{words.plain('as_of', date=words.day(findings.as_of))}. {span}", font_color=MUTED)
    row += 2
    book.paragraph(sheet, row, 1, headline(findings, words), 185, bold=True, font_size=16, font_color=INK)
    book.paragraph(sheet, row + 1, 1, _explained(findings, words), 185)
    row = top = book.heading(sheet, row + 3, words.text("key_figures.heading"))
    book.write(sheet, row, 1, "", **header())
    book.headers(sheet, row, 2, [words.text(f"workbook.summary.{name}") for name in _KEY_HEADERS])
    for figure in findings.key_figures:
        if figure.value is not None:
            row += 1
            sheet.set_row(row, 18)
            _key_figure(book, sheet, row, figure)
    book.write(sheet, row + 1, 1, _compared_with(findings, words), font_color=MUTED)
    sheet.insert_chart(top - 1, 8, _sizes_chart(book, findings), placed(book, "sizes", 660, 340))
    row = top = book.heading(sheet, max(row + 3, top + CHART_ROWS - 1), words.text("segments.heading"))
    row = _at_a_glance(book, sheet, row, findings)
    if findings.has_money:
        sheet.insert_chart(top - 1, 8, _money_chart(book, findings), placed(book, "money", 660, 330))
        row = max(row, top + CHART_ROWS - 2)
    row = book.heading(sheet, row + 2, words.text("workbook.summary.sheets"))
    for key in _SHEETS:
        name = words.text(f"workbook.sheets.{key}")
        sheet.write_url(row, 1, f"internal:'{name}'!A1", book.style(font_color=FEWER, underline=1), name)
        book.write(sheet, row, 3, words.text(f"workbook.about_sheets.{key}"), font_color=MUTED)
        row += 1


def _at_a_glance(book: Book, sheet: Worksheet, row: int, findings: Findings) -> int:
    names = _GLANCE if findings.has_money else _GLANCE_WITHOUT_MONEY
    write_headers(book, sheet, row, names)
    for segment in findings.segments:
        row += 1
        write_name(book, sheet, row, segment)
        for position, name in enumerate(names, start=3):
            book.write(sheet, row, position, figure_of(segment, name), FIGURES[name][0], **LINE)
    return row


def _explained(findings: Findings, words: Wording) -> str:
    said = []
    if findings.has_money:
        returned, ordered = findings.key_figure("returned_value"), findings.key_figure("order_value")
        figures = {"returned": words.money(returned.value), "ordered": words.money(ordered.value)}
        said.append(words.plain("headline.returned", **figures))
    saving = findings.key_figure("possible_saving").value
    said.append(
        words.plain("workbook.saving", saving=words.money(saving)) if saving else str(words.text("headline.no_saving"))
    )
    return " ".join(said)


def _compared_with(findings: Findings, words: Wording) -> str:
    moved = findings.movement
    if moved.previous_fitted_at is not None:
        return words.plain("key_figures.since", date=words.day(moved.previous_fitted_at.date()))
    return str(words.text("key_figures.unknown_before" if findings.knows_before else "key_figures.first"))


def _key_figure(book: Book, sheet: Worksheet, row: int, figure: KeyFigure) -> None:
    """Write a figure, that of the run before and the change: of shares in points, of others in per cent too."""
    words, share = book.words, figure.unit == "share"
    digits = 1 if share else 0 if figure.unit else 2
    shown = book.formats.of(figure.unit, digits)
    book.write(sheet, row, 1, "", **LINE)
    names = {**words.text("key_figures.names"), **words.text("workbook.key_figures")}
    book.write(sheet, row, 2, names[figure.name], **LINE)
    book.write(sheet, row, 3, figure.value, num_format=shown, bold=True, **LINE)
    book.write(sheet, row, 4, figure.before, num_format=shown, **LINE)
    change = times(figure.change, PER_CENT if share else 1)
    points = words.unit("points", SEVERAL) if share else ""
    arrows = book.formats.change("" if share else figure.unit, digits, unchanged(words), points)
    book.write(sheet, row, 5, change, num_format=arrows, align="right", **LINE)
    relative = (
        change / abs(figure.before) if change is not None and figure.before and figure.unit and not share else None
    )
    signed = book.formats.of("share", 1)
    book.write(sheet, row, 6, relative, num_format=f"+{signed};-{signed};{signed}", **LINE)


def _over_segments(book: Book, findings: Findings, column: int) -> dict[str, Any]:
    """Return a series over the segments: what it is of stands on their sheet."""
    name = book.words.text("workbook.sheets.segments")
    first, last = TOP + 1, TOP + len(findings.segments)
    return {
        "name": [name, TOP, column],
        "categories": [name, first, 2, last, 2],
        "values": [name, first, column, last, column],
    }


def _sizes_chart(book: Book, findings: Findings) -> Any:
    chart = book.book.add_chart({"type": "bar"})
    chart.add_series(
        {
            **_over_segments(book, findings, column_of(findings, "customers")),
            "points": [segment_fill(each.segment_id) for each in findings.segments],
            "gap": 45,
            "data_labels": {"value": True, "font": CHART_FONT, "num_format": "#,##0"},
        }
    )
    titled(book, chart, "sizes")
    chart.set_legend({"none": True})
    chart.set_y_axis({**PLAIN_AXIS, "reverse": True})
    chart.set_x_axis({"visible": False, "major_gridlines": {"visible": False}, "min": 0})
    return chart


def _money_chart(book: Book, findings: Findings) -> Any:
    chart = book.book.add_chart({"type": "bar", "subtype": "stacked"})
    for name, colour in (("retained_value", RETAINED), ("returned_value", RETURNED)):
        series = _over_segments(book, findings, column_of(findings, name))
        chart.add_series({**series, "fill": {"color": colour}, "gap": 45})
    titled(book, chart, "money")
    chart.set_legend({"position": "bottom", "font": CHART_FONT})
    chart.set_y_axis({**PLAIN_AXIS, "reverse": True, "crossing": "max"})
    chart.set_x_axis({**PLAIN_AXIS, "major_gridlines": GRID, "num_format": book.formats.of("money")})
    return chart
