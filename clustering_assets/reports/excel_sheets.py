"""Cells, formats and pages of a workbook for people: how they are written, not what is in them.

Every text is written as a text that stays one, whoever it comes from; see `reports.workbook`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from textwrap import wrap
from typing import Any

import xlsxwriter
from babel import Locale
from babel.numbers import get_currency_symbol
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from clustering_assets.reports.colours import COLOURS, segment_colour
from clustering_assets.reports.wording import UNKNOWN, Wording
from clustering_assets.reports.workbook import fit_text, looks_like_formula

INK, MUTED, RULE, BAND = "#222222", "#666666", "#BFC5CC", "#EEF1F4"
MONEY, CENTS = "money", "cents"
_A4 = 9
FONT, SIZE = "Arial", 10
_LINE = 13.0
_CHARACTERS = 1.35
"""Letters that fit into the width of a digit, cautiously."""
_PATTERNS = (1, 14, 17, 16)
"""Excel's solid fill and three hatches: segments that share a colour differ in it, as they do in pictures."""

Style = dict[str, Any]
"""Properties of a cell, as XlsxWriter takes them."""

Value = str | float | int | date | datetime | None


@dataclass(frozen=True)
class NumberFormats:
    """Excel's number formats by the rules of a language; they change what is shown, never the value.

    Excel itself chooses the decimal point and the separator of thousands; what it is told is where the currency and the
    per cent sign stand and the order of a date.
    """

    locale: Locale
    currency: str

    @cached_property
    def percent_sign(self) -> str:
        """The sign with the blank before it that the language has."""
        pattern: str = self.locale.percent_formats[None].pattern
        return pattern.lstrip("#,0.").replace("\xa0", " ")

    @cached_property
    def day(self) -> str:
        """A day."""
        pattern: str = self.locale.date_formats["medium"].pattern
        return pattern.lower().replace("y", "yyyy") if "yy" not in pattern else pattern.lower()

    def of(self, unit: str, digits: int | None = None) -> str:
        """Format of a unit of the contracts, with so many digits after the decimal point."""
        if unit == "share":
            return _decimals(1 if digits is None else digits) + self.percent_sign
        if unit in (MONEY, CENTS):
            return self._money(digits if digits is not None else 2 if unit == CENTS else 0)
        return _decimals(digits or 0)

    def change(self, unit: str, digits: int, unchanged: str, suffix: str = "") -> str:
        """Format of a change: an arrow says its direction, no colour has to; what rounds to nothing is unchanged."""
        shown = self.of(unit, digits) + (f'" {suffix}"' if suffix else "")
        least = f"{0.5 / 10**digits:g}"
        return f'[>={least}]"▲ "{shown};[<=-{least}]"▼ "{shown};"{unchanged}"'

    def _money(self, digits: int) -> str:
        symbol = get_currency_symbol(self.currency, self.locale)
        pattern: str = self.locale.currency_formats["standard"].pattern.split(";")[0].replace("\xa0", " ")
        number = "#,##0.00"
        blank = "" if len(symbol) == 1 or pattern.endswith("¤") else " "
        return pattern.replace(number, _decimals(digits)).replace("¤", f'"{symbol}{blank}"')


def _decimals(digits: int) -> str:
    return "#,##0" + ("." + "0" * digits if digits else "")


