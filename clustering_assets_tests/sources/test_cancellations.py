"""Cancellations against a stack that is worked off event by event."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import duckdb
import ibis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustering_assets.sources.cancellations import match


class Event(NamedTuple):
    """A purchase, or a cancellation."""

    customer_id: str
    sku: str
    order_id: str
    at: datetime | None
    quantity: int | None
    source_file: str
    source_row: int


Outcome = tuple[dict[tuple[str, str, str], tuple[int, datetime]], dict[tuple[str, int], int]]
Matcher = Callable[[Sequence[Event], Sequence[Event]], Outcome]


def worked_off(purchases: Sequence[Event], cancellations: Sequence[Event]) -> Outcome:
    """Units and last date sent back per purchase, units matched per cancellation."""
    events = [(event, 0) for event in purchases] + [(event, 1) for event in cancellations]
    events = [(event, kind) for event, kind in events if event.at is not None and event.quantity is not None]
    stacks: dict[tuple[str, str], list[list[Any]]] = defaultdict(list)
    returned: dict[tuple[str, str, str], tuple[int, datetime]] = {}
    matched: dict[tuple[str, int], int] = {}
    for event, kind in sorted(events, key=lambda e: (e[0].at, e[1], e[0].order_id, e[0].source_file, e[0].source_row)):
        stack, left = stacks[event.customer_id, event.sku], event.quantity
        if kind == 0:
            stack.append([event.order_id, left])
            continue
        while left and stack:
            taken = min(left, stack[-1][1])
            key = (stack[-1][0], event.customer_id, event.sku)
            returned[key] = (returned.get(key, (0, event.at))[0] + taken, event.at)
            place = (event.source_file, event.source_row)
            matched[place] = matched.get(place, 0) + taken
            left -= taken
            stack[-1][1] -= taken
            if not stack[-1][1]:
                stack.pop()
    return returned, matched


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    columns = dict.fromkeys(("order_id", "customer_id", "sku", "source_file"), "string")
    numbers = {"quantity": "int64", "source_row": "int64"}
    purchases = ibis.table({**columns, **numbers, "order_date": "timestamp"}, name="purchases")
    cancellations = ibis.table({**columns, **numbers, "cancelled_at": "timestamp"}, name="cancellations")
    matches = match(purchases, cancellations)
    returns, matched = (str(ibis.to_sql(table, dialect="duckdb")) for table in (matches.returns, matches.matched))
    connection = duckdb.connect()
    for name, date in (("purchases", "order_date"), ("cancellations", "cancelled_at")):
        connection.execute(
            f"""create table {name} (customer_id varchar, sku varchar, order_id varchar, {date} timestamp,
                quantity bigint, source_file varchar, source_row bigint)"""
        )

    def run(bought: Sequence[Event], cancelled: Sequence[Event]) -> Outcome:
        for name, events in (("purchases", bought), ("cancellations", cancelled)):
            connection.execute(f"delete from {name}")
            if events:
                connection.executemany(f"insert into {name} values (?, ?, ?, ?, ?, ?, ?)", list(events))
        back = connection.execute(
            f"select order_id, customer_id, sku, return_quantity, return_date from ({returns})"
        ).fetchall()
        units = connection.execute(f"select source_file, source_row, matched_quantity from ({matched})").fetchall()
        return {row[:3]: row[3:] for row in back}, {row[:2]: row[2] for row in units}

    return run


DAY = datetime(2024, 1, 1)
DATES = st.none() | st.integers(0, 5).map(lambda day: DAY + timedelta(days=day))
PURCHASE = st.tuples(
    st.sampled_from("ab"), st.sampled_from("XY"), st.sampled_from("12345"), DATES, st.none() | st.integers(1, 6)
)
CANCELLATION = st.tuples(
    st.sampled_from("ab"), st.sampled_from("XY"), st.sampled_from(["C1", "C2", "0"]), DATES, st.integers(1, 9)
)


@given(
    st.lists(PURCHASE, max_size=14, unique_by=lambda purchase: purchase[:3]),
    st.lists(CANCELLATION, max_size=14),
    st.randoms(use_true_random=False),
)
@settings(max_examples=80, deadline=None)
def test_units_come_off_the_latest_purchase_that_still_has_some(
    matcher: Matcher, purchases: list[tuple[Any, ...]], cancellations: list[tuple[Any, ...]], random: Any
) -> None:
    places = [(file, row) for file in ("a.csv", "b.csv") for row in range(2, 20)]
    random.shuffle(places)
    events = [Event(*event, *place) for event, place in zip([*purchases, *cancellations], places, strict=False)]
    bought, cancelled = events[: len(purchases)], events[len(purchases) :]
    assert matcher(bought, cancelled) == worked_off(bought, cancelled)


def test_the_example_of_a_purchase_sent_back_in_two_parts(matcher: Matcher) -> None:
    first = Event("ann", "S", "1", DAY, 5, "a.csv", 2)
    second = Event("ann", "S", "2", DAY + timedelta(days=1), 2, "a.csv", 3)
    back = Event("ann", "S", "C1", DAY + timedelta(days=2), 4, "a.csv", 4)
    again = Event("ann", "S", "C2", DAY + timedelta(days=3), 9, "a.csv", 5)
    returned, matched = matcher([first, second], [back, again])
    assert returned == {("2", "ann", "S"): (2, back.at), ("1", "ann", "S"): (5, again.at)}
    assert matched == {("a.csv", 4): 4, ("a.csv", 5): 3}
