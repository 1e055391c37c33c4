"""The layout ``online_retail``: UCI Online Retail and its second edition.

An invoice whose number starts with C is a cancellation. It does not name the sale that it cancels: ``cancellations``
finds it. Postage, fees and tests are no products.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from clustering_assets.sources.layout import Layout, Repeats

COLUMNS = {
    "order_id": ("Invoice", "InvoiceNo"),
    "sku": ("StockCode",),
    "quantity": ("Quantity",),
    "order_date": ("InvoiceDate",),
    "unit_price": ("Price", "UnitPrice"),
    "customer_id": ("Customer ID", "CustomerID"),
}

NOT_A_PRODUCT = r"^(POST|DOT|M|D|S|C[0-9]|CRUK|BANK CHARGES|AMAZONFEE|B|PADS|ADJUST[0-9]*|TEST[0-9]*|SP1002|GIFT.*)$"
"""Stock codes of postage, fees, discounts, samples, adjustments, tests and gift vouchers."""


def refine(candidates: ir.Table) -> ir.Table:
    """Mark cancellations, refuse what is no product, and drop the decimals that Excel gives to customer numbers."""
    cancelled = candidates.order_id.upper().startswith("C") & (candidates.signed_quantity < 0)
    no_product = candidates.sku.upper().re_search(NOT_A_PRODUCT)
    return candidates.mutate(
        customer_id=candidates.customer_id.re_replace(r"\.0$", ""),
        is_cancellation=cancelled.fill_null(False),
        rejection=ibis.coalesce(
            candidates.rejection,
            ibis.ifelse(
                no_product,
                "NOT_A_PRODUCT: postage, fee, discount, adjustment, test or voucher",
                ibis.null("string"),
            ),
        ),
    )


LAYOUT = Layout("online_retail", COLUMNS, tuple(COLUMNS), Repeats.SUM, cancels=True, refine=refine)
