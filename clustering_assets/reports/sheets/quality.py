"""The sheet of the quality of the data."""

from __future__ import annotations

from xlsxwriter.worksheet import Worksheet

from clustering_assets.reports.excel_sheets import MUTED, Book, Style, header, height_of
from clustering_assets.reports.findings import Findings
from clustering_assets.reports.sheets.cells import LINE, bars


def write_quality(book: Book, findings: Findings) -> None:
    """Write what became of the rows, of the customers and of the files."""
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
    book.write(sheet, row, 1, name, **LINE)
    book.write(sheet, row, 2, count, "rows", **LINE)
    share = book.formats.of("share", 2)
    book.write(sheet, row, 3, _ratio(count, whole), num_format=share, **LINE)


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
        book.write(sheet, row, 1, words.feature(each.feature), **LINE)
        book.write(sheet, row, 2, each.values_filled, "customers", **LINE)
        book.write(sheet, row, 3, each.share, "share", **LINE)
        book.write(sheet, row, 4, each.fill_value, num_format="#,##0.##", **LINE)
    sheet.conditional_format(top, 3, row, 3, bars())
    return row


def _files(book: Book, sheet: Worksheet, row: int, findings: Findings) -> None:
    words, quality = book.words, findings.quality
    row = book.heading(sheet, row, words.text("quality.files"))
    counts = ("read", "kept", "rejected", "superseded", "merged")
    titles = [words.text(f"workbook.quality.{key}") for key in ("file", "status", *counts, "note")]
    book.headers(sheet, row, 1, titles, left=2)
    book.write(sheet, row, 8, titles[-1], **header(left=True, indent=1))
    style: Style = {**LINE, "valign": "top"}
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


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
