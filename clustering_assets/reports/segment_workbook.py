"""The report for people who live in Excel: what the page of the report tells, as sheets with native charts and filters.

Figures are written as values, no cell has a formula: what a sheet says is what the tables say. Colours of segments are
those of every picture; changes and heat maps say with a sign, too, what they say with a colour.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.compute as pc
import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from clustering_assets.contracts import CUSTOMER_LIST, Column
from clustering_assets.durable import written_beside
from clustering_assets.reports.charts import Lines, category_name, counted, last_year, rate, rate_before
from clustering_assets.reports.colours import FEWER, MORE, SEQUENCE, segment_colour
from clustering_assets.reports.data_dictionary import dictionary_row
from clustering_assets.reports.excel_sheets import (
    BAND,
    CENTS,
    FONT,
    INK,
    MUTED,
    RULE,
    Book,
    Style,
    header,
    height_of,
    segment_fill,
)
from clustering_assets.reports.findings import CategoryMonth, Findings, KeyFigure, Segment
from clustering_assets.reports.segment_report import headline
from clustering_assets.reports.wording import UNKNOWN, Wording
from clustering_assets.reports.workbook import MAX_ROWS, SheetRows, conform, fit, write_package
from clustering_assets.reports.workbook_tables import Profile, read_customer_list, read_profiles

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

MOST_LISTED = MAX_ROWS - 1
"""Customers that fit under the header of their sheet, which has a line above it."""

_RETAINED, _RETURNED = "#C9CED6", MORE
_SHOWN_FLOWS = 12
_FURTHEST = 2
"""Standard deviations at which the colour of the heat map is full."""
_CUSTOMERS = 7
"""Number of their sheet, from 1."""
_FIRST_CUSTOMER = 3
"""Their first row on it."""
_PER_CENT = 100
_SEVERAL = 2
_SIGNED = '[>=0.05]+#,##0.0;[<=-0.05]-#,##0.0;"0"'
"""What would be shown as -0.0 is nothing."""
_LINE: Style = {"bottom": 1, "bottom_color": BAND}
"""Properties of a cell in the body of a table."""


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that the workbook is made of.

    Parameters
    ----------
    customers
        The columns of `CUSTOMER_LIST`, as many customers as there is room for.
    """

    findings: Findings
    profiles: tuple[Profile, ...]
    customers: pa.Table


def read_content(backend: Backend, findings: Findings, most_customers: int = MOST_LISTED) -> Content:
    """Read what the workbook has beside the findings."""
    return Content(findings, read_profiles(backend), read_customer_list(backend, most_customers))


def write_segment_workbook(path: Path, content: Content, wording: Wording, now: datetime) -> None:
    """Write the workbook beside its place and put it there; the same content gives the same bytes.

    Parameters
    ----------
    now
        Moment to tell as that of writing (UTC).

    Raises
    ------
    CannotWrite
        If the disk is full or the folder cannot be written.
    """
    customers = _in_words(conform(content.customers, CUSTOMER_LIST), content, wording)
    skeleton = BytesIO()
    with xlsxwriter.Workbook(skeleton, {"in_memory": True}) as book:
        _write_sheets(book, content, customers, wording, now)
    rows = SheetRows(fit(customers, Counter()), _FIRST_CUSTOMER, styled_texts=True)
    with written_beside(path) as beside, beside.open("xb") as file, ZipFile(skeleton) as package:
        write_package(file, package, {_CUSTOMERS: rows})


def _write_sheets(
    book: xlsxwriter.Workbook, content: Content, customers: pa.Table, words: Wording, now: datetime
) -> None:
    findings = content.findings
    as_of = words.plain("as_of", date=words.day(findings.as_of))
    fitted = words.plain(
        "workbook.fitted", date=words.day(findings.fit.fitted_at.date()), run=findings.fit.model_run_id
    )
    book.set_properties(
        {
            "title": str(words.text("title")),
            "subject": as_of,
            "comments": headline(findings, words),
            "keywords": "customer segments, returns",
            "created": findings.fit.fitted_at,
        }
    )
    sheets = Book(book, words, f"{as_of} · {fitted}")
    _summary(sheets, findings)
    _segments(sheets, findings)
    _profile(sheets, content)
    _months(sheets, findings)
    _movements(sheets, findings)
    _quality(sheets, findings)
    _customers(sheets, findings, customers)
    _dictionary(sheets, findings)
    _about(sheets, findings, now)
    book.worksheets()[0].activate()


# -------------------------------------------------------------------------------------------------------------- summary


_SHEETS = ("segments", "profile", "months", "movements", "quality", "customers", "dictionary", "about")
_KEY_HEADERS = ("figure", "now", "before", "change", "relative")
_GLANCE = ("customers", "share", "returned_value_share", "possible_saving")
_GLANCE_WITHOUT_MONEY = ("customers", "share", "order_count", "return_rate")
_CHART_ROWS = 16


def _summary(book: Book, findings: Findings) -> None:
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
    sheet.insert_chart(top - 1, 8, _sizes_chart(book, findings), _placed(book, "sizes", 660, 340))
    row = top = book.heading(sheet, max(row + 3, top + _CHART_ROWS - 1), words.text("segments.heading"))
    row = _at_a_glance(book, sheet, row, findings)
    if findings.has_money:
        sheet.insert_chart(top - 1, 8, _money_chart(book, findings), _placed(book, "money", 660, 330))
        row = max(row, top + _CHART_ROWS - 2)
    row = book.heading(sheet, row + 2, words.text("workbook.summary.sheets"))
    for key in _SHEETS:
        name = words.text(f"workbook.sheets.{key}")
        sheet.write_url(row, 1, f"internal:'{name}'!A1", book.style(font_color=FEWER, underline=1), name)
        book.write(sheet, row, 3, words.text(f"workbook.about_sheets.{key}"), font_color=MUTED)
        row += 1


