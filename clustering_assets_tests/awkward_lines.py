"""Frames of bronze.order_lines that try the features: every known awkward case on purpose, and random small ones.

Prices are multiples of 1/4, so that equal unit prices are equal to the last bit and the 75th percentile is met exactly.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from clustering_assets.contracts import ORDER_LINES
from clustering_assets_tests.oracle import contract_frame

AS_OF = dt.date(2024, 6, 30)
"""Day of the latest order in `awkward_lines`; the exact ages there (90 days, 181 days) are counted back from it."""

EARLIER_AS_OF = dt.date(2024, 5, 21)
"""A day to configure as as_of with `awkward_lines`: orders and returns lie on it and right after it."""

_INGESTED_AT = dt.datetime(2024, 7, 1, 3, 0)
_MIDNIGHT, _NOON, _LAST_MOMENT = dt.time(0), dt.time(12), dt.time(23, 59, 59, 999999)


def order_lines_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Build a bronze.order_lines frame; what a row leaves out is null or, where required, an inconspicuous default."""
    numbered = []
    for number, row in enumerate(rows, start=1):
        defaults = {
            "return_quantity": 0,
            "source_customer_id": row["customer_id"],
            "source_file": "orders.csv",
            "source_row": number,
            "quality_flags": "",
            "ingested_at": _INGESTED_AT,
        }
        numbered.append({**defaults, **row})
    frame = contract_frame(numbered, ORDER_LINES.columns)
    _check_bronze_rules(frame)
    return frame


def awkward_lines(
    seed: int, customers: int = 60, *, with_values: bool = True, with_categories: bool = True
) -> pd.DataFrame:
    """Build a shop that contains every awkward case, named by its customer ids, and ordinary customers.

    Parameters
    ----------
    seed
        Fixes the ordinary customers and the order of the rows; the awkward cases are always the same.
    customers
        Number of ordinary customers, in addition to the awkward ones.
    with_values, with_categories
        False makes line_value or category null throughout.
    """
    rng = np.random.default_rng(seed)
    shop = _Shop()
    for add_cases in (
        _add_volumes,
        _add_ties_and_line_dates,
        _add_exact_ages,
        _add_missing_values,
        _add_returns,
        _add_prices,
        _add_categories_and_trends,
        _add_point_in_time_cases,
        _add_identifiers_and_flags,
    ):
        add_cases(shop)
    for number in range(customers):
        _add_ordinary_customer(shop, f"ordinary-{number:04d}", rng)

    rows = [shop.rows[position] for position in rng.permutation(len(shop.rows))]
    if not with_values:
        rows = [{**row, "line_value": None} for row in rows]
    if not with_categories:
        rows = [{**row, "category": None} for row in rows]
    return order_lines_frame(rows)


@st.composite
def order_lines_strategy(draw: st.DrawFn) -> pd.DataFrame:
    """Small bronze.order_lines frames: 1-6 customers, 1-40 lines, few distinct values, nulls wherever allowed."""
    customers = ["ann", "Bob", "o'brien", 'c"d', "名前", "\U0001f600"][: draw(st.integers(1, 6))]
    line = st.tuples(
        st.sampled_from(customers),
        st.sampled_from(_ORDERS_AND_SKUS),
        st.sampled_from(_ORDER_DATES),
        st.sampled_from(_BOUGHT_AND_RETURNED),
        st.sampled_from([0, 1, 14, 60, 61, 200, None]),
        st.sampled_from([20.0, 10.0, 5.0, 2.5, 0.0, -2.5, None]),
        st.sampled_from(["hats", "Hats", "shoes", "hats", None]),
        st.sampled_from(_SUNDRIES),
    )
    lines = st.lists(
        line,
        min_size=draw(st.sampled_from([1, 5, 15])),
        max_size=40,
        unique_by=lambda values: values[:2],
    )
    return order_lines_frame(_row(*values) for values in draw(lines))


