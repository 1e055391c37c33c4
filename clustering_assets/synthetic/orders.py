"""When customers order, what is in an order and what comes back.

The orders are drawn at once (16 bytes each stay); their lines are drawn block by block, each block from its own random
numbers, so that a large shop can be written without being held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from clustering_assets.synthetic.catalogue import (
    ALL_REASONS,
    BRANDS,
    CATEGORIES,
    SEVERAL_SIZES,
    Catalogue,
    Ints,
    make_catalogue,
    monthly_demand,
    reason_choice,
)
from clustering_assets.synthetic.shoppers import ALL_KINDS, Shoppers, draw_shoppers

START = date(2023, 1, 1)
FIRST_ORDER_ID = 10_000_000
DAY = 86_400
NEVER = np.iinfo(np.int64).min
"""Second that stands for no time at all; numpy reads it as NaT."""
_ORDERS_PER_BLOCK = 100_000
_ORDERS_BY_MONTH = np.array([0.95, 0.85, 0.95, 1.0, 1.05, 0.95, 0.75, 0.75, 1.0, 1.05, 1.3, 1.7])
_SALE_BY_MONTH = np.array([0.55, 0.25, 0.12, 0.12, 0.12, 0.3, 0.5, 0.4, 0.12, 0.12, 0.35, 0.2])
_ORDERS_BY_WEEKDAY = np.array([1.05, 1.0, 0.95, 0.95, 0.9, 0.95, 1.2])
_ORDERS_BY_HOUR = np.array([1, 1, 0, 0, 0, 1, 2, 4, 5, 6, 6, 6, 7, 6, 5, 5, 6, 7, 9, 11, 12, 10, 6, 3])
_DISCOUNTS = np.array([0.1, 0.2, 0.3, 0.5])


@dataclass(frozen=True, slots=True)
class SyntheticOrders:
    """A made-up shop: its customers, its catalogue and its orders in the sequence of their dates.

    ``order_*`` have an element per order: the customer's index, the second it was placed (since 1970) and its lines.
    """

    shoppers: Shoppers
    catalogue: Catalogue
    seed: int
    start: date
    days: int
    order_customer: npt.NDArray[np.int32]
    order_second: Ints
    order_lines: npt.NDArray[np.int32]

    @property
    def end_second(self) -> int:
        """First second after the period."""
        return ((self.start - date(1970, 1, 1)).days + self.days) * DAY

    @property
    def truth(self) -> pd.Series[str]:
        """Kind of each customer, indexed by customer id."""
        return pd.Series(
            np.array(list(ALL_KINDS))[self.shoppers.kind],
            index=pd.Index(self.shoppers.email, name="customer_id"),
            name="kind",
        )

    @property
    def lines(self) -> pa.Table:
        """All order lines with the names of the bronze contract, one row per SKU of an order.

        Columns: order_id, customer_id, sku, order_date, quantity, line_value, return_quantity, return_date, category,
        brand, return_reason. About 150 bytes a line.
        """
        return pa.concat_tables(self.as_table(rows) for rows in self.blocks())

    def blocks(self) -> Iterator[pd.DataFrame]:
        """Draw the order lines, block by block in the sequence of the orders.

        Yields
        ------
        DataFrame
            One row per order line, all int64: order_number, line (1-based position in the order), customer (index),
            sku (index), second (since 1970), quantity, unit_price (cents), return_quantity, return_second (``NEVER`` if
            none), reason (index, -1 if none).
        """
        for block, first in enumerate(range(0, len(self.order_lines), _ORDERS_PER_BLOCK)):
            yield _draw_lines(self, first, first + _ORDERS_PER_BLOCK, np.random.default_rng([self.seed, 1 + block]))

    def as_table(self, rows: pd.DataFrame) -> pa.Table:
        """Order lines as ``blocks`` yields them, with the names and types of the bronze contract."""
        sku = rows["sku"].to_numpy()
        style = where_known(self.catalogue.sku_style, sku)
        category = where_known(self.catalogue.style_category, style)
        order_number = rows["order_number"].to_numpy()
        return pa.table(
            {
                "order_id": pa.array(order_number, mask=order_number < 0).cast(pa.string()),
                "customer_id": pick(self.shoppers.email, rows["customer"]),
                "sku": pick(self.catalogue.sku_number, rows["sku"]),
                "order_date": moments(rows["second"]),
                "quantity": pa.array(rows["quantity"]),
                "line_value": pa.array(rows["unit_price"] * rows["quantity"] / 100),
                "return_quantity": pa.array(rows["return_quantity"]),
                "return_date": moments(rows["return_second"]),
                "category": pick([value.name for value in CATEGORIES], category),
                "brand": pick(BRANDS, where_known(self.catalogue.style_brand, style)),
                "return_reason": pick(ALL_REASONS, rows["reason"]),
            }
        )


def generate(
    customers: int,
    lines: int,
    seed: int = 0,
    start: date = START,
    years: float = 3,
    mix: Mapping[str, float] | None = None,
) -> SyntheticOrders:
    """Make up a shop with exactly that many customers and order lines.

    Parameters
    ----------
    customers
        Customers, each with at least one order; at least 10.
    lines
        Order lines; at least 5 a customer. How often customers order follows from it.
    seed
        The same seed gives the same shop.
    start, years
        The first day, and how long the shop is observed; returns after the end have not happened.
    mix
        Weight per kind of customer (a key of ``KINDS``); None for the usual mix.

    Returns
    -------
    SyntheticOrders

    Raises
    ------
    ValueError
        If a number is too small or the mix names an unknown kind.
    """
    days = round(years * 365.25)
    if customers < 10 or lines < 5 * customers or days < 1:
        raise ValueError("needs at least 10 customers, 5 lines a customer and a day")
    rng = np.random.default_rng([seed, 0])
    catalogue = make_catalogue(int(np.clip(lines / 500, 200, 8000)), rng)
    shoppers = draw_shoppers(customers, days, mix, rng)
    customer, day = _draw_order_days(shoppers, lines, start, days, rng)
    count = len(customer)
    hour = np.searchsorted(np.cumsum(_ORDERS_BY_HOUR) / _ORDERS_BY_HOUR.sum(), rng.random(count), side="right")
    second = day * DAY + hour * 3600 + rng.integers(0, 60, count) * 60
    order_lines = _add_up_to(1 + rng.poisson(shoppers.lines[customer] - 1), lines, rng)
    sequence = np.argsort(second, kind="stable")
    return SyntheticOrders(
        shoppers=shoppers,
        catalogue=catalogue,
        seed=seed,
        start=start,
        days=days,
        order_customer=customer[sequence].astype(np.int32),
        order_second=second[sequence] + (start - date(1970, 1, 1)).days * DAY,
        order_lines=order_lines[sequence].astype(np.int32),
    )


def pick(values: npt.ArrayLike | tuple[str, ...] | list[str], indices: npt.ArrayLike) -> pa.Array:
    """Value at each index, null where the index is negative."""
    chosen = np.asarray(indices, dtype=np.int64)
    return pa.array(values).take(pa.array(chosen, mask=chosen < 0))


def where_known(values: Ints, indices: Ints) -> Ints:
    """Value at each index, -1 where the index is negative."""
    return np.where(indices < 0, -1, values[indices])


def moments(seconds: npt.ArrayLike) -> pa.Array:
    """Timestamps of seconds since 1970, null at ``NEVER``."""
    values = np.asarray(seconds)
    return pa.array(values, mask=values == NEVER).cast(pa.timestamp("s"))


def _draw_order_days(
    shoppers: Shoppers, lines: int, start: date, days: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Draw customer and day of each order, so many that they hold about the lines asked for."""
    calendar = np.datetime64(start, "D") + np.arange(days)
    month = calendar.astype("datetime64[M]").astype(np.int64) % 12
    demand = _ORDERS_BY_MONTH[month] * _ORDERS_BY_WEEKDAY[(calendar.astype(np.int64) + 3) % 7]
    holiday = demand * np.where(month >= 10, 1, 0.01)
    # Row 0 is the cumulative demand of an ordinary customer, row 1 that of a holiday shopper, both per year.
    cumulative = np.zeros((2, days + 1))
    np.cumsum([demand, holiday], axis=1, out=cumulative[:, 1:])
    cumulative *= days / 365.25 / cumulative[:, -1:]
    profile = shoppers.typical("holiday").astype(np.int64)
    begin, end = cumulative[profile, shoppers.joined], cumulative[profile, shoppers.left]
    expected = shoppers.orders * (end - begin)
    scale = 1.0
    for _ in range(100):  # customers with less than one expected order get one all the same
        scale *= lines / (np.maximum(1, expected * scale) * shoppers.lines).sum()
    per_customer = np.maximum(1, rng.poisson(expected * scale))
    customer = np.repeat(np.arange(len(per_customer)), per_customer)
    position = begin[customer] + (end - begin)[customer] * rng.random(len(customer))
    day = np.empty(len(customer), dtype=np.int64)
    for row in (0, 1):
        mine = profile[customer] == row
        day[mine] = np.searchsorted(cumulative[row], position[mine], side="right") - 1
    return customer, np.clip(day, 0, days - 1)