def _at_a_glance(book: Book, sheet: Worksheet, row: int, findings: Findings) -> int:
    words, names = book.words, _GLANCE if findings.has_money else _GLANCE_WITHOUT_MONEY
    book.write(sheet, row, 1, "", **header())
    book.headers(sheet, row, 2, [words.text(f"workbook.segments.{name}") for name in ("segment", *names)], indent=1)
    for segment in findings.segments:
        row += 1
        sheet.set_row(row, 20)
        book.swatch(sheet, row, 1, segment.segment_id)
        book.write(sheet, row, 2, words.segment(segment.name), bold=True, indent=1, **_LINE)
        for position, name in enumerate(names, start=3):
            book.write(sheet, row, position, _figure(segment, name), _FIGURES[name][0], **_LINE)
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
    return str(words.text("key_figures.unknown_before" if _has_before(findings) else "key_figures.first"))


def _has_before(findings: Findings) -> bool:
    return findings.movement.comparable or any(figure.before is not None for figure in findings.key_figures)


def _key_figure(book: Book, sheet: Worksheet, row: int, figure: KeyFigure) -> None:
    """Write a figure, that of the run before and the change: of shares in points, of others in per cent too."""
    words, share = book.words, figure.unit == "share"
    digits = 1 if share else 0 if figure.unit else 2
    shown = book.formats.of(figure.unit, digits)
    book.write(sheet, row, 1, "", **_LINE)
    names = {**words.text("key_figures.names"), **words.text("workbook.key_figures")}
    book.write(sheet, row, 2, names[figure.name], **_LINE)
    book.write(sheet, row, 3, figure.value, num_format=shown, bold=True, **_LINE)
    book.write(sheet, row, 4, figure.before, num_format=shown, **_LINE)
    change = _times(figure.change, _PER_CENT if share else 1)
    points = words.unit("points", _SEVERAL) if share else ""
    arrows = book.formats.change("" if share else figure.unit, digits, _unchanged(words), points)
    book.write(sheet, row, 5, change, num_format=arrows, align="right", **_LINE)
    relative = (
        change / abs(figure.before) if change is not None and figure.before and figure.unit and not share else None
    )
    signed = book.formats.of("share", 1)
    book.write(sheet, row, 6, relative, num_format=f"+{signed};-{signed};{signed}", **_LINE)


def _unchanged(words: Wording) -> str:
    return str(words.text("key_figures.unchanged"))


# --------------------------------------------------------------------------------------------------------------- charts


def _placed(book: Book, key: str, width: int, height: int) -> dict[str, Any]:
    """Return where a chart goes, and what it tells who cannot see it."""
    return {
        "object_position": 2,
        "x_scale": width / 480,
        "y_scale": height / 288,
        "description": str(book.words.text(f"workbook.charts.{key}.alternative")),
    }


def _titled(book: Book, chart: Any, key: str) -> None:
    chart.set_title(
        {
            "name": str(book.words.text(f"workbook.charts.{key}.title")),
            "name_font": {"name": FONT, "size": 11, "bold": True, "color": INK},
            "overlay": False,
            "layout": {"x": 0.02, "y": 0.03},
        }
    )
    chart.set_chartarea({"border": {"none": True}})


_FONT = {"name": FONT, "size": 9, "color": "#444444"}
_PLAIN_AXIS = {"num_font": _FONT, "line": {"color": RULE}, "major_gridlines": {"visible": False}}
_GRID = {"visible": True, "line": {"color": "#E3E6EA"}}


def _over_segments(book: Book, findings: Findings, column: int) -> dict[str, Any]:
    """Return a series over the segments: what it is of stands on their sheet."""
    name = book.words.text("workbook.sheets.segments")
    first, last = _SEGMENTS_TOP + 1, _SEGMENTS_TOP + len(findings.segments)
    return {
        "name": [name, _SEGMENTS_TOP, column],
        "categories": [name, first, 2, last, 2],
        "values": [name, first, column, last, column],
    }


def _sizes_chart(book: Book, findings: Findings) -> Any:
    chart = book.book.add_chart({"type": "bar"})
    chart.add_series(
        {
            **_over_segments(book, findings, _place(findings, "customers")),
            "points": [segment_fill(each.segment_id) for each in findings.segments],
            "gap": 45,
            "data_labels": {"value": True, "font": _FONT, "num_format": "#,##0"},
        }
    )
    _titled(book, chart, "sizes")
    chart.set_legend({"none": True})
    chart.set_y_axis({**_PLAIN_AXIS, "reverse": True})
    chart.set_x_axis({"visible": False, "major_gridlines": {"visible": False}, "min": 0})
    return chart


def _money_chart(book: Book, findings: Findings) -> Any:
    chart = book.book.add_chart({"type": "bar", "subtype": "stacked"})
    for name, colour in (("retained_value", _RETAINED), ("returned_value", _RETURNED)):
        series = _over_segments(book, findings, _place(findings, name))
        chart.add_series({**series, "fill": {"color": colour}, "gap": 45})
    _titled(book, chart, "money")
    chart.set_legend({"position": "bottom", "font": _FONT})
    chart.set_y_axis({**_PLAIN_AXIS, "reverse": True, "crossing": "max"})
    chart.set_x_axis({**_PLAIN_AXIS, "major_gridlines": _GRID, "num_format": book.formats.of("money")})
    return chart


# ------------------------------------------------------------------------------------------------------------- segments

_SEGMENTS_TOP = 3
"""Row of the headers, from 0: the charts refer to it."""

_FIGURES: dict[str, tuple[str, bool]] = {
    "customers": ("customers", False),
    "customers_change": ("change", False),
    "share": ("share", False),
    "order_count": ("orders", False),
    "order_value": ("money", True),
    "value_share": ("share", True),
    "returned_value": ("money", True),
    "returned_value_share": ("share", True),
    "retained_value": ("money", True),
    "return_rate": ("share", False),
    "possible_saving": ("money", True),
    "silhouette": ("", False),
    "stability": ("", False),
}
"""Figures of a segment: unit, and whether they are known only where order lines have values."""


