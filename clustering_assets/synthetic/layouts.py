"""How a source would name and arrange the order lines: one function per layout, from drawn rows to its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clustering_assets.synthetic.catalogue import ALL_REASONS, BRANDS, CATEGORIES, COLOURS
from clustering_assets.synthetic.dirt import DIRT_CODES
from clustering_assets.synthetic.orders import SyntheticOrders, moments, pick, where_known

_FEES = ("POST", "M", "D", "DOT", "BANK CHARGES", "C2")
_FEE_NAMES = ("POSTAGE", "Manual", "Discount", "DOTCOM POSTAGE", "Bank Charges", "CARRIAGE")
_NEVER_SOLD = "99999999"
_COUNTRIES = ("United Kingdom", "Germany", "France", "EIRE", "Spain", "Netherlands")


@dataclass(frozen=True, slots=True)
class Layout:
    """A source layout.

    Parameters
    ----------
    columns
        From a shop and its rows (with the column ``dirt``) to a table with the names of the source, row by row.
    quantity, order_date
        The columns that hold them.
    arrange
        Brings the rows into the form of the layout first, where it has more rows than there are lines.
    delimiter, decimal_mark, date_format
        How CSV files are written; the format None is ISO 8601.
    mapping
        What a ``source.yaml`` beside the files has to say about them; empty where the layout is a known one.
    """

    columns: Callable[[SyntheticOrders, pd.DataFrame], pa.Table]
    quantity: str
    order_date: str
    arrange: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows
    delimiter: str = ","
    decimal_mark: str = "."
    date_format: str | None = None
    mapping: Mapping[str, Any] = field(default_factory=dict)


def _order_lines(shop: SyntheticOrders, rows: pd.DataFrame) -> pa.Table:
    return (
        shop.as_table(rows)
        .set_column(1, "customer_id", _customers(shop, rows))
        .set_column(5, "line_value", _money(rows["unit_price"] * rows["quantity"]))
    )


def _returns_export(shop: SyntheticOrders, rows: pd.DataFrame) -> pa.Table:
    catalogue = shop.catalogue
    sku = rows["sku"].to_numpy()
    style, colour = where_known(catalogue.sku_style, sku), where_known(catalogue.sku_colour, sku)
    category = where_known(catalogue.style_category, style)
    order, line = _numbers(rows["order_number"]), _numbers(rows["line"])
    returned = rows["return_quantity"].to_numpy() > 0
    second_part = rows["dirt"].to_numpy() == DIRT_CODES["several_returns"]
    return_number = pc.binary_join_element_wise("R", order, line, pick(["", "2"], second_part), "")
    sku_number = pick(catalogue.sku_number, sku)
    style_number = pick([str(10_000 + number) for number in range(len(catalogue.style_name))], style)
    return pa.table(
        {
            "SALES_ORDER_NO": order,
            "CUSTOMER_EMAILID": _customers(shop, rows),
            "ORDER_DATE": moments(rows["second"]),
            "SKU": pc.binary_join_element_wise("S", sku_number, ""),
            "SALES_QTY": pa.array(rows["quantity"]),
            "GROSS": _money(rows["unit_price"] * rows["quantity"]),
            "RETURN_QTY": pa.array(rows["return_quantity"]),
            "UNITS_RETURNED_FLAG": pick(["N", "Y"], returned),
            "RETURN_DATE": moments(rows["return_second"]).cast(pa.date32()),
            "RETURN_NO": pc.if_else(pa.array(returned), return_number, None),
            "RETURN_COMMENT": pick(ALL_REASONS, rows["reason"]),
            "ORDERLINK": line,
            "Q_CLS_ID": pick([value.name for value in CATEGORIES], category),
            "Q_SKU_DESC": pick(catalogue.style_name, style),
            "Q_GMM_ID": pick([value.manager for value in CATEGORIES], category),
            "Q_SKU_ID": sku_number,
            "CLASS_": pick([str(100 + number) for number in range(len(CATEGORIES))], category),
            "DIVISION_": pick([value.division for value in CATEGORIES], category),
            "BRAND_": pick(BRANDS, where_known(catalogue.style_brand, style)),
            "Q_CLR_DNUM": pick([number for number, _ in COLOURS], colour),
            "Q_CLR_DESC": pick([name for _, name in COLOURS], colour),
            "VENDOR_STYLE": pc.binary_join_element_wise("V", style_number, ""),
            "SIZE_": pick(catalogue.sku_size, sku),
        }
    )


def _with_cancellations(rows: pd.DataFrame) -> pd.DataFrame:
    """Add returns as rows of their own, with a negative quantity, after the purchases of the block."""
    dirt = rows["dirt"].to_numpy()
    quantity = np.where(dirt == DIRT_CODES["unmatched_cancellation"], -1, rows["quantity"])
    comes_back = (rows["return_quantity"].to_numpy() > 0) & np.isin(dirt, (-1, DIRT_CODES["shouted_customer"]))
    cancelled = rows[comes_back].sort_values("return_second", kind="stable")
    cancelled = cancelled.assign(second=cancelled["return_second"], quantity=-cancelled["return_quantity"], dirt=-1)
    return pd.concat([rows.assign(quantity=quantity), cancelled], ignore_index=True)


def _online_retail(shop: SyntheticOrders, rows: pd.DataFrame) -> pa.Table:
    catalogue = shop.catalogue
    dirt, sku = rows["dirt"].to_numpy(), rows["sku"].to_numpy()
    fee = np.where(dirt == DIRT_CODES["not_a_product"], np.arange(len(rows)) % len(_FEES), -1)
    never_sold = np.where(dirt == DIRT_CODES["unmatched_cancellation"], 0, -1)
    prefix = pick(["", "C"], rows["quantity"] < 0)
    code = pc.coalesce(pick(_FEES, fee), pick([_NEVER_SOLD], never_sold), pick(catalogue.sku_number, sku))
    name = pick([value.upper() for value in catalogue.style_name], where_known(catalogue.sku_style, sku))
    country = rows["customer"].to_numpy() % 17
    return pa.table(
        {
            "Invoice": pc.binary_join_element_wise(prefix, _numbers(rows["order_number"]), ""),
            "StockCode": code,
            "Description": pc.coalesce(pick(_FEE_NAMES, fee), name),
            "Quantity": pa.array(rows["quantity"]),
            "InvoiceDate": moments(rows["second"]),
            "Price": _money(rows["unit_price"]),
            "Customer ID": _customers(shop, rows),
            "Country": pick(_COUNTRIES, np.where(country < len(_COUNTRIES), country, 0)),
        }
    )


_MAPPED_NAMES = {
    "order_id": "Bestellnummer",
    "customer_id": "Kunde",
    "sku": "Artikelnummer",
    "order_date": "Bestelldatum",
    "quantity": "Menge",
    "line_value": "Betrag",
    "return_quantity": "Retourmenge",
    "return_date": "Retourdatum",
    "category": "Warengruppe",
    "brand": "Marke",
    "return_reason": "Retourgrund",
}


def _mapped(shop: SyntheticOrders, rows: pd.DataFrame) -> pa.Table:
    return _order_lines(shop, rows).rename_columns(list(_MAPPED_NAMES.values()))


LAYOUTS: Mapping[str, Layout] = {
    "order_lines": Layout(_order_lines, "quantity", "order_date"),
    "returns_export": Layout(_returns_export, "SALES_QTY", "ORDER_DATE"),
    "online_retail": Layout(_online_retail, "Quantity", "InvoiceDate", _with_cancellations),
    "mapped": Layout(
        _mapped,
        "Menge",
        "Bestelldatum",
        delimiter=";",
        decimal_mark=",",
        date_format="%d.%m.%Y",
        mapping={"columns": _MAPPED_NAMES, "date_format": "%d.%m.%Y", "decimal_mark": ",", "repeats": "latest"},
    ),
}


def text_dirt(layout: Layout) -> dict[str, tuple[str, str]]:
    """Column and text of the kinds of dirt that put text where a number or a date belongs."""
    return {
        "quantity_not_a_number": (layout.quantity, "abc"),
        "impossible_date": (layout.order_date, "31/31/2024"),
    }


def _numbers(values: npt.ArrayLike) -> pa.Array:
    numbers = np.asarray(values)
    return pa.array(numbers, mask=numbers < 0).cast(pa.string())


def _customers(shop: SyntheticOrders, rows: pd.DataFrame) -> pa.Array:
    email = pa.array(shop.shoppers.email)
    shouted = pc.binary_join_element_wise(" ", pc.utf8_upper(email), "  ", "")
    customer = rows["customer"].to_numpy()
    shift = np.where(rows["dirt"] == DIRT_CODES["shouted_customer"], len(email), 0)
    return pick(pa.concat_arrays([email, shouted]), np.where(customer < 0, -1, customer + shift))


def _money(cents: npt.ArrayLike) -> pa.Array:
    """Exact decimals with two places; their 16 bytes are the integer, lower half first."""
    low = np.asarray(cents, dtype=np.int64)
    halves = np.column_stack([low, low >> 63])
    return pa.Array.from_buffers(pa.decimal128(12, 2), len(low), [None, pa.py_buffer(halves)])
