"""What a source layout is, and how the layout of a file is recognised from its header."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import ibis.expr.types as ir

from clustering_assets.contracts import ORDER_LINES
from clustering_assets.sources.files import MAPPING_FILE, UnusableFile

_MADE_WHILE_READING = ("source_customer_id", "source_file", "source_row", "quality_flags", "ingested_at")

READABLE = tuple(name for name in ORDER_LINES.column_names if name not in _MADE_WHILE_READING)
"""Columns of ``bronze.order_lines`` that a source can give."""

CANONICAL = (*READABLE, "unit_price", "return_id")
"""What a source can give: besides those, ``unit_price`` (used where there is no ``line_value``) and ``return_id``
(tells two returns of one sale apart)."""


class Repeats(StrEnum):
    """What becomes of rows of one file that have the same order, customer and SKU and differ otherwise.

    ``LATEST``: the last row wins. ``SUM``: quantity, value and returns add up. ``RETURNS``: rows that agree on date,
    quantity and value are several returns of one sale, whose returned units add up; others follow ``LATEST``.
    """

    LATEST = "latest"
    SUM = "sum"
    RETURNS = "returns"


@dataclass(frozen=True, slots=True)
class Layout:
    """How the columns of a source become an order line.

    Parameters
    ----------
    name
        As it stands in ``bronze.source_files``.
    columns
        Canonical column -> names that it has in the source, the preferred one first. A column that is not canonical
        is not read: it only tells the layout.
    required
        Canonical columns without which a file is not of this layout.
    repeats
        Rule for repeats within one file.
    date_format
        ``strptime`` format of the dates; None to find it out.
    decimal_mark
        ``.`` or ``,``; None to find it out.
    cancels
        Whether rows of it can cancel purchases: what came back is known from them alone.
    refine
        Last step on the candidate lines (see ``values.candidate_lines``), where a layout has peculiarities of its own.
    """

    name: str
    columns: Mapping[str, Sequence[str]]
    required: Sequence[str]
    repeats: Repeats
    date_format: str | None = None
    decimal_mark: str | None = None
    cancels: bool = False
    refine: Callable[[ir.Table], ir.Table] | None = field(default=None, compare=False)

    def positions(self, header: Sequence[str]) -> dict[str, int]:
        """Canonical column -> position in the header, for the columns that the header has."""
        index = {_folded(name): position for position, name in reversed(list(enumerate(header)))}
        found: dict[str, int] = {}
        for canonical, names in self.columns.items():
            position = next((index[_folded(name)] for name in names if _folded(name) in index), None)
            if position is not None:
                found[canonical] = position
        return found

    def missing(self, header: Sequence[str]) -> list[str]:
        """Names, in the source's words, of the required columns that a header lacks."""
        found = self.positions(header)
        return [self.columns[name][0] for name in self.required if name not in found]


def _folded(name: str) -> str:
    return name.strip().casefold()


def recognise(header: Sequence[str], layouts: Sequence[Layout]) -> Layout:
    """Return the first layout whose required columns are all in the header.

    Raises
    ------
    UnusableFile
        If there is none; the message names the nearest layout and what it misses. It names no column that is not
        known, since where the header is missing, these are somebody's data.
    """
    for layout in layouts:
        if not layout.missing(header):
            return layout
    nearest = min(layouts, key=lambda layout: len(layout.missing(header)) / len(layout.required))
    missing = nearest.missing(header)
    if len(missing) < len(nearest.required):
        if nearest.name == MAPPING_FILE:
            raise UnusableFile(
                f"has no column {', '.join(missing)}, which {MAPPING_FILE} names: write there what the header of the "
                "file has, or leave the line out where the file has nothing of the kind"
            )
        raise UnusableFile(
            f"looks like the layout {nearest.name} but lacks the required column{'s' if len(missing) > 1 else ''} "
            f"{', '.join(missing)}: add what is missing, or name the columns in source.yaml"
        )
    known = {_folded(name): name for layout in layouts for names in layout.columns.values() for name in names}
    shown = list(dict.fromkeys(known[_folded(name)] for name in header if _folded(name) in known))
    raise UnusableFile(
        f"has no known layout (columns: {len(header):,}, known of them: {', '.join(shown) or 'none'}; known layouts: "
        f"{', '.join(layout.name for layout in layouts)}): name its columns in source.yaml"
    )