def _shown(findings: Findings) -> list[str]:
    return [name for name, (_, needs_money) in _FIGURES.items() if findings.has_money or not needs_money]


def _place(findings: Findings, name: str) -> int:
    """Return the column of a figure on the sheet of the segments."""
    return 3 + _shown(findings).index(name)


def _figure(segment: Segment, name: str) -> float | None:
    if name == "possible_saving":
        return segment.saving.possible_saving
    if name == "customers_change":
        return None if segment.customers_before is None else segment.customers - segment.customers_before
    value: float | None = getattr(segment, name)
    return value


def _segments(book: Book, findings: Findings) -> None:
    words, shown = book.words, _shown(findings)
    sheet = book.sheet("segments", [2, 2.5, 31, *[12.5] * len(shown)])
    width = 31 + 12.5 * len(shown)
    book.title(sheet, words.text("segments.heading"), words.text("workbook.segments.intro"), width)
    row = _SEGMENTS_TOP
    book.write(sheet, row, 1, "", **header())
    names = [words.text(f"workbook.segments.{name}") for name in ("segment", *shown)]
    book.headers(sheet, row, 2, names, indent=1)
    arrows = book.formats.change("", 0, _unchanged(words))
    for segment in findings.segments:
        row += 1
        sheet.set_row(row, 20)
        book.swatch(sheet, row, 1, segment.segment_id)
        book.write(sheet, row, 2, words.segment(segment.name), bold=True, indent=1, **_LINE)
        for position, name in enumerate(shown, start=3):
            unit = _FIGURES[name][0]
            shape = arrows if unit == "change" else book.formats.of(unit, None if unit else 2)
            book.write(sheet, row, position, _figure(segment, name), num_format=shape, align="right", **_LINE)
    first, last = _SEGMENTS_TOP + 1, row
    row += 1
    _totals(book, sheet, row, findings, shown)
    for name in ("share", "value_share", "returned_value_share", "return_rate"):
        if name in shown:
            column = 3 + shown.index(name)
            sheet.conditional_format(first, column, last, column, _bars())
    sheet.freeze_panes(0, 3)
    _cards(book, sheet, row + 2, findings, len(shown))


def _bars() -> dict[str, Any]:
    return {
        "type": "data_bar",
        "bar_color": "#B8C7D9",
        "bar_solid": True,
        "data_bar_2010": True,
        "min_type": "num",
        "min_value": 0,
        "max_type": "num",
        "max_value": 1,
    }


def _totals(book: Book, sheet: Worksheet, row: int, findings: Findings, shown: Sequence[str]) -> None:
    sums = {"customers": "customers", "order_count": "orders"}
    top: Style = {"bold": True, "top": 1, "top_color": INK}
    book.write(sheet, row, 1, "", **top)
    book.write(sheet, row, 2, book.words.text("workbook.segments.all"), **top)
    for position, name in enumerate(shown, start=3):
        unit = _FIGURES[name][0]
        if name in ("share", "value_share", "returned_value_share"):
            value: float | None = 1.0
        elif name == "customers_change":
            changes = [_figure(segment, name) for segment in findings.segments]
            book.write(sheet, row, position, "", **top)
            if None in changes:
                continue
            value = findings.key_figure("customers").change
        elif name == "silhouette":
            value = findings.fit.silhouette_full  # in the space of all features, as those of the segments
        else:
            value = findings.key_figure(sums.get(name, name)).value
        arrows = book.formats.change("", 0, _unchanged(book.words))
        shape = arrows if unit == "change" else book.formats.of(unit, None if unit else 2)
        book.write(sheet, row, position, value, num_format=shape, align="right", **top)


def _cards(book: Book, sheet: Worksheet, row: int, findings: Findings, figures: int) -> None:
    """Write what is to be said of each segment, over the columns of the figures above."""
    words = book.words
    row = book.heading(sheet, row, words.text("workbook.segments.words"))
    parts = _split(3, figures, 3)
    titles = ("segments.apart", "segments.action", "segments.saving")
    book.write(sheet, row, 1, "", **header())
    book.write(sheet, row, 2, words.text("workbook.segments.segment"), **header(left=True, indent=1))
    for (first, last), title in zip(parts, titles, strict=True):
        sheet.merge_range(row, first, row, last, "", book.style(**header(left=True)))
        book.write(sheet, row, first, words.text(title), **header(left=True))
    for segment in findings.segments:
        row += 1
        texts = [_apart(segment, words), _to_do(segment, words), _saving(segment, words)]
        style: Style = {"text_wrap": True, "valign": "top", "bottom": 1, "bottom_color": BAND}
        heights = [height_of(words.segment(segment.name), 31)]
        book.swatch(sheet, row, 1, segment.segment_id)
        book.write(sheet, row, 2, words.segment(segment.name), bold=True, indent=1, align="left", **style)
        for (first, last), text in zip(parts, texts, strict=True):
            sheet.merge_range(row, first, row, last, "", book.style(**style))
            book.write(sheet, row, first, text, **style)
            heights.append(height_of(text, 12.5 * (last - first + 1)))
        sheet.set_row(row, max(heights) + 4)


def _split(first: int, count: int, parts: int) -> list[tuple[int, int]]:
    """Split columns into parts of about the same width: first and last of each."""
    ends = [first + round(count * part / parts) for part in range(parts + 1)]
    return [(start, end - 1) for start, end in pairwise(ends)]


def _apart(segment: Segment, words: Wording) -> str:
    """Say what sets a segment apart, a line for each difference, in the unit of the feature."""
    lines = []
    for each in segment.differences:
        against = words.plain(
            "workbook.segments.against",
            value=words.measured(each.mean, each.unit),
            shop=words.measured(each.shop_mean, each.unit),
        )
        lines.append(f"{words.feature(each.feature)}: {against}")
    return "\n".join(lines) or UNKNOWN


def _to_do(segment: Segment, words: Wording) -> str:
    return words.action(segment.kind, segment.action)


