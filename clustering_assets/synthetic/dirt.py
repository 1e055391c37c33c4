"""Rows that a source should not hold, planted among the clean ones, and what a careful reader makes of each.

Dirt is added on top: every clean order line can still be read from the files as it was drawn. Only the kinds that are
kept with a flag bring new lines, under order numbers of their own (``FIRST_DIRTY_ORDER_ID`` and above).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clustering_assets.synthetic.catalogue import Ints
from clustering_assets.synthetic.orders import DAY, NEVER

FIRST_DIRTY_ORDER_ID = 900_000_000
_ORDER_LINES = frozenset({"order_lines", "returns_export", "mapped"})
_RETAIL = frozenset({"online_retail"})
_ALL = _ORDER_LINES | _RETAIL


@dataclass(frozen=True, slots=True)
class Dirt:
    """One kind of dirty row.

    Parameters
    ----------
    meaning
        What is wrong with the row.
    outcome
        What becomes of the row: ``rejected``, ``kept`` (with a flag), ``superseded``, ``merged`` (into the clean line)
        or ``clean`` (not an additional row: a clean row written differently).
    layouts
        Layouts in which it can occur.
    formats
        ``any``, ``text`` (needs cells that hold text: CSV and XLSX) or ``csv``.
    """

    meaning: str
    outcome: str
    layouts: frozenset[str] = _ALL
    formats: str = "any"


DIRT: Mapping[str, Dirt] = {
    "no_customer": Dirt("The customer id is empty.", "rejected"),
    "no_order": Dirt("The order number is empty.", "rejected"),
    "no_sku": Dirt("The SKU is empty.", "rejected"),
    "too_few_fields": Dirt("The row ends after its fifth field.", "rejected", formats="csv"),
    "too_many_fields": Dirt("The row has two fields more than the header.", "rejected", formats="csv"),
    "quantity_not_a_number": Dirt("The quantity is 'abc'.", "kept", formats="text"),
    "impossible_date": Dirt("The order date is 31/31/2024.", "kept", formats="text"),
    "quantity_not_positive": Dirt("The quantity is 0.", "kept"),
    "returned_before_ordered": Dirt("The return is dated before the order.", "kept", _ORDER_LINES),
    "returned_more_than_bought": Dirt("More units came back than were bought.", "kept", _ORDER_LINES),
    "exact_repeat": Dirt("The row stands there twice.", "superseded"),
    "superseded": Dirt("A row further down has the same key and the right values.", "superseded", _ORDER_LINES),
    "several_returns": Dirt(
        "One sale in two rows, each with a part of its returns.", "merged", frozenset({"returns_export"})
    ),
    "shouted_customer": Dirt("The e-mail address is in upper case with blanks around.", "clean"),
    "not_a_product": Dirt("Postage or a manual correction instead of a product.", "rejected", _RETAIL),
    "unmatched_cancellation": Dirt("A cancellation of something never bought.", "rejected", _RETAIL),
}

DIRT_CODES: Mapping[str, int] = {name: code for code, name in enumerate(DIRT)}


def kinds_for(layout: str, file_format: str) -> list[str]:
    """Names of the kinds of dirt that the layout and the format can hold."""
    formats = {"any"}
    if file_format.startswith("csv"):
        formats |= {"text", "csv"}
    elif file_format == "xlsx":
        formats |= {"text"}
    return [name for name, dirt in DIRT.items() if layout in dirt.layouts and dirt.formats in formats]


def plant(rows: pd.DataFrame, share: float, kinds: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """Add dirty rows to a block of order lines.

    Parameters
    ----------
    rows
        A block as ``SyntheticOrders.blocks`` yields it; not changed.
    share
        Dirty rows per clean row, the kinds in equal numbers.
    kinds
        Kinds to plant.
    rng
        Source of randomness.

    Returns
    -------
    DataFrame
        The rows and the dirty ones next to the row they were made from, with a column ``dirt``: index into ``DIRT``, -1
        for a clean row. Order, customer and SKU are -1 where they are missing.
    """
    wanted = round(len(rows) * share / max(1, len(kinds)))
    free = rng.permutation(len(rows))
    parts = [rows.assign(dirt=-1, place=3 * np.arange(len(rows)) + 1)]
    for name in kinds:
        possible = free
        if name == "several_returns":
            # Two return dates, so that the two rows differ in more than the return number.
            waited = rows["return_second"].to_numpy() - rows["second"].to_numpy()
            possible = free[((rows["return_quantity"].to_numpy() >= 2) & (waited > 2 * DAY))[free]]
        chosen = possible[:wanted]
        free = free[~np.isin(free, chosen)]
        parts.append(_dirty(name, parts[0], chosen))
    dirty = pd.concat(parts, ignore_index=True)
    return dirty.sort_values("place", kind="stable", ignore_index=True).drop(columns="place")


def _dirty(name: str, clean: pd.DataFrame, chosen: Ints) -> pd.DataFrame:
    """Dirty copies of the chosen rows; changes ``clean`` where a clean row is to be written differently."""
    code = DIRT_CODES[name]
    if name == "shouted_customer":
        clean.loc[chosen, "dirt"] = code
        return clean.iloc[:0]
    copies = clean.iloc[np.sort(chosen)].copy()
    copies["dirt"] = code
    copies["place"] += 1
    if DIRT[name].outcome == "kept":
        copies["order_number"] += FIRST_DIRTY_ORDER_ID
    match name:
        case "no_customer":
            copies["customer"] = -1
        case "no_order":
            copies["order_number"] = -1
        case "no_sku":
            copies["sku"] = -1
        case "quantity_not_positive":
            copies[["quantity", "return_quantity"]] = 0
            copies[["return_second", "reason"]] = NEVER, -1
        case "returned_before_ordered":
            copies["return_quantity"] = copies["quantity"]
            copies["return_second"] = (copies["second"] // DAY - 10) * DAY
        case "returned_more_than_bought":
            copies["return_quantity"] = copies["quantity"] + 1
            copies["return_second"] = (copies["second"] // DAY + 5) * DAY
        case "superseded":
            copies["place"] -= 2
            copies["quantity"] += 1
            copies[["return_quantity", "return_second", "reason"]] = 0, NEVER, -1
        case "several_returns":
            # The first unit came back halfway between the order and the return of the others.
            copies["return_quantity"] = 1
            waited = copies["return_second"] // DAY - copies["second"] // DAY
            copies["return_second"] -= (waited // 2) * DAY
            copies["place"] -= 2
            clean.loc[chosen, "return_quantity"] -= 1
    return copies
