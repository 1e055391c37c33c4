"""The layout ``order_lines``: a file that has the canonical columns of ``bronze.order_lines`` already."""

from __future__ import annotations

from clustering_assets.contracts import ORDER_LINES
from clustering_assets.sources.layout import READABLE, Layout, Repeats

LAYOUT = Layout("order_lines", {name: (name,) for name in READABLE}, ORDER_LINES.key, Repeats.LATEST)