_LATEST = dt.date(2024, 3, 1)
_NEAR_AGES = [0, 1, 2, 3, 13, 14, 15, 16, 28, 29, 30, 31, 45, 60, 89, 90, 91]
_FAR_AGES = [180, 181, 365, 366, 730, 731, 1100]
_ORDER_DATES = [
    *(
        dt.datetime.combine(_LATEST - dt.timedelta(days=age), time)
        for age in _NEAR_AGES
        for time in (_NOON, _MIDNIGHT, _LAST_MOMENT)
    ),
    *(dt.datetime.combine(_LATEST - dt.timedelta(days=age), _NOON) for age in _FAR_AGES),
    dt.datetime(1900, 1, 1),
    dt.datetime(1969, 12, 31, 23, 59, 59, 999999),
    *([None] * 8),
]
_ORDERS_AND_SKUS = list(itertools.product(["1", "10", "9", "a", "B", "é", "x'y"], ["s", "S", "t", "u", "v", "w"]))
_BOUGHT_AND_RETURNED = [
    *((bought, returned) for bought in (1, 2, 3) for returned in range(bought + 1)),
    *((bought, 0) for bought in (1, 2, 4)),
    (None, 0),
    (None, 2),
]
_SUNDRIES = list(
    itertools.product(
        ("brand", None), ("a.csv", "b.csv"), ("", "BAD_QUANTITY", "BAD_ORDER_DATE", "BAD_QUANTITY;RETURN_BEFORE_ORDER")
    )
)


def _row(
    customer_id: str,
    order_and_sku: tuple[str, str],
    order_date: dt.datetime | None,
    bought_and_returned: tuple[int | None, int],
    days_to_return: int | None,
    line_value: float | None,
    category: str | None,
    sundries: tuple[str | None, str, str],
) -> dict[str, Any]:
    start = order_date or dt.datetime.combine(_LATEST, _NOON)
    brand, source_file, quality_flags = sundries
    return {
        "order_id": order_and_sku[0],
        "customer_id": customer_id,
        "sku": order_and_sku[1],
        "order_date": order_date,
        "quantity": bought_and_returned[0],
        "line_value": line_value,
        "return_quantity": bought_and_returned[1],
        "return_date": None if days_to_return is None else start + dt.timedelta(days=days_to_return),
        "category": category,
        "brand": brand,
        "source_customer_id": f"{customer_id} of {source_file} {order_and_sku[1]}",
        "source_file": source_file,
        "quality_flags": quality_flags,
    }


