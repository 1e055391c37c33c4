"""Rows that have the same key: what becomes of repeats within a file, and of lines that a later file has too."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from clustering_assets.contracts import ORDER_LINES
from clustering_assets.sources.layout import Repeats

KEY = ORDER_LINES.key

_SALE = ("order_date", "quantity", "line_value")
_CONTENT = (
    *_SALE,
    "return_quantity",
    "return_date",
    "category",
    "brand",
    "return_reason",
    "return_id",
)


def without_exact_repeats(lines: ir.Table) -> ir.Table:
    """Keep the last of the rows that agree in everything but the place where they stand."""
    repeats = ibis.window(group_by=[*KEY, *_CONTENT], order_by=ibis.desc("source_row"))
    return lines.mutate(_place=ibis.row_number().over(repeats)).filter(lambda t: t._place == 0).drop("_place")


def combined(lines: ir.Table, rule: Repeats) -> ir.Table:
    """One row per key from rows of one file, by a layout's rule; ``merged`` counts the rows added into another.

    Parameters
    ----------
    lines
        Candidate lines of one file without exact repeats.
    rule
        What to do with rows of one key.
    """
    if rule is Repeats.SUM:
        return _added_up(lines, [*KEY])
    if rule is Repeats.RETURNS:
        return _latest(_added_up(lines, [*KEY, *_SALE]))
    return _latest(lines.mutate(merged=ibis.literal(0, "int64")))


def _latest(lines: ir.Table) -> ir.Table:
    """Keep the last row of a key. Rows that were added into one that loses stay counted as merged."""
    window = ibis.window(group_by=[*KEY], order_by=ibis.desc("source_row"))
    return (
        lines.mutate(
            _place=ibis.row_number().over(window), merged=lines.merged.sum().over(ibis.window(group_by=[*KEY]))
        )
        .filter(lambda t: t._place == 0)
        .drop("_place")
    )


def _added_up(lines: ir.Table, group: list[str]) -> ir.Table:
    """Add up the rows of a group. What cannot be added is that of its last row that has it.

    The line counts as returned on the date of its last return, so that a look at a past day never sees units that
    came back after it.
    """
    sums = {name: lines[name].sum() for name in ("quantity", "line_value") if name not in group}
    last = ("category", "brand", "return_reason", "source_customer_id")
    added = lines.group_by(group).aggregate(
        **sums,
        **({} if "order_date" in group else {"order_date": lines.order_date.min()}),
        **{name: lines[name].last(order_by="source_row") for name in last},
        units=lines.return_quantity.sum(),
        return_date=lines.return_date.max(),
        codes=lines.quality_flags.group_concat(";", order_by="source_row"),
        source_row=lines.source_row.max(),
        merged=lines.count() - 1,
    )
    exceeds = (added.units > added.quantity).fill_null(False)
    codes = ibis.ifelse(exceeds, added.codes + ";RETURN_EXCEEDS_QUANTITY", added.codes)
    return added.mutate(
        return_quantity=ibis.ifelse(exceeds, added.quantity, added.units),
        quality_flags=codes.split(";").filter(lambda code: code != "").unique().sort().join(";"),
    ).drop("units", "codes")
