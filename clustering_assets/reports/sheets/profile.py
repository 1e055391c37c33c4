"""The sheet of the profiles: what segments are like, feature by feature."""

from __future__ import annotations

from collections.abc import Sequence

from xlsxwriter.worksheet import Worksheet

from clustering_assets.reports.colours import FEWER, MORE
from clustering_assets.reports.excel_sheets import CENTS, MUTED, Book, Style, header
from clustering_assets.reports.findings import Segment
from clustering_assets.reports.sheets.cells import LINE, PER_CENT, SEVERAL, SIGNED, times, unit_name
from clustering_assets.reports.workbook_tables import Profile

_FURTHEST = 2
"""Standard deviations at which the colour of the heat map is full."""


def write_profile(book: Book, profiles: Sequence[Profile], segments: Sequence[Segment]) -> None:
    """Write the heat map: features by segments, and the same in the units of the features beside it."""
    words = book.words
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
    for profile in profiles:
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
    unit = words.unit("points", SEVERAL) if points else unit_name(column.unit, book)
    scale = PER_CENT if points else 1
    shape = SIGNED if points else _own_format(book, profile)
    book.write(sheet, row, 1, words.feature(column.name), **LINE)
    book.write(sheet, row, 2, unit, font_color=MUTED, **LINE)
    book.write(sheet, row, 3, times(profile.mean, scale), num_format=shape, align="right", **LINE)
    for position, segment in enumerate(segments):
        distance = profile.distances.get(segment.segment_id)
        # readable on both ends of the scale
        far = distance is not None and abs(distance) > 0.7 * _FURTHEST
        colour: Style = {"font_color": "#FFFFFF"} if far else {}
        shown: Style = {"num_format": SIGNED, "align": "center", **colour}
        book.write(sheet, row, 4 + position, distance, **shown, **LINE)
        mean = times(segment.means[column.name], scale)
        book.write(sheet, row, own + position, mean, num_format=shape, align="right", **LINE)


def _own_format(book: Book, profile: Profile) -> str:
    unit, mean = profile.feature.unit, profile.mean or 0.0
    if unit == "share":
        return book.formats.of("share")
    if unit == "money":
        return book.formats.of("money" if abs(mean) >= 100 else CENTS)
    return book.formats.of(unit, 0 if abs(mean) >= 100 else 1 if abs(mean) >= 10 else 2)
