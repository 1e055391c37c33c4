"""The layout ``returns_export``: one row per sale, or per return of a sale, with the return beside it."""

from __future__ import annotations

from clustering_assets.sources.layout import Layout, Repeats

COLUMNS = {
    "order_id": ("SALES_ORDER_NO",),
    "customer_id": ("CUSTOMER_EMAILID",),
    "order_date": ("ORDER_DATE",),
    "source_sku": ("SKU",),
    "quantity": ("SALES_QTY",),
    "line_value": ("GROSS",),
    "return_quantity": ("RETURN_QTY",),
    "sku": ("Q_SKU_ID",),
    "category": ("Q_CLS_ID",),
    "return_date": ("RETURN_DATE",),
    "return_id": ("RETURN_NO",),
    "return_reason": ("RETURN_COMMENT",),
    "brand": ("BRAND_",),
}
"""Every other column of the export (descriptions, colours, sizes) is read over."""

REQUIRED = (
    "order_id",
    "customer_id",
    "order_date",
    "source_sku",
    "quantity",
    "line_value",
    "return_quantity",
    "sku",
    "category",
)

LAYOUT = Layout("returns_export", COLUMNS, REQUIRED, Repeats.RETURNS)
