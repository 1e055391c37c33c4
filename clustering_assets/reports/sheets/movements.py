"""The sheet of the movements between segments, and of their history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date

from xlsxwriter.worksheet import Worksheet

from clustering_assets.reports.colours import SEQUENCE, segment_colour
from clustering_assets.reports.excel_sheets import INK, MUTED, Book, Style, header
from clustering_assets.reports.findings import Findings
from clustering_assets.reports.sheets.native_charts import CHART_FONT, GRID, PLAIN_AXIS, placed, titled
from clustering_assets.reports.wording import Wording

_SHOWN_FLOWS = 12


def write_movements(book: Book, findings: Findings) -> None:
    """Write who went from segment to segment since the fit before, and how the segments grew."""
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
        return str(words.text("movement.not_comparable" if findings.knows_before else "movement.first"))
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
    titled(book, chart, "history")
    chart.set_legend({"position": "right", "font": CHART_FONT})
    chart.set_x_axis({**PLAIN_AXIS, "num_format": "mmm yyyy", "text_axis": True})
    chart.set_y_axis({**PLAIN_AXIS, "major_gridlines": GRID, "min": 0, "num_format": book.formats.of("share", 0)})
    sheet.insert_chart(row + 2, 1, chart, placed(book, "history", 900, 320))
