"""The sheets that explain: what the columns of the customers mean, and how the segments were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from xlsxwriter.worksheet import Worksheet

from clustering_assets.contracts import CUSTOMER_LIST
from clustering_assets.reports.data_dictionary import dictionary_row
from clustering_assets.reports.excel_sheets import Book, Style, header, height_of
from clustering_assets.reports.findings import Findings
from clustering_assets.reports.sheets.cells import LINE, unit_name
from clustering_assets.reports.sheets.customers import label_of


def write_dictionary(book: Book, findings: Findings) -> None:
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
    style: Style = {**LINE, "text_wrap": True, "valign": "top"}
    for column in CUSTOMER_LIST.columns:
        row += 1
        meaning = meanings.get(column.name, column.description)
        sources = ", ".join(column.source)
        cells = (
            label_of(column.name, findings, words),
            column.name,
            meaning,
            unit_name(column.unit, book) if column.unit else "",
            dictionary_row(column)[5],
            sources,
        )
        for position, text in enumerate(cells, start=1):
            book.write(sheet, row, position, text, bold=position == 1, **style)
        heights = [height_of(text, width) for text, width in zip(cells, (32, 26, 66, 14, 30, 52), strict=True)]
        sheet.set_row(row, max(heights))


def write_about(book: Book, findings: Findings, now: datetime) -> None:
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
    book.write(sheet, row, 1, name, **LINE, **style)
    shape: Style = {} if isinstance(value, str | date | None) else {"num_format": "#,##0.###"}
    if isinstance(value, int):
        shape = {"num_format": "#,##0"}
    book.write(sheet, row, 2, value, **{**LINE, **style, "align": "left", **shape})
    if isinstance(value, str):
        sheet.set_row(row, height_of(value, 60))
