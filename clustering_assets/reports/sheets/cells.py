"""What several sheets show in the same way."""

from __future__ import annotations

from typing import Any

from clustering_assets.reports.excel_sheets import BAND, Book, Style
from clustering_assets.reports.wording import Wording

PER_CENT = 100
SEVERAL = 2
SIGNED = '[>=0.05]+#,##0.0;[<=-0.05]-#,##0.0;"0"'
"""What would be shown as -0.0 is nothing."""
LINE: Style = {"bottom": 1, "bottom_color": BAND}
"""Properties of a cell in the body of a table."""


def bars() -> dict[str, Any]:
    """Draw a share as a bar in its cell."""
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


def times(value: float | None, factor: float) -> float | None:
    """Multiply a value that may be missing."""
    return None if value is None else factor * value


def unit_name(unit: str, book: Book) -> str:
    """Call a unit by its name in the language of the workbook."""
    if unit == "money":
        return book.words.currency
    if unit == "share":
        return "%"
    if unit in book.words.text("units"):
        return book.words.unit(unit, SEVERAL)
    return book.words.name_of("workbook.units", unit)


def unchanged(words: Wording) -> str:
    """Return what is shown in the place of a change of nothing."""
    return str(words.text("key_figures.unchanged"))
