"""The sheet of the segments: their figures, and what sets them apart, is to be done and can be saved."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from xlsxwriter.worksheet import Worksheet

from clustering_assets.reports.excel_sheets import INK, Book, Style, header, height_of
from clustering_assets.reports.findings import Findings, Segment
from clustering_assets.reports.sheets.cells import LINE, bars, unchanged
from clustering_assets.reports.wording import UNKNOWN, Wording

TOP = 3
"""Row of the headers, from 0: the charts refer to it."""
FIGURES: dict[str, tuple[str, bool]] = {
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


def write_segments(book: Book, findings: Findings) -> None:
    """Write the figures of the segments, and what is to be said of each."""
    words, shown = book.words, _shown(findings)
    sheet = book.sheet("segments", [2, 2.5, 31, *[12.5] * len(shown)])
    width = 31 + 12.5 * len(shown)
    book.title(sheet, words.text("segments.heading"), words.text("workbook.segments.intro"), width)
    row = TOP
    write_headers(book, sheet, row, shown)
    for segment in findings.segments:
        row += 1
        write_name(book, sheet, row, segment)
        for position, name in enumerate(shown, start=3):
            shape = _format(book, name)
            book.write(sheet, row, position, figure_of(segment, name), num_format=shape, align="right", **LINE)
    first, last = TOP + 1, row
    row += 1
    _totals(book, sheet, row, findings, shown)
    for name in ("share", "value_share", "returned_value_share", "return_rate"):
        if name in shown:
            column = 3 + shown.index(name)
            sheet.conditional_format(first, column, last, column, bars())
    sheet.freeze_panes(0, 3)
    _cards(book, sheet, row + 2, findings, len(shown))


def write_headers(book: Book, sheet: Worksheet, row: int, figures: Sequence[str]) -> None:
    """Write the headers of a table of segments: over their colours, their names and their figures."""
    book.write(sheet, row, 1, "", **header())
    names = [book.words.text(f"workbook.segments.{name}") for name in ("segment", *figures)]
    book.headers(sheet, row, 2, names, indent=1)


def write_name(book: Book, sheet: Worksheet, row: int, segment: Segment) -> None:
    """Begin the row of a segment in a table of them: with its colour and its name."""
    sheet.set_row(row, 20)
    book.swatch(sheet, row, 1, segment.segment_id)
    book.write(sheet, row, 2, book.words.segment(segment.name), bold=True, indent=1, **LINE)


def _format(book: Book, figure: str) -> str:
    unit = FIGURES[figure][0]
    if unit == "change":
        return book.formats.change("", 0, unchanged(book.words))
    return book.formats.of(unit, None if unit else 2)


def _shown(findings: Findings) -> list[str]:
    return [name for name, (_, needs_money) in FIGURES.items() if findings.has_money or not needs_money]


def column_of(findings: Findings, name: str) -> int:
    """Return the column of a figure on the sheet of the segments."""
    return 3 + _shown(findings).index(name)


def figure_of(segment: Segment, name: str) -> float | None:
    """Return a figure of a segment; None where it is not known."""
    if name == "possible_saving":
        return segment.saving.possible_saving
    if name == "customers_change":
        return None if segment.customers_before is None else segment.customers - segment.customers_before
    value: float | None = getattr(segment, name)
    return value


def _totals(book: Book, sheet: Worksheet, row: int, findings: Findings, shown: Sequence[str]) -> None:
    sums = {"customers": "customers", "order_count": "orders"}
    top: Style = {"bold": True, "top": 1, "top_color": INK}
    book.write(sheet, row, 1, "", **top)
    book.write(sheet, row, 2, book.words.text("workbook.segments.all"), **top)
    for position, name in enumerate(shown, start=3):
        if name in ("share", "value_share", "returned_value_share"):
            value: float | None = 1.0
        elif name == "customers_change":
            changes = [figure_of(segment, name) for segment in findings.segments]
            book.write(sheet, row, position, "", **top)
            if None in changes:
                continue
            value = findings.key_figure("customers").change
        elif name == "silhouette":
            value = findings.fit.silhouette_full  # in the space of all features, as those of the segments
        else:
            value = findings.key_figure(sums.get(name, name)).value
        book.write(sheet, row, position, value, num_format=_format(book, name), align="right", **top)


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
        style: Style = {**LINE, "text_wrap": True, "valign": "top"}
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
