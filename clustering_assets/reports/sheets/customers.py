"""The sheet of the customers, a table to filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clustering_assets.contracts import CUSTOMER_LIST, Column
from clustering_assets.reports.colours import segment_colour
from clustering_assets.reports.excel_sheets import CENTS, INK, MUTED, Book, header
from clustering_assets.reports.findings import Findings
from clustering_assets.reports.sheets.cells import bars
from clustering_assets.reports.wording import Wording

FIRST_ROW = 3
"""Their first row on it."""


def write_customers(book: Book, findings: Findings, customers: pa.Table) -> None:
    """Make the sheet of the customers; their rows take the place of its third row."""
    words, listed = book.words, customers.num_rows
    sheet = book.sheet("customers", [], prose=False)
    book.write(sheet, 0, 0, _listed_in_words(findings, listed, words), font_color=MUTED)
    sheet.set_row(0, 20)
    sheet.set_row(1, 48)
    columns = CUSTOMER_LIST.columns
    labels = [label_of(column.name, findings, words) for column in columns]
    for position, (column, label) in enumerate(zip(columns, labels, strict=True)):
        style = book.style(num_format=_list_format(book, column), **_list_side(column))
        sheet.set_column(position, position, _list_width(column, label, customers))
        sheet.write_blank(FIRST_ROW - 1, position, None, style)
    sheet.write_blank(FIRST_ROW - 1, len(columns), None, book.style(quote_prefix=True, indent=1))
    last = FIRST_ROW + listed - 2
    sheet.add_table(
        FIRST_ROW - 2,
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
    sheet.freeze_panes(FIRST_ROW - 1, 1)
    sheet.repeat_rows(FIRST_ROW - 2)
    sheet.repeat_columns(0)
    sheet.fit_to_pages(2, 0)  # their figures, and why they are where they are
    sheet.ignore_errors({"number_stored_as_text": f"A{FIRST_ROW}:A{last + 1}"})
    ids = CUSTOMER_LIST.column_names.index("segment_id")
    for segment in findings.segments:
        light = segment.is_outliers or segment.segment_id % 8 in (3, 4, 5)
        style = book.book.add_format(
            {"bg_color": segment_colour(segment.segment_id), "font_color": INK if light else "#FFFFFF"}
        )
        rule = {"type": "cell", "criteria": "==", "value": segment.segment_id, "format": style}
        sheet.conditional_format(FIRST_ROW - 1, ids, last, ids, rule)
    rate = CUSTOMER_LIST.column_names.index("return_rate")
    sheet.conditional_format(FIRST_ROW - 1, rate, last, rate, bars())


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


def label_of(name: str, findings: Findings, words: Wording) -> str:
    """Return what a column of the list of customers is called."""
    if name == "customer_id" and findings.fit.ids_are_pseudonyms:
        return str(words.text("workbook.pseudonym"))
    columns: Mapping[str, str] = words.text("workbook.columns")
    return columns[name] if name in columns else words.feature(name)


def in_words(customers: pa.Table, findings: Findings, words: Wording) -> pa.Table:
    """Put names of segments, reasons and stages into the language."""
    names = {each.name: words.segment(each.name) for each in findings.segments}
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
