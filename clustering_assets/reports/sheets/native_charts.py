"""Charts that Excel draws itself: what all of them have in common."""

from __future__ import annotations

from typing import Any

from clustering_assets.reports.colours import MORE
from clustering_assets.reports.excel_sheets import FONT, INK, RULE, Book

RETAINED, RETURNED = "#C9CED6", MORE
CHART_ROWS = 16
CHART_FONT = {"name": FONT, "size": 9, "color": "#444444"}
PLAIN_AXIS = {"num_font": CHART_FONT, "line": {"color": RULE}, "major_gridlines": {"visible": False}}
GRID = {"visible": True, "line": {"color": "#E3E6EA"}}


def placed(book: Book, key: str, width: int, height: int) -> dict[str, Any]:
    """Return where a chart goes, and what it tells who cannot see it."""
    return {
        "object_position": 2,
        "x_scale": width / 480,
        "y_scale": height / 288,
        "description": str(book.words.text(f"workbook.charts.{key}.alternative")),
    }


def titled(book: Book, chart: Any, key: str) -> None:
    """Give a chart its title and take its border."""
    chart.set_title(
        {
            "name": str(book.words.text(f"workbook.charts.{key}.title")),
            "name_font": {"name": FONT, "size": 11, "bold": True, "color": INK},
            "overlay": False,
            "layout": {"x": 0.02, "y": 0.03},
        }
    )
    chart.set_chartarea({"border": {"none": True}})