def _saving(segment: Segment, words: Wording) -> str:
    saving = segment.saving
    if saving.possible_saving is None:
        return str(words.text("segments.no_money"))
    if not saving.handling_averted and not saving.value_loss_averted:
        return str(words.text("segments.no_measure"))
    said = words.plain(
        "workbook.segments.saves", saving=words.money(saving.possible_saving), cost=words.money(saving.return_cost)
    )
    parts = words.assumptions(saving, words.plain)
    return f"{said}. {words.plain('segments.assumes', parts=str(words.text('segments.and')).join(parts))}"


# -------------------------------------------------------------------------------------------------------------- profile


def _profile(book: Book, content: Content) -> None:
    """Write the heat map: features by segments, and the same in the units of the features beside it."""
    words, segments = book.words, content.findings.segments
    count = len(segments)
    narrow = 11.5
    sheet = book.sheet("profile", [2, 34, 11, 12, *[narrow] * count, 2, *[narrow] * count])
    intro = words.text("workbook.profile.intro")
    row = book.title(sheet, words.text("workbook.profile.heading"), intro, 57 + narrow * 2 * count)
    own = 5 + count
    style: Style = {"bold": True, "font_size": 12}
    book.write(sheet, row, 4, words.text("workbook.profile.distance"), **style)
    book.write(sheet, row, own, words.text("workbook.profile.own_units"), **style)
    row += 1
    for position, segment in enumerate(segments):
        book.swatch(sheet, row, 4 + position, segment.segment_id)
        book.swatch(sheet, row, own + position, segment.segment_id)
    sheet.set_row(row, 6)
    row += 1
    names = [words.segment(segment.name) for segment in segments]
    first_names = [words.text(f"workbook.profile.{name}") for name in ("feature", "unit", "everybody")]
    book.headers(sheet, row, 1, [*first_names, *names], left=2)
    for position, name in enumerate(names):
        book.write(sheet, row, own + position, name, **header())
    sheet.freeze_panes(row + 1, 4)
    sheet.repeat_rows(row - 1, row)
    top, group = row + 1, ""
    for profile in content.profiles:
        if profile.feature.group != group:
            group = profile.feature.group
            row += 1
            book.write(
                sheet, row, 1, words.text(f"workbook.groups.{group}"), bold=True, font_color=MUTED, valign="bottom"
            )
            sheet.set_row(row, 20)
        row += 1
        _profile_row(book, sheet, row, profile, segments, own)
    sheet.conditional_format(
        top,
        4,
        row,
        3 + count,
        {
            "type": "3_color_scale",
            "min_type": "num",
            "mid_type": "num",
            "max_type": "num",
            "min_value": -_FURTHEST,
            "mid_value": 0,
            "max_value": _FURTHEST,
            "min_color": FEWER,
            "mid_color": "#FFFFFF",
            "max_color": MORE,
        },
    )


def _profile_row(
    book: Book, sheet: Worksheet, row: int, profile: Profile, segments: Sequence[Segment], own: int
) -> None:
    column, words = profile.feature, book.words
    points = column.unit == "difference"
    unit = words.unit("points", _SEVERAL) if points else _unit(column.unit, book)
    scale = _PER_CENT if points else 1
    shape = _SIGNED if points else _own_format(book, profile)
    book.write(sheet, row, 1, words.feature(column.name), **_LINE)
    book.write(sheet, row, 2, unit, font_color=MUTED, **_LINE)
    book.write(sheet, row, 3, _times(profile.mean, scale), num_format=shape, align="right", **_LINE)
    for position, segment in enumerate(segments):
        distance = profile.distances.get(segment.segment_id)
        # readable on both ends of the scale
        far = distance is not None and abs(distance) > 0.7 * _FURTHEST
        colour: Style = {"font_color": "#FFFFFF"} if far else {}
        shown: Style = {"num_format": _SIGNED, "align": "center", **colour}
        book.write(sheet, row, 4 + position, distance, **shown, **_LINE)
        mean = _times(segment.means[column.name], scale)
        book.write(sheet, row, own + position, mean, num_format=shape, align="right", **_LINE)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value


def _unit(unit: str, book: Book) -> str:
    if unit == "money":
        return book.words.currency
    if unit == "share":
        return "%"
    if unit in book.words.text("units"):
        return book.words.unit(unit, _SEVERAL)
    return book.words.name_of("workbook.units", unit)


def _own_format(book: Book, profile: Profile) -> str:
    unit, mean = profile.feature.unit, profile.mean or 0.0
    if unit == "share":
        return book.formats.of("share")
    if unit == "money":
        return book.formats.of("money" if abs(mean) >= 100 else CENTS)
    return book.formats.of(unit, 0 if abs(mean) >= 100 else 1 if abs(mean) >= 10 else 2)


# --------------------------------------------------------------------------------------------------------------- months


_SHARES = ("lines", "returned_lines", "rate", "rate_before", "change")


def _months(book: Book, findings: Findings) -> None:
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
        book.write(sheet, row, 1, month, num_format="mmm yyyy", **_LINE)
        _shares(book, sheet, row, found, [month])
        if money:
            own = [each for each in findings.category_months if each.month == month]
            for column, values in ((7, [each.order_value for each in own]), (8, [each.returned_value for each in own])):
                book.write(sheet, row, column, sum(value or 0.0 for value in values), "money", **_LINE)
    sheet.freeze_panes(top + 1, 2)
    sheet.repeat_rows(top)
    side = 8 + 2 * money
    if len(months) > _YEAR:
        chart = _year_chart(book, row)
        sheet.insert_chart(top, side, chart, _placed(book, "rate", 700, 320))
    else:
        book.write(sheet, top, side, words.text("categories.no_year"), font_color=MUTED)
    _categories(book, sheet, row + 2, findings, top + (_CHART_ROWS if len(months) > _YEAR else 0) + 2)