def _add_up_to(counts: Ints, total: int, rng: np.random.Generator) -> Ints:
    """Change counts by one at random places, none below one, until they add up to the total."""
    missing = total - int(counts.sum())
    while missing:
        candidates = np.arange(len(counts)) if missing > 0 else np.flatnonzero(counts > 1)
        if not len(candidates):
            raise ValueError("too few lines for that many customers")
        chosen = rng.permutation(candidates)[: abs(missing)]
        counts[chosen] += np.sign(missing)
        missing = total - int(counts.sum())
    return counts


def _draw_lines(shop: SyntheticOrders, first: int, last: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw the lines of the orders ``first`` to ``last`` (exclusive)."""
    shoppers, catalogue = shop.shoppers, shop.catalogue
    per_order = shop.order_lines[first:last]
    local = np.repeat(np.arange(len(per_order)), per_order)
    count = len(local)
    position = np.arange(count) - np.repeat(np.cumsum(per_order) - per_order, per_order)
    customer = shop.order_customer[first:last][local].astype(np.int64)
    second = shop.order_second[first:last][local]
    month = second.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12

    sku, again = _draw_skus(shop, local, position, customer, month, rng)
    style = catalogue.sku_style[sku]
    category = catalogue.style_category[style]

    reduced = rng.random(count) < _SALE_BY_MONTH[month] * shoppers.discount[customer]
    discount = np.where(reduced, _DISCOUNTS[rng.integers(0, len(_DISCOUNTS), count)], 0)
    unit_price = np.rint(catalogue.style_price[style] * (1 - discount) * 100).astype(np.int64)
    quantity = 1 + rng.poisson(shoppers.extra_units[customer])

    rate = shoppers.return_rate[customer]
    odds = rate / (1 - rate) * np.array([value.return_odds for value in CATEGORIES])[category]
    odds *= (catalogue.style_price[style] / np.array([value.price for value in CATEGORIES])[category]) ** 0.3
    chance = np.where(again & (shoppers.bracket[customer] > 0.1), 0.88, odds / (1 + odds))
    returned = rng.random(count) < chance
    part = 1 + np.floor(quantity * rng.random(count)).astype(np.int64)
    return_quantity = np.where(rng.random(count) < 0.75, quantity, part)
    spread = shoppers.typical("spread")[customer]
    wait = np.exp(np.log(shoppers.days_to_return[customer]) + spread * rng.standard_normal(count))
    return_second = (second // DAY + np.maximum(1, np.rint(wait)).astype(np.int64)) * DAY
    returned &= return_second < shop.end_second

    weights, reasons = reason_choice()
    chosen = (weights[category] < rng.random(count)[:, None]).sum(axis=1)
    reason = np.where(again, SEVERAL_SIZES, reasons[category, np.minimum(chosen, reasons.shape[1] - 1)])
    return pd.DataFrame(
        {
            "order_number": FIRST_ORDER_ID + 1 + first + local,
            "line": position + 1,
            "customer": customer,
            "sku": sku,
            "second": second,
            "quantity": quantity,
            "unit_price": unit_price,
            "return_quantity": np.where(returned, return_quantity, 0),
            "return_second": np.where(returned, return_second, NEVER),
            "reason": np.where(returned, reason, -1),
        }
    )


def _draw_skus(
    shop: SyntheticOrders, order: Ints, position: Ints, customer: Ints, month: Ints, rng: np.random.Generator
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Draw the SKU of each line, none twice in an order, and whether it is the article before it in another size."""
    shoppers, catalogue = shop.shoppers, shop.catalogue
    count = len(order)
    demand = shoppers.category_weight[customer] * monthly_demand().astype(np.float32)[month]
    np.cumsum(demand, axis=1, out=demand)
    threshold = demand[:, -1] * rng.random(count, dtype=np.float32)
    category = np.minimum((demand < threshold[:, None]).sum(axis=1), len(CATEGORIES) - 1)
    # A power of the uniform quantile moves the choice towards the cheap or the expensive end of the category.
    quantile = rng.random(count) ** np.exp2(-shoppers.price[customer])
    style = np.searchsorted(catalogue.style_choice, category + quantile * (1 - 1e-9))
    within = np.floor(rng.random(count) * catalogue.style_sizes[style] * catalogue.style_colours[style]).astype(
        np.int64
    )

    again = (rng.random(count) < shoppers.bracket[customer]) & (position > 0)
    base = np.maximum.accumulate(np.where(again, 0, np.arange(count)))
    style, within = style[base], within[base]
    sizes = catalogue.style_sizes[style]
    again &= np.arange(count) - base < sizes
    size = (within + np.arange(count) - base) % sizes
    sku = catalogue.style_first_sku[style] + within // sizes * sizes + size
    while True:
        key = order * len(catalogue.sku_style) + sku
        by_key = np.argsort(key, kind="stable")
        twice = by_key[1:][np.diff(key[by_key]) == 0]
        if not len(twice):
            return sku, again
        sku[twice] = rng.integers(0, len(catalogue.sku_style), len(twice))
        again[twice] = False
