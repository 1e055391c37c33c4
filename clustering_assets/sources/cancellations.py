"""Cancellations that do not name their sale: each is matched to the customer's earlier purchases of the same SKU.

The latest purchase that still has units is used first, until the cancelled units are used up. That is a stack: a
purchase puts units on top, a cancellation takes from the top. The height of the stack before and after an event says
which levels it fills or empties, so that who takes whose units comes out of window functions, without a step from row
to row.
"""

from __future__ import annotations

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

_STACK = ("customer_id", "sku")
_TURN = ("at", "is_cancellation", "order_id", "source_file", "source_row")
"""Order of the events of a stack; of those at one moment, purchases come first."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Who sent back what.

    ``returns``: one row per purchase line with a match (order_id, customer_id, sku, return_quantity, return_date; the
    date is that of the last cancellation). ``matched``: one row per cancellation with a match (source_file,
    source_row, matched_quantity).
    """

    returns: ir.Table
    matched: ir.Table


def match(purchases: ir.Table, cancellations: ir.Table) -> Matches:
    """Match cancellations to earlier purchases of the same customer and SKU, latest first.

    Parameters
    ----------
    purchases
        Order lines (order_id, customer_id, sku, order_date, quantity, source_file, source_row); lines without a
        date or quantity can take no cancellation.
    cancellations
        Rows of ``bronze.cancellations``; those without a date find no purchase.
    """
    bought = purchases.semi_join(cancellations, list(_STACK)).select(
        *_STACK,
        "order_id",
        "source_file",
        "source_row",
        at=purchases.order_date,
        is_cancellation=ibis.literal(0),
        units=purchases.quantity,
    )
    cancelled = cancellations.select(
        *_STACK,
        "order_id",
        "source_file",
        "source_row",
        at=cancellations.cancelled_at,
        is_cancellation=ibis.literal(1),
        units=-cancellations.quantity,
    )
    events = bought.union(cancelled).filter(lambda t: t["at"].notnull() & t.units.notnull())
    taken = _taken(_levels(_heights(events)))
    returns = taken.group_by(order_id=taken.bought_in, customer_id=taken.customer_id, sku=taken.sku).aggregate(
        return_quantity=taken.units.sum(), return_date=taken["at"].max()
    )
    matched = taken.group_by("source_file", "source_row").aggregate(matched_quantity=taken.units.sum())
    return Matches(returns, matched)


def _heights(events: ir.Table) -> ir.Table:
    """Height of the stack before and after each event: it never falls below zero, units too many find nothing."""
    so_far = ibis.cumulative_window(group_by=_STACK, order_by=_TURN)
    in_turn = ibis.window(group_by=_STACK, order_by=_TURN)
    totals = events.mutate(total=events.units.sum().over(so_far))
    lowest = totals.mutate(floor=ibis.least(totals.total.min().over(so_far), 0))
    heights = lowest.mutate(after=lowest.total - lowest.floor)
    return heights.mutate(before=heights.after.lag(default=0).over(in_turn)).drop("total", "floor", "units")


def _levels(heights: ir.Table) -> ir.Table:
    """Cut every event into the slices between the heights that occur in its stack."""
    marks = heights.select(*_STACK, bottom="before").union(heights.select(*_STACK, bottom="after")).distinct()
    slices = marks.mutate(top=marks.bottom.lead().over(ibis.window(group_by=_STACK, order_by="bottom")))
    low, high = ibis.least(heights.before, heights.after), ibis.greatest(heights.before, heights.after)
    bounded = heights.mutate(low=low, high=high)
    return bounded.inner_join(slices, [*_STACK, slices.bottom >= bounded.low, slices.top <= bounded.high]).select(
        *_STACK, *_TURN, "bottom", "top"
    )


def _taken(levels: ir.Table) -> ir.Table:
    """In one slice of a stack, filling and emptying alternate: who empties it takes from who filled it last."""
    in_turn = ibis.window(group_by=[*_STACK, "bottom"], order_by=_TURN)
    paired = levels.mutate(bought_in=levels.order_id.lag().over(in_turn), units=levels.top - levels.bottom)
    return paired.filter(paired.is_cancellation == 1)