_YEAR = 12


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
    change = None if now is None or before is None else _PER_CENT * (now - before)
    for column, value, unit in ((2, lines, "lines"), (3, returned, "lines"), (4, now, "share"), (5, before, "share")):
        book.write(sheet, row, column, value, unit, **_LINE)
    book.write(sheet, row, 6, change, num_format=_SIGNED, **_LINE)


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
    _titled(book, chart, "rate")
    chart.set_legend({"position": "bottom", "font": _FONT})
    chart.set_x_axis({**_PLAIN_AXIS, "num_format": "mmm yyyy", "text_axis": True, "label_position": "low"})
    shape = book.formats.of("share", 0)
    chart.set_y_axis({**_PLAIN_AXIS, "major_gridlines": _GRID, "min": 0, "num_format": shape, "line": {"none": True}})
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
        book.write(sheet, row, 1, category, text_wrap=True, **_LINE)
        sheet.set_row(row, height_of(category, 24))
        _shares(book, sheet, row, counted(own), year)
    sheet.conditional_format(top, 4, row, 4, _bars())
    chart = _categories_chart(book, top - 1, row)
    sheet.insert_chart(
        chart_row, 10 if findings.has_money else 8, chart, _placed(book, "categories", 700, 90 + 30 * len(groups))
    )


def _categories_chart(book: Book, top: int, last: int) -> Any:
    chart = book.book.add_chart({"type": "bar"})
    name = book.words.text("workbook.sheets.months")
    for key, column, colour in (("this_year", 4, MORE), ("year_before", 5, _RETAINED)):
        chart.add_series(
            {
                "name": str(book.words.text(f"categories.{key}")),
                "categories": [name, top + 1, 1, last, 1],
                "values": [name, top + 1, column, last, column],
                "fill": {"color": colour},
                "gap": 60,
            }
        )
    _titled(book, chart, "categories")
    chart.set_legend({"position": "bottom", "font": _FONT})
    chart.set_y_axis({**_PLAIN_AXIS, "reverse": True, "crossing": "max"})
    chart.set_x_axis({**_PLAIN_AXIS, "major_gridlines": _GRID, "num_format": book.formats.of("share", 0), "min": 0})
    return chart


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


# ------------------------------------------------------------------------------------------------------------ movements


def _movements(book: Book, findings: Findings) -> None:
    words, moved = book.words, findings.movement
    ids = _ids_that_moved(findings)
    sheet = book.sheet("movements", [2, 34, *[12] * max(len(ids) + 2, 10)])
    sheet.fit_to_pages(1, 1)
    row = book.title(sheet, words.text("movement.heading"), _moved_in_words(findings, words))
    if moved.flows:
        row = _matrix(book, sheet, row, findings, ids)
        row = _ways(book, sheet, row + 2, findings)
    if findings.history:
        _history(book, sheet, row + 2, findings)


def _moved_in_words(findings: Findings, words: Wording) -> str:
    moved = findings.movement
    if not moved.comparable:
        return str(words.text("movement.not_comparable" if _has_before(findings) else "movement.first"))
    figures = {
        "kept": words.percent(moved.kept_share),
        "moved": words.number(moved.moved),
        "joined": words.number(moved.joined),
        "left": words.number(moved.left),
    }
    if moved.previous_fitted_at is None:
        return words.plain("movement.intro_without_date", **figures)
    return words.plain("movement.intro", date=words.day(moved.previous_fitted_at.date()), **figures)


def _ids_that_moved(findings: Findings) -> dict[int, str]:
    """Return the segments of now, and those that are no more, with their names."""
    names = {each.segment_id: each.name for each in findings.segments}
    for flow in findings.movement.flows:
        if flow.from_id is not None and flow.from_name is not None:
            names.setdefault(flow.from_id, flow.from_name)
    return names


def _matrix(book: Book, sheet: Worksheet, row: int, findings: Findings, ids: Mapping[int, str]) -> int:
    """Write who went from where to where; who joined is in the last row, who left in the last column."""
    words, flows = book.words, findings.movement.flows
    now = [each.segment_id for each in findings.segments]
    counts = {(flow.from_id, flow.to_id): flow.customers for flow in flows}
    to: list[int | None] = [*now, None]
    names = [words.segment(ids[each]) if each is not None else str(words.text("movement.left")) for each in to]
    corner = f"{words.text('movement.before')} ↓   {words.text('movement.now')} →"
    book.headers(sheet, row, 1, [corner, *names, words.text("workbook.movements.total")])
    top = row + 1
    for source in (*ids, None):
        row += 1
        name = words.segment(ids[source]) if source is not None else str(words.text("movement.joined"))
        book.write(sheet, row, 1, name, bold=True)
        for position, target in enumerate(to, start=2):
            if source is None and target is None:
                continue
            stayed: Style = {"bold": True, "border": 1, "border_color": INK} if source == target else {}
            count = counts.get((source, target), 0)
            book.write(sheet, row, position, count, num_format='#,##0;-#,##0;"·"', align="right", **stayed)
        came = sum(counts.get((source, target), 0) for target in to)
        book.write(sheet, row, 2 + len(to), came, num_format="#,##0", bold=True, left=1)
    scale = {
        "type": "2_color_scale",
        "min_type": "num",
        "min_value": 0,
        "min_color": "#FFFFFF",
        "max_color": SEQUENCE[1],
    }
    sheet.conditional_format(top, 2, row, 1 + len(to), scale)
    row += 1
    total: Style = {"bold": True, "top": 1, "top_color": INK}
    book.write(sheet, row, 1, words.text("workbook.movements.total"), **total)
    for position, target in enumerate(to, start=2):
        went = sum(counts.get((source, target), 0) for source in (*ids, None))
        book.write(sheet, row, position, went, num_format="#,##0", **total)
    book.write(sheet, row, 2 + len(to), sum(counts.values()), num_format="#,##0", left=1, **total)
    return row


