"""Runs made from the contracts alone, with values that databases trip over."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from clustering_assets.contracts import CUSTOMER_FEATURES, PUBLISHED, SEGMENT_MODEL, Column, TableContract
from clustering_assets.publishing.content import Content, read_content
from clustering_assets.publishing.publish import Published, publish
from clustering_assets.warehouse import Warehouse, record_versions, replace_table

NOW = datetime(2026, 1, 31, 12, 30, 15, 123456)
TEXTS = [
    "",
    "plain",
    'a "quoted" name',
    "two\nlines\r\n",
    "comma, semicolon; tab\t",
    "\\.",
    "\\N",
    "NULL",
    "ж漢🛒",
    " ",
]
FLOATS = [0.1 + 0.2, -0.0, 1e-308, 1.7976931348623157e308, 5e-324, 1 / 3, float("inf"), -123456.789]
INTEGERS = [0, 1, -1, 2**63 - 1, -(2**63), 42]
MOMENTS = [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), datetime(2024, 2, 29, 1, 2, 3, 4)]
ARROW = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "timestamp": pa.timestamp("us")}


def _value(contract: TableContract, column: Column, row: int, run: str) -> Any:
    if column.name == "model_run_id":
        return run
    if column.name in contract.key:
        return row - 1 if column.type == "int64" else f"{TEXTS[row % len(TEXTS)]}{row}"
    place = row + len(run) + sum(map(ord, column.name + run))
    if not column.required and place % 5 == 0:
        return None
    if column.type == "timestamp":
        return MOMENTS[place % 3] if place % 2 else NOW + timedelta(microseconds=place)
    values: list[Any] = {"string": TEXTS, "int64": INTEGERS, "float64": FLOATS}[column.type]
    return values[place % len(values)]


def rows(contract: TableContract, count: int, run: str) -> pa.Table:
    records = [{column.name: _value(contract, column, row, run) for column in contract.columns} for row in range(count)]
    return pa.Table.from_pylist(records, pa.schema([(c.name, ARROW[c.type]) for c in contract.columns]))


def made_warehouse(home: Path, run: str, customers: int = 30) -> Warehouse:
    """Fill the tables that are published, as the run of that name would."""
    warehouse = Warehouse(home)
    with warehouse.connect() as backend:
        for contract in PUBLISHED:
            replace_table(backend, contract, rows(contract, 7 if contract.key == ("segment_id",) else customers, run))
        model = (
            rows(SEGMENT_MODEL, 1, run).drop_columns(["input_version"]).append_column("input_version", [[f"s{run}"]])
        )
        replace_table(backend, SEGMENT_MODEL, model)
        versions = {contract.qualified_name: run for contract in PUBLISHED}
        record_versions(backend, versions | {CUSTOMER_FEATURES.qualified_name: f"s{run}"})
    return warehouse


def made_content(folder: Path, run: str, customers: int = 30) -> Content:
    with made_warehouse(folder / run, run, customers).connect() as backend:
        return read_content(backend)


def published(content: Content, url: str, schema: str = "segments", *, keep_dropped: bool = True) -> Published:
    return publish(content, url, schema, keep_dropped=keep_dropped, now=NOW)
