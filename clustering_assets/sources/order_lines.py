"""The layout ``order_lines``: a file that has the canonical columns of ``bronze.order_lines`` already."""

from __future__ import annotations

from clustering_assets.sources.layout import Layout, Repeats

READABLE = (
    "order_id",
    "customer_id",
    "sku",
    "order_date",
    "quantity",
    "line_value",
    "return_quantity",
    "return_date",
    "category",
    "brand",
    "return_reason",
)
"""Columns of ``bronze.order_lines`` that a source can give; the others are made while reading."""

REQUIRED = ("order_id", "customer_id", "sku")

LAYOUT = Layout("order_lines", {name: (name,) for name in READABLE}, REQUIRED, Repeats.LATEST)