def _ways(book: Book, sheet: Worksheet, row: int, findings: Findings) -> int:
    """Write the ways that most customers went."""
    words = book.words
    went = [flow for flow in findings.movement.flows if flow.from_id != flow.to_id]
    row = book.heading(sheet, row, words.text("workbook.movements.ways"))
    if not went:
        book.write(sheet, row, 1, words.text("workbook.movements.nobody"), font_color=MUTED)
        return row
    sums: Counter[int | None] = Counter()
    for flow in findings.movement.flows:
        sums[flow.from_id] += flow.customers
    parts = ((1, 1, "movement.before"), (2, 4, "movement.now"))
    for first, last, key in parts:
        if last > first:
            sheet.merge_range(row, first, row, last, "", book.style(**header(left=True)))
        book.write(sheet, row, first, words.text(key), **header(left=True))
    for column, key in ((5, "customers"), (6, "share")):
        book.write(sheet, row, column, words.text(f"workbook.movements.{key}"), **header())
    sheet.set_row(row, 32)
    for flow in went[:_SHOWN_FLOWS]:
        row += 1
        names = (
            words.segment(flow.from_name) if flow.from_name is not None else str(words.text("movement.joined")),
            words.segment(flow.to_name) if flow.to_name is not None else str(words.text("movement.left")),
        )
        book.write(sheet, row, 1, names[0])
        book.write(sheet, row, 2, f"→ {names[1]}")
        book.write(sheet, row, 5, flow.customers, "customers")
        share = flow.customers / sums[flow.from_id] if flow.from_id is not None else None
        book.write(sheet, row, 6, share, "share")
    return row


def _history(book: Book, sheet: Worksheet, row: int, findings: Findings) -> None:
    """Write the share of each segment over the past months, and draw it."""
    words = book.words
    row = book.heading(sheet, row, words.text("movement.history"))
    months = sorted({each.as_of for each in findings.history})
    totals: Counter[date] = Counter()
    names: dict[int, str] = {}
    for each in findings.history:
        totals[each.as_of] += each.customers
        names[each.segment_id] = each.segment_name
    ids = sorted(names, key=lambda segment: (segment < 0, segment))
    found = {(each.segment_id, each.as_of): each.customers for each in findings.history}
    titles = [words.segment(names[segment]) for segment in ids]
    book.headers(sheet, row, 1, [words.text("movement.month"), *titles])
    top = row
    for month in months:
        row += 1
        book.write(sheet, row, 1, month, num_format="mmm yyyy")
        for position, segment in enumerate(ids, start=2):
            book.write(sheet, row, position, found.get((segment, month), 0) / totals[month], "share")
    chart = book.book.add_chart({"type": "line"})
    name = words.text("workbook.sheets.movements")
    for position, segment in enumerate(ids, start=2):
        colour = segment_colour(segment)
        chart.add_series(
            {
                "name": [name, top, position],
                "categories": [name, top + 1, 1, row, 1],
                "values": [name, top + 1, position, row, position],
                "line": {"color": colour, "width": 2.25},
                "marker": {"type": "automatic", "size": 6, "fill": {"color": colour}, "border": {"color": colour}},
            }
        )
    _titled(book, chart, "history")
    chart.set_legend({"position": "right", "font": _FONT})
    chart.set_x_axis({**_PLAIN_AXIS, "num_format": "mmm yyyy", "text_axis": True})
    chart.set_y_axis({**_PLAIN_AXIS, "major_gridlines": _GRID, "min": 0, "num_format": book.formats.of("share", 0)})
    sheet.insert_chart(row + 2, 1, chart, _placed(book, "history", 900, 320))


# -------------------------------------------------------------------------------------------------------------- quality


def _quality(book: Book, findings: Findings) -> None:
    words, quality = book.words, findings.quality
    sheet = book.sheet("quality", [2, 46, 14, 14, 14, 14, 14, 14, 60])
    kept = _ratio(quality.rows_kept, quality.rows_read)
    intro = words.plain(
        "quality.rows_intro",
        read=words.number(quality.rows_read),
        files=words.number(quality.file_count),
        kept=words.number(quality.rows_kept),
        share=words.percent(kept, 1),
    )
    row = book.title(sheet, words.text("quality.heading"), intro)
    row = book.heading(sheet, row, words.text("quality.rows"))
    book.headers(sheet, row, 1, ["", words.text("quality.count"), words.text("quality.share")])
    for what in ("read", "kept", "rejected", "superseded", "merged"):
        row += 1
        count = getattr(quality, f"rows_{what}")
        _counted(book, sheet, row, words.text(f"quality.{what}"), count, quality.rows_read)
    if quality.rejected:
        row = book.heading(sheet, row + 2, words.text("quality.why"))
        names = [words.text(key) for key in ("workbook.quality.reason", "quality.count", "quality.share")]
        book.headers(sheet, row, 1, names)
        for code, count in quality.rejected.items():
            row += 1
            _counted(book, sheet, row, words.name_of("quality.codes", code), count, quality.rows_read)
    row = book.heading(sheet, row + 2, words.text("quality.customers"))
    said = words.plain(
        "quality.customers_said",
        kept=words.number(quality.customers_kept),
        dropped=words.number(quality.customers_dropped),
    )
    book.paragraph(sheet, row, 1, said, 110)
    row = _imputed(book, sheet, row + 2, findings)
    _files(book, sheet, row + 2, findings)


def _counted(book: Book, sheet: Worksheet, row: int, name: str, count: int, whole: int) -> None:
    book.write(sheet, row, 1, name, **_LINE)
    book.write(sheet, row, 2, count, "rows", **_LINE)
    share = book.formats.of("share", 2)
    book.write(sheet, row, 3, _ratio(count, whole), num_format=share, **_LINE)


