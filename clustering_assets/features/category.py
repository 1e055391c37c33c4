"""Category: how a customer's lines spread over categories, and how often others return these categories."""

from __future__ import annotations

import ibis.expr.types as ir

from clustering_assets.features.arithmetic import divide, total


def measures(cells: ir.Table) -> ir.Table:
    """Aggregate the cells of each customer: one row per customer with a category."""
    own = cells.group_by("customer_number", "category_number").aggregate(
        lines=total(cells.category_number.notnull().ifelse(cells.lines, 0)), returned_lines=total(cells.returned_lines)
    )
    shop = own.group_by("category_number").aggregate(
        shop_lines=total(own.lines), shop_returned_lines=total(own.returned_lines)
    )
    # The join leaves out the cells without a category.
    both = own.join(shop, "category_number")
    others = both.shop_lines - both.lines
    rate_of_others = divide(both.shop_returned_lines - both.returned_lines, others)
    return both.group_by("customer_number").aggregate(
        category_lines=total(both.lines),
        squared_category_lines=total(both.lines * both.lines),
        top_category_lines=both.lines.max(),
        category_lines_log=(both.lines * both.lines.ln()).sum(),
        lines_others_buy=total((others > 0).ifelse(both.lines, 0)),
        expected_returned_lines=(both.lines * rate_of_others).sum(),
    )


def features(customer: ir.Table) -> dict[str, ir.Value]:
    """Derive the features from the measures of a customer."""
    lines = customer.category_lines
    entropy = lines.ln() - divide(customer.category_lines_log, lines)
    return {
        "category_concentration": divide(customer.squared_category_lines, lines * lines),
        # Rounding can make the entropy of a single category negative.
        "category_diversity": entropy.clip(0).exp(),
        "category_loyalty": divide(customer.top_category_lines, lines),
        "high_return_category_affinity": divide(customer.expected_returned_lines, customer.lines_others_buy)
        - customer.shop_return_rate,
    }
