"""Trend: whether a customer's lines per category and month rise and fall with the shop's."""

from __future__ import annotations

import ibis.expr.types as ir

from clustering_assets.features.arithmetic import correlation, count_if, total

_MINIMUM_CELLS = 6
_COUNTED = ("lines", "returned_lines")


def measures(cells: ir.Table) -> ir.Table:
    """Aggregate the complete cells of each customer: one row per customer, with the sums a correlation is made of."""
    shop = cells.group_by("category_number", "month").aggregate(
        **{f"shop_{counted}": total(cells[counted]) for counted in _COUNTED}
    )
    # The join leaves out the cells without a category or a month.
    both = cells.join(shop, ["category_number", "month"])
    sums: dict[str, ir.Scalar] = {"cells": count_if(both.category_number.notnull() & both.month.notnull())}
    for counted in _COUNTED:
        own, shops = both[counted], both[f"shop_{counted}"]
        sums |= {
            f"{counted}_sum": total(own),
            f"{counted}_shop_sum": total(shops),
            f"{counted}_squares": total(own * own),
            f"{counted}_shop_squares": total(shops * shops),
            f"{counted}_products": total(own * shops),
            f"{counted}_maximum": own.max(),
            f"{counted}_shop_maximum": shops.max(),
        }
    return both.group_by("customer_number").aggregate(**sums)


def features(customer: ir.Table) -> dict[str, ir.Value]:
    """Derive the features from the measures of a customer."""
    return {
        "category_order_trend": _trend(customer, "lines"),
        "category_return_trend": _trend(customer, "returned_lines"),
    }


def _trend(customer: ir.Table, counted: str) -> ir.FloatingValue:
    """Correlate own counts with the shop's; null under six cells, or where all cells count the same."""
    cells, own, shop = customer.cells, customer[f"{counted}_sum"], customer[f"{counted}_shop_sum"]
    # A constant is recognized from integers: the scatter of large equal numbers may round to more than zero.
    varies = (own != cells * customer[f"{counted}_maximum"]) & (shop != cells * customer[f"{counted}_shop_maximum"])
    trend = correlation(
        cells,
        own,
        shop,
        customer[f"{counted}_squares"],
        customer[f"{counted}_shop_squares"],
        customer[f"{counted}_products"],
    )
    return ((cells >= _MINIMUM_CELLS) & varies).ifelse(trend, None)