def _imputed(book: Book, sheet: Worksheet, row: int, findings: Findings) -> int:
    words, imputed = book.words, findings.quality.imputed
    row = book.heading(sheet, row, words.text("quality.imputed"))
    if not imputed:
        book.write(sheet, row, 1, words.text("quality.nothing_imputed"), font_color=MUTED)
        return row
    book.paragraph(sheet, row, 1, words.text("quality.imputed_intro"), 110)
    row += 1
    names = [words.text(f"quality.{key}") for key in ("feature", "filled", "filled_share", "filled_with")]
    book.headers(sheet, row, 1, names)
    top = row + 1
    for each in imputed:
        row += 1
        book.write(sheet, row, 1, words.feature(each.feature), **_LINE)
        book.write(sheet, row, 2, each.values_filled, "customers", **_LINE)
        book.write(sheet, row, 3, each.share, "share", **_LINE)
        book.write(sheet, row, 4, each.fill_value, num_format="#,##0.##", **_LINE)
    sheet.conditional_format(top, 3, row, 3, _bars())
    return row


def _files(book: Book, sheet: Worksheet, row: int, findings: Findings) -> None:
    words, quality = book.words, findings.quality
    row = book.heading(sheet, row, words.text("quality.files"))
    counts = ("read", "kept", "rejected", "superseded", "merged")
    titles = [words.text(f"workbook.quality.{key}") for key in ("file", "status", *counts, "note")]
    book.headers(sheet, row, 1, titles, left=2)
    book.write(sheet, row, 8, titles[-1], **header(left=True, indent=1))
    style: Style = {"valign": "top", "bottom": 1, "bottom_color": BAND}
    for file in quality.files:
        row += 1
        reason = file.reason or ""
        book.write(sheet, row, 1, file.source_file, text_wrap=True, **style)
        book.write(sheet, row, 2, words.name_of("quality.statuses", file.status), **style)
        for position, what in enumerate(counts, start=3):
            book.write(sheet, row, position, getattr(file, f"rows_{what}"), "rows", **style)
        book.write(sheet, row, 8, reason, text_wrap=True, indent=1, align="left", **style)
        sheet.set_row(row, max(height_of(file.source_file, 46), height_of(reason, 60)))
    if quality.file_count > len(quality.files):
        more = words.plain("quality.more_files", count=words.number(quality.file_count - len(quality.files)))
        book.write(sheet, row + 1, 1, more, font_color=MUTED)


# ------------------------------------------------------------------------------------------------------------ customers


def _label(name: str, findings: Findings, words: Wording) -> str:
    """Return what a column of the list of customers is called."""
    if name == "customer_id" and findings.fit.ids_are_pseudonyms:
        return str(words.text("workbook.pseudonym"))
    columns: Mapping[str, str] = words.text("workbook.columns")
    return columns[name] if name in columns else words.feature(name)


def _in_words(customers: pa.Table, content: Content, words: Wording) -> pa.Table:
    """Put names of segments, reasons and stages into the language."""
    names = {each.name: words.segment(each.name) for each in content.findings.segments}
    stages: Mapping[str, str] = words.text("workbook.stages")
    customers = _replaced(customers, "segment_name", lambda name: names.get(name, name))
    customers = _replaced(customers, "tenure_stage", lambda stage: stages.get(stage, stage))
    for number in (1, 2, 3):
        customers = _replaced(customers, f"reason_{number}", lambda reason: _reason(reason, words))
    return customers


def _replaced(customers: pa.Table, name: str, replace: Any) -> pa.Table:
    """Replace the texts of a column, each distinct one once."""
    encoded = customers.column(name).combine_chunks().dictionary_encode()
    words = pa.array([replace(text) for text in encoded.dictionary.to_pylist()], pa.large_string())
    column = words.take(encoded.indices)
    return customers.set_column(customers.schema.get_field_index(name), name, column)


def _reason(reason: str, words: Wording) -> str:
    """Put a reason, such as ``return_rate 0.48 (typical 0.06)``, into the language."""
    name, _, rest = reason.partition(" ")
    value, _, typical = rest.removesuffix(")").partition(" (typical ")
    label = words.feature(name)
    if label == name or not typical:
        return reason
    point = words.locale.number_symbols["latn"]["decimal"]
    return words.plain(
        "workbook.reason", feature=label, value=value.replace(".", point), typical=typical.replace(".", point)
    )


def _customers(book: Book, findings: Findings, customers: pa.Table) -> None:
    """Make the sheet of the customers; their rows take the place of its third row."""
    words, listed = book.words, customers.num_rows
    sheet = book.sheet("customers", [], prose=False)
    book.write(sheet, 0, 0, _listed_in_words(findings, listed, words), font_color=MUTED)
    sheet.set_row(0, 20)
    sheet.set_row(1, 48)
    columns = CUSTOMER_LIST.columns
    labels = [_label(column.name, findings, words) for column in columns]
    for position, (column, label) in enumerate(zip(columns, labels, strict=True)):
        style = book.style(num_format=_list_format(book, column), **_list_side(column))
        sheet.set_column(position, position, _list_width(column, label, customers))
        sheet.write_blank(_FIRST_CUSTOMER - 1, position, None, style)
    sheet.write_blank(_FIRST_CUSTOMER - 1, len(columns), None, book.style(quote_prefix=True, indent=1))
    last = _FIRST_CUSTOMER + listed - 2
    sheet.add_table(
        _FIRST_CUSTOMER - 2,
        0,
        last,
        len(columns) - 1,
        {
            "name": "Customers",
            "style": "Table Style Light 1",
            "columns": [
                {"header": label, "header_format": book.style(**_list_header(column))}
                for column, label in zip(columns, labels, strict=True)
            ],
        },
    )
    sheet.freeze_panes(_FIRST_CUSTOMER - 1, 1)
    sheet.repeat_rows(_FIRST_CUSTOMER - 2)
    sheet.repeat_columns(0)
    sheet.fit_to_pages(2, 0)  # their figures, and why they are where they are
    sheet.ignore_errors({"number_stored_as_text": f"A{_FIRST_CUSTOMER}:A{last + 1}"})
    ids = CUSTOMER_LIST.column_names.index("segment_id")
    for segment in findings.segments:
        light = segment.is_outliers or segment.segment_id % 8 in (3, 4, 5)
        style = book.book.add_format(
            {"bg_color": segment_colour(segment.segment_id), "font_color": INK if light else "#FFFFFF"}
        )
        rule = {"type": "cell", "criteria": "==", "value": segment.segment_id, "format": style}
        sheet.conditional_format(_FIRST_CUSTOMER - 1, ids, last, ids, rule)
    rate = CUSTOMER_LIST.column_names.index("return_rate")
    sheet.conditional_format(_FIRST_CUSTOMER - 1, rate, last, rate, _bars())


