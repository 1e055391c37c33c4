"""The colours of segments: one place for every picture, chart and page.

A segment's colour follows from its id alone and so stays with it from run to run and from picture to picture. They are
the colours of Okabe & Ito (2008), without the yellow that is lost on white and with two dark ones; they, and the grey
of the outliers, stay apart under all three colour deficiencies. Segments whose ids differ by 8 share a colour and are
told apart by marker, hatch and name.
"""

from __future__ import annotations

OUTLIERS = -1
"""Segment id of the outliers."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#332288")
OUTLIER_COLOUR = "#BBBBBB"

ON_DARK = ("#3D9BDC", "#F07F3C", "#1FBF92", "#DFA3C3", "#F2B632", "#9AD4F7", "#C4568C", "#8B80E8")
"""The same hues, lighter, for a dark ground: each has a contrast of 3 at least there."""
OUTLIER_ON_DARK = "#8A8F98"

SEQUENCE = ("#A9CCE8", "#74AED6", "#3F8BC2", "#1B62A5", "#08306B")
"""From little to much, for a light ground; reversed for a dark one."""

FEWER, SAME, MORE = "#2166AC", "#F1F1F1", "#B35806"
"""Ends and middle of a scale with two sides: blue and brown, told apart under all colour deficiencies."""


def segment_colour(segment_id: int, *, dark: bool = False) -> str:
    """Colour of a segment, the same in every picture and every run."""
    if segment_id == OUTLIERS:
        return OUTLIER_ON_DARK if dark else OUTLIER_COLOUR
    palette = ON_DARK if dark else COLOURS
    return palette[segment_id % len(palette)]