class _Shop:
    """Collects lines; numbers the rows of each source file and the SKUs of each order."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._rows_of_file: Counter[str] = Counter()
        self._lines_of_order: Counter[tuple[str, str]] = Counter()

    def line(
        self,
        customer_id: str,
        order_id: str,
        order_date: dt.datetime | None,
        *,
        back: int = 0,
        back_after: int | None = 7,
        **values: Any,
    ) -> None:
        """Add a line with ``back`` units returned ``back_after`` days after the order (None: no date)."""
        file = values.get("source_file", "2023/orders.csv" if len(self.rows) % 3 else "2024/orders.xlsx")
        self._rows_of_file[file] += 1
        self._lines_of_order[order_id, customer_id] += 1
        return_date = None
        if back and back_after is not None and order_date is not None:
            return_date = order_date + dt.timedelta(days=back_after)
        self.rows.append(
            {
                "order_id": order_id,
                "customer_id": customer_id,
                "sku": f"SKU-{self._lines_of_order[order_id, customer_id]}",
                "order_date": order_date,
                "quantity": 2,
                "line_value": 40.0,
                "return_quantity": back,
                "return_date": return_date,
                "category": "shirts",
                "brand": "house",
                "return_reason": "too small" if back else None,
                "source_file": file,
                "source_row": self._rows_of_file[file],
                **values,
            }
        )


def _ago(days: int, time: dt.time = _NOON) -> dt.datetime:
    return dt.datetime.combine(AS_OF - dt.timedelta(days=days), time)


def _month(month: int, day: int = 10) -> dt.datetime:
    return dt.datetime(2023, month, day, 12)


def _add_volumes(shop: _Shop) -> None:
    shop.line("one-order", "O1", _ago(200))
    shop.line("one-order-returned", "O1", _ago(200), back=1)
    for order in range(4):
        shop.line("never-returns", f"O{order}", _ago(20 * order + 5))
        for _ in range(2):
            shop.line("returns-everything", f"O{order}", _ago(20 * order + 5), back=2)
    for line in range(20):
        # 19 of 20 is a rate of exactly 0.95, 20 of 20 is above.
        shop.line("return-rate-at-limit", "O1", _ago(100), back=int(line > 0))
        shop.line("return-rate-above-limit", "O1", _ago(100), back=1)
    for line in range(51):
        shop.line("order-of-51-lines", "O1", _ago(50), back=int(line % 5 == 0))
        if line < 50:
            shop.line("order-of-50-lines", "O1", _ago(50))
    for customer in ("shares-order-number-a", "shares-order-number-b"):
        shop.line(customer, "SHARED", _ago(40), back=int(customer.endswith("a")))
        shop.line(customer, "SHARED", _ago(40))


def _add_ties_and_line_dates(shop: _Shop) -> None:
    for order, back, hour in (("O1", 1, 8), ("O2", 0, 9), ("O3", 1, 9), ("O4", 1, 10)):
        shop.line("same-day-orders", order, _ago(30, dt.time(hour)), back=back)
    # In string order 10 < 9 < B < a: one run of two. Numeric or case-insensitive order would break it.
    for order, back in (("9", 1), ("10", 1), ("a", 1), ("B", 0)):
        shop.line("same-moment-orders", order, _ago(30), back=back)
    # As strings 10 and 100 are neighbours, as numbers 20 stands between them.
    for order, back in (("9", 0), ("10", 1), ("20", 0), ("100", 1)):
        shop.line("same-moment-numbers", order, _ago(30), back=back)
    for order, back in enumerate([1, 1, 0, 1, 0, 0, 1, 1, 1]):
        shop.line("streaks-of-2-1-3", f"O{order}", _ago(300 - 20 * order), back=back)
    # The earliest line dates the order: the first is not recent, and the last is not as late as its last line.
    shop.line("line-dates-differ", "first", _ago(89), back=1)
    shop.line("line-dates-differ", "first", _ago(92))
    shop.line("line-dates-differ", "last", _ago(3), back=1)
    shop.line("line-dates-differ", "last", _ago(10))
    shop.line("line-dates-differ", "last", None, back=1)
    # By its earliest lines "late" comes before "early".
    shop.line("line-dates-reorder", "early", _ago(50), back=1)
    shop.line("line-dates-reorder", "late", _ago(40))
    shop.line("line-dates-reorder", "late", _ago(60))
    shop.line("line-dates-reorder", "next", _ago(45), back=1)


def _add_exact_ages(shop: _Shop) -> None:
    for days in (730, 731):
        for age in (days + 8, 400, 300, 250, 8):
            shop.line(f"lifetime-{days}", f"O{age}", _ago(age), back=int(age in (400, 8)))
            shop.line(f"lifetime-{days}-no-returns", f"O{age}", _ago(age))
    for days in (89, 90, 91, 180, 181, 365, 366):
        shop.line(f"tenure-{days}", "first", _ago(days, _LAST_MOMENT), back=1)
        shop.line(f"tenure-{days}", "second", _ago(5))
    for days in (0, 1, 14, 15):
        # The time of day makes the distance in hours shorter or longer than whole days.
        shop.line(f"gap-{days}-days", "O1", _ago(60 + days, _LAST_MOMENT), back=1)
        shop.line(f"gap-{days}-days", "O2", _ago(60, _LAST_MOMENT if days == 14 else _MIDNIGHT), back=1)
    shop.line("gap-14-days-by-minutes", "O1", _ago(74, _MIDNIGHT))
    shop.line("gap-14-days-by-minutes", "O2", _ago(60, _LAST_MOMENT))
    for age, back in ((100, 1), (90, 0), (90, 1), (80, 1), (60, 1)):
        shop.line("adjacent-orders-and-returns", f"O{age}-{back}", _ago(age), back=back)
    for days in (90, 91):
        shop.line(f"recent-{days}", "O1", _ago(400), back=1)
        shop.line(f"recent-{days}", "O2", _ago(days, _MIDNIGHT), back=1)
        shop.line(f"recent-{days}", "O2", _ago(days, _MIDNIGHT))
    shop.line("ordered-on-as-of", "O1", _ago(0, _LAST_MOMENT), back=1)
    for moment in (
        dt.datetime(1900, 1, 1),
        dt.datetime(1969, 12, 31, 23, 59, 59, 999999),
        dt.datetime(2020, 2, 29, 12),
        dt.datetime(2023, 12, 31, 23, 59, 59, 999999),
        dt.datetime(2024, 1, 1),
    ):
        shop.line("odd-dates", f"O{moment:%Y%m%d}", moment, back=1, back_after=1)


def _add_missing_values(shop: _Shop) -> None:
    for order, date in (("O1", _ago(130)), ("O2", None), ("O3", _ago(10))):
        shop.line("some-orders-undated", order, date, back=1, return_date=_ago(2))
        shop.line("some-lines-undated", order, _ago(130))
        shop.line("some-lines-undated", order, date if order == "O1" else None, back=1)
        shop.line("never-dated", order, None, back=int(order == "O2"), return_date=_ago(1))
    for order in range(6):
        date, known, back = _ago(35 * order + 3), order % 2 == 0, int(order % 3 == 0)
        full: dict[str, Any] = {"quantity": 3, "line_value": 60.0, "category": "shoes"}
        for column in full:
            empty: dict[str, Any] = {**full, column: None}
            shop.line(f"some-{column}-missing", f"O{order}", date, back=back, **(full if known else empty))
            shop.line(f"no-{column}", f"O{order}", date, back=back, **empty)
    shop.line("nothing-known", "O1", None, back=1, quantity=None, line_value=None, category=None, brand=None)


def _add_returns(shop: _Shop) -> None:
    shop.line("returned-at-once", "O1", _ago(20), back=1, back_after=0)
    shop.line("returned-overnight", "O1", _ago(20, _LAST_MOMENT), back=1, return_date=_ago(19, _MIDNIGHT))
    shop.line("return-undated", "O1", _ago(20), back=1, back_after=None)
    shop.line("return-undated", "O2", _ago(10), back=2, back_after=4)
    shop.line("return-date-without-return", "O1", _ago(20), return_date=_ago(10))
    shop.line("returned-in-part", "O1", _ago(20), back=1, quantity=4)
    shop.line("returned-in-part", "O1", _ago(20), back=3, quantity=3)
    for customer, days in (("returned-after-60", (50, 70)), ("returned-after-61", (61, 61)), ("late", (200, 90))):
        for after in days:
            shop.line(customer, f"O{after}", _ago(250 - after // 2), back=1, back_after=after)
            shop.line(customer, f"O{after}", _ago(250 - after // 2))
    shop.line("returned-after-as-of", "O1", _ago(3), back=1, back_after=30)
    shop.line("returned-on-as-of", "O1", _ago(3), back=1, return_date=_ago(0, _LAST_MOMENT))


def _add_prices(shop: _Shop) -> None:
    # Most lines of the shop cost 20 a unit, which makes 20 the 75th percentile.
    for customer, prices in {
        "buys-cheap-only": (5.0, 7.5, 10.0),
        "buys-dear-only": (20.0, 40.0, 80.0),
        "buys-both": (5.0, 20.0, 19.75, 80.0),
        "free-and-negative": (0.0, -5.0, 20.0),
        "negative-in-all": (-5.0, -10.0),
    }.items():
        for order, price in enumerate(prices):
            values: dict[str, Any] = {"quantity": 3, "line_value": 3 * price}
            shop.line(customer, f"O{order}", _ago(40 * order + 2), back=order % 2, **values)
            shop.line(customer, f"O{order}", _ago(40 * order + 2), back=2 * (order % 2), **values)


def _add_categories_and_trends(shop: _Shop) -> None:
    shop.line("only-buyer", "O1", _ago(70), back=1, category="kites")
    for order, category in enumerate(("kites again", "shoes", "shoes", "Shoes")):
        shop.line("only-buyer-and-others", f"O{order}", _ago(70 - order), back=order % 2, category=category)
    for order, category in enumerate(("shirts", "shoes", "socks", "hats")):
        shop.line("even-categories", f"O{order}", _ago(70 - order), category=category)
    for customer, counts in {
        "trend-of-5-cells": (1, 2, 3, 1, 2),
        "trend-of-6-cells": (1, 2, 3, 1, 2, 4),
        "trend-without-variance": (2, 2, 2, 2, 2, 2),
        "trend-of-7-cells": (4, 1, 2, 2, 1, 1, 1),
    }.items():
        for month, lines in enumerate(counts, start=1):
            for line in range(lines):
                shop.line(customer, f"O{month}", _month(month), back=line % 2, category="socks")
    # Together these two buy and return the same in every month: the shop is constant where they vary.
    for month in range(1, 8):
        for customer, lines in (("balances-a", 1 + month % 2), ("balances-b", 2 - month % 2)):
            for line in range(lines):
                shop.line(customer, f"O{month}", _month(month), back=int(line == 1), category="balanced")
    # Six cells in three months, one of them from lines of one order on both sides of a month's end.
    for month in (1, 2, 3):
        shop.line("trend-over-two-categories", f"O{month}", _month(month), back=month % 2, category="socks")
        shop.line("trend-over-two-categories", f"O{month}", _month(month, 28), category="hats")
    shop.line("trend-over-two-categories", "O3", _month(3, 31), back=1, category="hats")
    shop.line("trend-over-two-categories", "O3", None, category="hats")


def _add_point_in_time_cases(shop: _Shop) -> None:
    last_day = dt.datetime.combine(EARLIER_AS_OF, _LAST_MOMENT)
    next_day = dt.datetime.combine(EARLIER_AS_OF + dt.timedelta(days=1), _MIDNIGHT)
    long_before = dt.datetime.combine(EARLIER_AS_OF - dt.timedelta(days=90), _MIDNIGHT)
    shop.line("orders-around-the-cut", "before", long_before, back=1)
    shop.line("orders-around-the-cut", "on", last_day, back=1)
    shop.line("orders-around-the-cut", "after", next_day, back=1)
    shop.line("order-across-the-cut", "O1", last_day, back=1, back_after=0)
    shop.line("order-across-the-cut", "O1", next_day, back=1, quality_flags="BAD_RETURN_DATE")
    shop.line("order-undated-by-the-cut", "O1", next_day)
    shop.line("order-undated-by-the-cut", "O1", None, back=1)
    shop.line("order-undated-by-the-cut", "O2", long_before)
    shop.line("returns-around-the-cut", "O1", long_before, back=1, return_date=last_day)
    shop.line("returns-around-the-cut", "O1", long_before, back=2, return_date=next_day)
    shop.line("returns-around-the-cut", "O1", None, back=1, return_date=next_day)
    shop.line("only-after-the-cut", "O1", next_day)


def _add_identifiers_and_flags(shop: _Shop) -> None:
    quotes = ("o'brien@example.com", 'say "hello"', "back\\slash", "semi;colon,comma", "50%_off", "=1+1")
    beyond_ascii = ("ünï@exämple.com", "客户", "\uff5e", "\U0001f600")
    for number, text in enumerate((*quotes, *beyond_ascii, "NULL", "nan", "0")):
        shop.line(text, text, _ago(10 * number), back=number % 2, sku=text, category=text, brand=text)
        shop.line(text, f"{text}!", _ago(10 * number + 3), sku=text.upper() + "!", category=text)
    for sku in ("ab", "AB", "Ab"):
        shop.line("skus-differ-in-case", "o1", _ago(12), sku=sku)
        shop.line("skus-differ-in-case", "O1", _ago(11), sku=sku)
    # Row 9 comes before row 10, and a.csv before b.csv.
    for file, row, spelling in (("b.csv", 1, "MIXED"), ("a.csv", 10, "Mixed"), ("a.csv", 9, "mixed")):
        values: dict[str, Any] = {
            "source_file": file,
            "source_row": row,
            "source_customer_id": f"{spelling}@example.com",
        }
        shop.line("mixed@example.com", f"O-{file}-{row}", _ago(row), **values)
    for code in ("BAD_ORDER_DATE", "BAD_RETURN_DATE", "RETURN_BEFORE_ORDER", "BAD_QUANTITY"):
        shop.line(f"flag-{code.lower()}", "O1", _ago(25), quality_flags=code)
        shop.line(f"flag-{code.lower()}", "O1", _ago(25))
    shop.line("flag-last-of-several", "O1", _ago(25), quality_flags="BAD_QUANTITY;RETURN_CUT;BAD_ORDER_DATE")
    # A code that merely contains one of the others is another code.
    shop.line("flag-that-only-looks-alike", "O1", _ago(25), quality_flags="NOT_BAD_ORDER_DATE;BAD_RETURN_DATE_2")
    for line in range(51):
        flags = "BAD_RETURN_DATE" if line == 7 else ""
        shop.line("every-flag-at-once", "O1", _ago(200), back=1, back_after=90, quality_flags=flags)


def _add_ordinary_customer(shop: _Shop, customer_id: str, rng: np.random.Generator) -> None:
    return_rate = rng.choice([0.0, 0.1, 0.3, 0.7])
    favourites = rng.permutation(["shirts", "shoes", "socks", "hats", "coats"])[: rng.integers(1, 6)]
    span = int(rng.choice([30, 120, 400, 1100]))
    for order in range(1 + int(rng.poisson(4))):
        ordered = _ago(int(rng.integers(span)), dt.time(int(rng.integers(24)), int(rng.integers(60))))
        for _ in range(1 + int(rng.poisson(2))):
            quantity = int(rng.integers(1, 5))
            price = float(rng.choice([5.0, 7.5, 12.25, 20.0, 40.0], p=[0.2, 0.2, 0.2, 0.25, 0.15]))
            values: dict[str, Any] = {
                "quantity": quantity,
                "line_value": price * quantity,
                "category": str(rng.choice(favourites)),
                "brand": str(rng.choice(["house", "guest"])),
            }
            for column in ("quantity", "line_value", "category", "brand"):
                if rng.random() < 0.03:
                    values[column] = None
            back = int(rng.integers(1, quantity + 1)) if rng.random() < return_rate else 0
            line_date = None if rng.random() < 0.03 else ordered
            after = None if rng.random() < 0.1 else int(rng.integers(0, 60))
            shop.line(customer_id, f"{customer_id}-{order}", line_date, back=back, back_after=after, **values)


def _check_bronze_rules(frame: pd.DataFrame) -> None:
    """Raise ValueError where lines break the bronze contract: the tests would prove nothing with them."""
    problems = {
        "a key occurs twice": frame.duplicated(list(ORDER_LINES.key)),
        "a source row occurs twice": frame.duplicated(["source_file", "source_row"]),
        "a quantity is below 1": (frame["quantity"] < 1).fillna(False),
        "a return quantity is negative": frame["return_quantity"] < 0,
        "more came back than was bought": (frame["return_quantity"] > frame["quantity"]).fillna(False),
        "a return precedes its order": frame["return_date"] < frame["order_date"],
        **{f"{column.name} is missing": frame[column.name].isna() for column in ORDER_LINES.columns if column.required},
    }
    broken = [problem for problem, rows in problems.items() if rows.any()]
    if broken:
        raise ValueError("; ".join(broken))