def _listed_in_words(findings: Findings, listed: int, words: Wording) -> str:
    total = findings.customers.total
    key = "all" if listed >= total else "first"
    said = words.plain(f"workbook.customers.{key}", listed=words.number(listed), total=words.number(total))
    whose = "pseudonyms" if findings.fit.ids_are_pseudonyms else "personal"
    return f"{said} {words.text(f'workbook.customers.{whose}')}"


def _list_format(book: Book, column: Column) -> str:
    if column.type == "timestamp":
        return book.formats.day
    if column.unit == "money":
        return book.formats.of(CENTS if column.name.startswith("mean_") else "money")
    if column.type == "float64":
        return book.formats.of(column.unit, 1 if column.unit in ("share", "days") else 2)
    return "0" if column.name.endswith("_id") else book.formats.of(column.unit)


def _list_side(column: Column) -> dict[str, Any]:
    return {"indent": 1} if column.type == "string" else {"align": "center"} if column.type == "timestamp" else {}


def _list_header(column: Column) -> dict[str, Any]:
    return header(left=True, indent=1) if column.type == "string" else header()


def _list_width(column: Column, label: str, customers: pa.Table) -> float:
    words = max((len(word) for word in label.split()), default=0) + 4  # room for the filter's button
    if column.type != "string":
        return max(8 if column.name.endswith("_id") else 11, words)
    widest = pc.max(pc.utf8_length(customers.column(column.name))).as_py() or 0
    return float(min(max(words, widest + 2), 40))


# ------------------------------------------------------------------------------------------------- dictionary and about


def _dictionary(book: Book, findings: Findings) -> None:
    """Write what the columns of the list of customers mean."""
    words = book.words
    sheet = book.sheet("dictionary", [2, 32, 26, 66, 14, 30, 52])
    row = book.title(sheet, words.text("workbook.dictionary.heading"), words.text("workbook.dictionary.intro"), 190)
    keys = ("column", "name", "meaning", "unit", "range", "source")
    for position, key in enumerate(keys, start=1):
        book.write(sheet, row, position, words.text(f"workbook.dictionary.{key}"), **header(left=True))
    sheet.freeze_panes(row + 1, 2)
    sheet.repeat_rows(row)
    meanings: Mapping[str, str] = words.text("meanings")
    style: Style = {"text_wrap": True, "valign": "top", "bottom": 1, "bottom_color": BAND}
    for column in CUSTOMER_LIST.columns:
        row += 1
        meaning = meanings.get(column.name, column.description)
        sources = ", ".join(column.source)
        cells = (
            _label(column.name, findings, words),
            column.name,
            meaning,
            _unit(column.unit, book) if column.unit else "",
            dictionary_row(column)[5],
            sources,
        )
        for position, text in enumerate(cells, start=1):
            book.write(sheet, row, position, text, bold=position == 1, **style)
        heights = [height_of(text, width) for text, width in zip(cells, (32, 26, 66, 14, 30, 52), strict=True)]
        sheet.set_row(row, max(heights))


def _about(book: Book, findings: Findings, now: datetime) -> None:
    """Write how the segments were made: the run, its parameters and the versions of what made them."""
    words, fit = book.words, findings.fit
    sheet = book.sheet("about", [2, 46, 60])
    row = book.title(sheet, words.text("method.heading"), words.text("method.intro"), 106)
    facts: dict[str, Any] = {
        "written": now,
        "fitted": fit.fitted_at,
        "run": fit.model_run_id,
        "input": fit.input_version,
        "scaling": fit.scaling_method,
        "customers": fit.customers,
        "segments": fit.segments,
        "eps": fit.eps,
        "min_samples": fit.min_samples,
        "shrinkage": fit.shrinkage,
        "calinski_harabasz": fit.calinski_harabasz,
        "davies_bouldin": fit.davies_bouldin,
        "size_drift": fit.segment_size_drift,
        "ignored": ", ".join(map(words.feature, fit.ignored_features)) or str(words.text("method.none")),
        "notes": fit.notes or str(words.text("method.none")),
    }
    for key, value in facts.items():
        _fact(book, sheet, row, words.text(f"method.{key}"), value)
        row += 1
    _fact(book, sheet, row, words.text("workbook.about.currency"), words.currency)
    row = book.heading(sheet, row + 2, words.text("method.parameters"))
    for name, parameter in sorted(fit.parameters.items()):
        nested = sorted(parameter.items()) if isinstance(parameter, dict) else [("", parameter)]
        for inner, each in nested:
            plain = isinstance(each, int | float) and not isinstance(each, bool)
            _fact(book, sheet, row, f"{name}.{inner}" if inner else name, each if plain else json.dumps(each))
            row += 1
    row = book.heading(sheet, row + 1, words.text("method.versions"))
    for name, version in sorted(fit.versions.items()):
        _fact(book, sheet, row, name, str(version))
        row += 1


def _fact(book: Book, sheet: Worksheet, row: int, name: str, value: Any) -> None:
    style: Style = {"valign": "top", "text_wrap": True}
    book.write(sheet, row, 1, name, **_LINE, **style)
    shape: Style = {} if isinstance(value, str | date | None) else {"num_format": "#,##0.###"}
    if isinstance(value, int):
        shape = {"num_format": "#,##0"}
    book.write(sheet, row, 2, value, **{**_LINE, **style, "align": "left", **shape})
    if isinstance(value, str):
        sheet.set_row(row, height_of(value, 60))
