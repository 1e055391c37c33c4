"""The report for people who live in Excel: what the page of the report tells, as sheets with native charts and filters.

Figures are written as values, no cell has a formula: what a sheet says is what the tables say. Colours of segments are
those of every picture; changes and heat maps say with a sign, too, what they say with a colour.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pyarrow as pa
import xlsxwriter

from clustering_assets.contracts import CUSTOMER_LIST
from clustering_assets.durable import written_beside
from clustering_assets.reports.excel_sheets import Book
from clustering_assets.reports.findings import Findings
from clustering_assets.reports.segment_report import headline
from clustering_assets.reports.sheets.about import write_about, write_dictionary
from clustering_assets.reports.sheets.customers import FIRST_ROW, in_words, write_customers
from clustering_assets.reports.sheets.months import write_months
from clustering_assets.reports.sheets.movements import write_movements
from clustering_assets.reports.sheets.profile import write_profile
from clustering_assets.reports.sheets.quality import write_quality
from clustering_assets.reports.sheets.segments import write_segments
from clustering_assets.reports.sheets.summary import write_summary
from clustering_assets.reports.wording import Wording
from clustering_assets.reports.workbook import MAX_ROWS, SheetRows, conform, fit, write_package
from clustering_assets.reports.workbook_tables import Profile, read_customer_list, read_profiles

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

MOST_LISTED = MAX_ROWS - 1
"""Customers that fit under the header of their sheet, which has a line above it."""
_CUSTOMERS = 7
"""Number of their sheet, from 1."""


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
    customers = in_words(conform(content.customers, CUSTOMER_LIST), content.findings, wording)
    skeleton = BytesIO()
    with xlsxwriter.Workbook(skeleton, {"in_memory": True}) as book:
        _write_sheets(book, content, customers, wording, now)
    rows = SheetRows(fit(customers, Counter()), FIRST_ROW, styled_texts=True)
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
    write_summary(sheets, findings)
    write_segments(sheets, findings)
    write_profile(sheets, content.profiles, findings.segments)
    write_months(sheets, findings)
    write_movements(sheets, findings)
    write_quality(sheets, findings)
    write_customers(sheets, findings, customers)
    write_dictionary(sheets, findings)
    write_about(sheets, findings, now)
    book.worksheets()[0].activate()