class Book:
    """A workbook in the making.

    Parameters
    ----------
    book
        What is written to.
    words
        Texts and formats of the language.
    footer
        What stands at the foot of every page.
    """

    def __init__(self, book: xlsxwriter.Workbook, words: Wording, footer: str) -> None:
        self.book, self.words, self._footer = book, words, footer
        self.formats = NumberFormats(words.locale, words.currency)
        self._styles: dict[tuple[tuple[str, Any], ...], Format] = {}
        self._widths: dict[str, Sequence[float]] = {}

    def style(self, **properties: Any) -> Format:
        """Return the cell style of some properties of XlsxWriter, the same one every time."""
        key = tuple(sorted(properties.items()))
        if key not in self._styles:
            self._styles[key] = self.book.add_format(
                {"font_name": FONT, "font_size": SIZE, "font_color": INK, "valign": "vcenter", **properties}
            )
        return self._styles[key]

    def sheet(self, key: str, widths: Sequence[float], *, prose: bool = True) -> Worksheet:
        """Add a sheet that prints on A4, as wide as a page.

        Parameters
        ----------
        key
            Of its name, under ``workbook.sheets`` of the texts.
        widths
            Of its columns, in characters.
        prose
            Whether it is to be read like a page, without gridlines, or filled like a table.
        """
        name = self.words.text(f"workbook.sheets.{key}")
        sheet = self.book.add_worksheet(name)
        self._widths[name] = widths
        for position, width in enumerate(widths):
            sheet.set_column(position, position, width, self.style())
        sheet.set_landscape()
        sheet.set_paper(_A4)
        sheet.fit_to_pages(1, 0)
        sheet.set_margins(left=0.5, right=0.5, top=0.7, bottom=0.7)
        sheet.set_header(f"&L&9{_in_header(self.words.text('title'))}&R&9&A")
        page = self.words.text("workbook.page").format(page="&P", pages="&N")
        sheet.set_footer(f"&L&9{_in_header(self._footer)}&R&9{page}")
        if prose:
            sheet.hide_gridlines(2)
        return sheet

    def title(self, sheet: Worksheet, title: str, introduction: str = "", width: float = 110) -> int:
        """Write the heading of a page from B1 on; return the row under it."""
        sheet.set_row(0, 30)
        self.write(sheet, 0, 1, title, bold=True, font_size=20)
        if introduction:
            self.paragraph(sheet, 1, 1, introduction, width)
        return 3 if introduction else 2

    def heading(self, sheet: Worksheet, row: int, text: str, column: int = 1) -> int:
        """Write the heading of a part of a page; return the row under it."""
        sheet.set_row(row, 24)
        self.write(sheet, row, column, text, bold=True, font_size=14)
        return row + 1

    def paragraph(self, sheet: Worksheet, row: int, column: int, text: str, width: float, **properties: Any) -> None:
        """Write a text over the cells to its right, in as many lines as it needs at a width in characters."""
        sheet.set_row(row, height_of(text, width, properties.get("font_size", SIZE)))
        last = column + self._columns(sheet, column, width) - 1
        style = {"text_wrap": True, "valign": "top", "font_color": MUTED, **properties}
        if last > column:
            sheet.merge_range(row, column, row, last, "", self.style(**style))
        self.write(sheet, row, column, text, **style)

    def headers(
        self, sheet: Worksheet, row: int, column: int, names: Sequence[str], left: int = 1, indent: int = 0
    ) -> None:
        """Write the headers of a table: the first ones stand on the left, the others over numbers on the right."""
        widths = self._widths[sheet.get_name()][column:]
        heights = [height_of(name, width - 1) for name, width in zip(names, widths, strict=False)]
        sheet.set_row(row, max(heights) + 3)
        for position, name in enumerate(names):
            self.write(
                sheet, row, column + position, name, **header(left=position < left, indent=indent * (position < left))
            )

    def write(self, sheet: Worksheet, row: int, column: int, value: Value, unit: str = "", **properties: Any) -> None:
        """Write a value: a text as a text, a number in the format of its unit, nothing where it is not known."""
        if isinstance(value, str):
            text = fit_text(value)
            sheet.write_string(row, column, text, self.style(**properties, **_quoted(text)))
            return
        if unit and "num_format" not in properties:
            properties["num_format"] = self.formats.of(unit)
        if value is None:
            sheet.write_string(row, column, UNKNOWN, self.style(**{"align": "right", **properties}))
        elif isinstance(value, date):
            day = {"num_format": self.formats.day, "align": "left", **properties}
            sheet.write_datetime(row, column, value, self.style(**day))
        else:
            sheet.write_number(row, column, value, self.style(**properties))

    def swatch(self, sheet: Worksheet, row: int, column: int, segment_id: int, **properties: Any) -> None:
        """Show the colour of a segment in a cell."""
        pattern = _PATTERNS[segment_id // len(COLOURS) % len(_PATTERNS)] if segment_id >= 0 else 1
        colour = segment_colour(segment_id)
        fill = {"bg_color": colour} if pattern == 1 else {"bg_color": "#FFFFFF", "fg_color": colour}
        sheet.write_blank(row, column, None, self.style(pattern=pattern, **fill, **properties))

    def _columns(self, sheet: Worksheet, column: int, width: float) -> int:
        """Count the columns that a width in characters takes, from a column on."""
        widths = self._widths[sheet.get_name()][column:]
        return next((count for count in range(1, len(widths)) if sum(widths[:count]) >= width), len(widths))


def header(*, left: bool = False, indent: int = 0) -> dict[str, Any]:
    """Properties of the header of a column."""
    return {
        "bold": True,
        "text_wrap": True,
        "bg_color": BAND,
        "bottom": 1,
        "bottom_color": RULE,
        "align": "left" if left else "right",
        "valign": "bottom",
        **({"indent": indent} if indent else {}),
    }


def height_of(text: str, width: float, size: float = SIZE) -> float:
    """Height of a row for a text that is broken at a width in characters; Excel sets none for merged cells."""
    room = int(max(1.0, _CHARACTERS * width * SIZE / size))
    lines = sum(len(wrap(line, room)) or 1 for line in text.split("\n"))
    return min(409.0, (_LINE * lines + 2) * size / SIZE)


def segment_fill(segment_id: int) -> dict[str, Any]:
    """The colour of a segment as XlsxWriter's charts take it."""
    colour = segment_colour(segment_id)
    hatch = segment_id // len(COLOURS) % len(_PATTERNS) if segment_id >= 0 else 0
    if not hatch:
        return {"fill": {"color": colour}}
    names = ("wide_upward_diagonal", "small_grid", "wide_downward_diagonal")
    return {"pattern": {"pattern": names[hatch - 1], "fg_color": colour, "bg_color": "#FFFFFF"}}


def _quoted(text: str) -> dict[str, bool]:
    return {"quote_prefix": True} if looks_like_formula(text) else {}


def _in_header(text: str) -> str:
    return text.replace("&", "&&")
