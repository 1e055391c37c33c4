"""The way that such tables are often made, as a baseline: ``python -m benchmarks.earlier_way DATABASE SOURCE WORK``.

It is that of the system that this project replaced: pandas reads the export, rows are inserted into a table with a
primary key, a self-join finds the orders of a customer that are near each other, the other features are computed
customer by customer in loops, missing values are filled one by one, and the result is inserted row by row. ``DATABASE``
is ``duckdb`` or ``sqlite``. Prints a JSON object: seconds by part.

It gives the 44 columns of silver.customer_features, with the same values wherever the source is clean: what is wrong in
a source, bronze repairs or refuses, and this way does not look for.
"""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Protocol

import duckdb
import numpy as np
import pandas as pd

from clustering_assets.contracts import CUSTOMER_FEATURES, Imputation
from clustering_assets.warehouse import SQL_TYPES

Row = dict[str, Any]
Lines = list[Any]

CHUNK = 10_000
"""Rows to insert at a time."""
NEAR = 14
"""Most days between two orders that are near each other."""

READ = {
    "SALES_ORDER_NO": "order_id",
    "CUSTOMER_EMAILID": "customer_id",
    "ORDER_DATE": "order_date",
    "SALES_QTY": "quantity",
    "GROSS": "line_value",
    "RETURN_QTY": "return_quantity",
    "Q_SKU_ID": "sku",
    "Q_CLS_ID": "category",
    "RETURN_DATE": "return_date",
}

LINES = """
create table order_lines (
    order_id varchar, customer_id varchar, sku varchar, source_customer_id varchar, order_date varchar,
    order_day integer, quantity integer, line_value double, return_quantity integer, return_date varchar,
    category varchar, primary key (order_id, customer_id, sku)
)
"""
ADJACENT = f"""
select one.customer_id,
       count(distinct one.order_id) as adjacent_order_count,
       count(distinct case when one.return_quantity > 0 and other.return_quantity > 0 then one.order_id end)
           as adjacent_return_count
from order_lines one
join order_lines other
  on one.customer_id = other.customer_id and abs(one.order_day - other.order_day) between 1 and {NEAR}
group by one.customer_id
"""


class Connection(Protocol):
    """What DuckDB and SQLite have in common."""

    def execute(self, query: str, /) -> Any: ...

    def executemany(self, query: str, rows: Any, /) -> Any: ...

    def commit(self) -> Any: ...

    def close(self) -> None: ...


DATABASES: Mapping[str, Callable[[str], Connection]] = {"duckdb": duckdb.connect, "sqlite": sqlite3.connect}


def earlier_way(database: str, source: Path, work: Path) -> dict[str, float]:
    """From the one CSV file of a source folder to a table ``customer_features`` in ``work/earlier.<database>``."""
    [file] = source.glob("*.csv")
    connection = DATABASES[database](str(work / f"earlier.{database}"))
    moments = {"": time.perf_counter()}

    def done(part: str) -> None:
        moments[part] = time.perf_counter()

    read = _read(file)
    done("read")
    connection.execute(LINES)
    _insert(connection, "order_lines", read)
    done("insert lines")
    adjacent = {customer: counts for customer, *counts in connection.execute(ADJACENT).fetchall()}
    done("self-join")
    lines = _lines(connection)
    shop = _shop(lines)
    customers = []
    for customer_id, group in lines.groupby("customer_id"):
        customers.append(_features(str(customer_id), group, shop, *adjacent.get(str(customer_id), (0, 0))))
    features = pd.DataFrame(customers, columns=list(CUSTOMER_FEATURES.column_names))
    done("loops")
    features = _impute(features)
    done("imputation")
    columns = ", ".join(f"{column.name} {SQL_TYPES[column.type]}" for column in CUSTOMER_FEATURES.columns)
    connection.execute(f"create table customer_features ({columns}, primary key (customer_id))")
    _insert(connection, "customer_features", features)
    done("insert features")
    connection.close()
    seconds = {part: moment - before for (_, before), (part, moment) in pairwise(moments.items())}
    return {**seconds, "earlier way": sum(seconds.values())}


def _read(file: Path) -> pd.DataFrame:
    lines = pd.read_csv(file, usecols=list(READ), dtype={"SALES_ORDER_NO": str, "Q_SKU_ID": str}).rename(columns=READ)
    lines["source_customer_id"] = lines["customer_id"]
    lines["customer_id"] = lines["customer_id"].str.strip().str.lower()
    lines["order_day"] = (pd.to_datetime(lines["order_date"]).dt.normalize() - pd.Timestamp(0)).dt.days
    names = "order_id customer_id sku source_customer_id order_date order_day quantity line_value return_quantity"
    return lines[[*names.split(), "return_date", "category"]]


def _insert(connection: Connection, table: str, rows: pd.DataFrame) -> None:
    marks = ", ".join("?" * len(rows.columns))
    connection.execute("begin transaction")
    for start in range(0, len(rows), CHUNK):
        chunk = rows.iloc[start : start + CHUNK].astype(object)
        values = chunk.where(chunk.notna(), None).itertuples(index=False, name=None)
        connection.executemany(f"insert into {table} values ({marks})", [_plain(row) for row in values])
    connection.commit()


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(str(value) if isinstance(value, datetime) else value for value in row)


def _lines(connection: Connection) -> pd.DataFrame:
    """Read the lines back from the database."""
    result = connection.execute("select * from order_lines")
    lines = pd.DataFrame(result.fetchall(), columns=[name for name, *_ in result.description])
    lines["order_date"] = pd.to_datetime(lines["order_date"])
    lines["return_date"] = pd.to_datetime(lines["return_date"])
    lines["return_day"] = (lines["return_date"].dt.normalize() - pd.Timestamp(0)).dt.days
    lines["returned"] = lines["return_quantity"] > 0
    lines["unit_price"] = lines["line_value"] / lines["quantity"]
    lines["month"] = lines["order_date"].dt.strftime("%Y-%m")
    return lines


def _shop(lines: pd.DataFrame) -> Row:
    """What the features need to know of all customers together."""
    categories, cells = lines.groupby("category")["returned"], lines.groupby(["category", "month"])["returned"]
    return {
        "as_of": lines["order_day"].max(),
        "return_rate": lines["returned"].mean(),
        "high_price": lines["unit_price"].quantile(0.75),
        "category_lines": categories.size().to_dict(),
        "category_returned": categories.sum().to_dict(),
        "cell_lines": cells.size().to_dict(),
        "cell_returned": cells.sum().to_dict(),
    }


def _features(customer_id: str, group: pd.DataFrame, shop: Row, adjacent_orders: int, adjacent_returns: int) -> Row:
    """Compute the features of a customer in plain Python, which on some hundred lines is faster than pandas."""
    lines: Lines = list(group.itertuples(index=False))
    by_order: defaultdict[str, Lines] = defaultdict(list)
    for line in lines:
        by_order[line.order_id].append(line)
    orders = sorted(by_order.values(), key=lambda order: (min(line.order_date for line in order), order[0].order_id))
    days = [min(line.order_day for line in order) for order in orders]
    back = [sum(line.returned for line in order) for order in orders]
    row = {
        "customer_id": customer_id,
        "source_customer_id": lines[0].source_customer_id,
        **_volume(lines, orders),
        **_returns(lines, back),
        **_timing(lines, days, shop),
        **_recency(lines, orders, days, back, shop),
        **_monetary(lines, orders, shop),
        **_category(lines, shop),
        "adjacent_order_count": adjacent_orders,
        "adjacent_return_count": adjacent_returns,
        "mean_days_between_adjacent_orders": _mean_gap(days),
        "mean_days_between_adjacent_returns": _mean_gap([day for day, some in zip(days, back, strict=True) if some]),
        **_season(lines, days),
        **_trend(lines, shop),
        "total_quantity": sum(line.quantity for line in lines),
        "total_return_quantity": sum(line.return_quantity for line in lines),
        "first_order_date": min(line.order_date for line in lines),
        "last_order_date": max(min(line.order_date for line in order) for order in orders),
        "computed_at": datetime.now(UTC).replace(tzinfo=None),
    }
    flags = {
        "HIGH_RETURN_RATE": row["return_rate"] > 0.95,
        "LATE_RETURNS": (row["mean_days_to_return"] or 0) > 60,
        "LARGE_ORDERS": row["lines_per_order"] > 50,
    }
    return {**row, "quality_flags": ";".join(flag for flag, holds in flags.items() if holds)}


def _volume(lines: Lines, orders: list[Lines]) -> Row:
    return {
        "order_count": len(orders),
        "sku_count": len({line.sku for line in lines}),
        "returned_line_count": sum(line.returned for line in lines),
        "mean_line_quantity": _mean(line.quantity for line in lines),
        "lines_per_order": len(lines) / len(orders),
    }


def _returns(lines: Lines, back: list[int]) -> Row:
    returned = [line for line in lines if line.returned]
    streaks = [sum(1 for _ in streak) for some, streak in groupby(back, key=bool) if some]
    return {
        "return_rate": len(returned) / len(lines),
        "return_quantity_ratio": sum(line.return_quantity for line in lines) / sum(line.quantity for line in lines),
        "returned_sku_count": len({line.sku for line in returned}),
        "returned_lines_per_order": len(returned) / len(back),
        "order_return_rate": sum(map(bool, back)) / len(back),
        "return_intensity": _mean(line.return_quantity / line.quantity for line in returned),
        "return_streak_count": sum(length >= 2 for length in streaks),
        "mean_return_streak": _mean(streaks),
    }


def _timing(lines: Lines, days: list[int], shop: Row) -> Row:
    waited = [line.return_day - line.order_day for line in lines if line.returned]
    tenure = shop["as_of"] - days[0]
    return {
        "lifetime_days": days[-1] - days[0],
        "mean_days_to_return": _mean(waited),
        "std_days_to_return": statistics.stdev(waited) if len(waited) > 1 else None,
        "tenure_stage": "New"
        if tenure <= 90
        else "Growing"
        if tenure <= 180
        else "Mature"
        if tenure <= 365
        else "Veteran",
    }


def _recency(lines: Lines, orders: list[Lines], days: list[int], back: list[int], shop: Row) -> Row:
    recent = [position for position, day in enumerate(days) if day >= shop["as_of"] - 90]
    recent_returns = sum(back[position] for position in recent)
    rate = sum(back) / len(lines)
    tenure, stability = shop["as_of"] - days[0], None
    if tenure >= 90:
        paces = len(recent) / 90, len(orders) / tenure
        stability = min(paces) / max(paces)
    recent_lines = sum(len(orders[position]) for position in recent)
    return {
        "recent_order_count": len(recent),
        "recent_return_count": recent_returns,
        "recent_return_rate_ratio": recent_returns / recent_lines / rate if recent and rate else None,
        "pace_stability": stability,
    }


def _monetary(lines: Lines, orders: list[Lines], shop: Row) -> Row:
    expensive = [line.returned for line in lines if line.unit_price >= shop["high_price"]]
    other = [line.returned for line in lines if line.unit_price < shop["high_price"]]
    return {
        "mean_order_value": sum(line.line_value for line in lines) / len(orders),
        "mean_return_value": _mean(
            line.line_value * line.return_quantity / line.quantity for line in lines if line.returned
        ),
        "high_value_return_affinity": sum(expensive) / len(expensive) - sum(other) / len(other)
        if expensive and other
        else None,
    }


def _category(lines: Lines, shop: Row) -> Row:
    counts = Counter(line.category for line in lines)
    back = Counter(line.category for line in lines if line.returned)
    shares = [count / len(lines) for count in counts.values()]
    rates = []
    for category, count in counts.items():
        if others := shop["category_lines"][category] - count:
            rates += count * [(shop["category_returned"][category] - back[category]) / others]
    return {
        "category_concentration": sum(share**2 for share in shares),
        "category_diversity": math.exp(-sum(share * math.log(share) for share in shares)),
        "category_loyalty": max(shares),
        "high_return_category_affinity": _mean(rates) - shop["return_rate"] if rates else None,
    }


def _mean_gap(days: list[int]) -> float | None:
    return _mean(later - earlier for earlier, later in pairwise(sorted(set(days))) if later - earlier <= NEAR)


def _season(lines: Lines, days: list[int]) -> Row:
    if days[-1] - days[0] <= 730:
        return {}
    quarters = [(line.order_date.month - 1) // 3 for line in lines]
    returned = [quarter for quarter, line in zip(quarters, lines, strict=True) if line.returned]
    return {
        f"seasonal_{name}_variation": statistics.pstdev(counts) / statistics.fmean(counts) if any(counts) else None
        for name, kept in (("order", quarters), ("return", returned))
        for counts in [[kept.count(quarter) for quarter in range(4)]]
    }


def _trend(lines: Lines, shop: Row) -> Row:
    own = Counter((line.category, line.month) for line in lines)
    back = Counter((line.category, line.month) for line in lines if line.returned)
    if len(own) < 6:
        return {}
    return {
        "category_order_trend": _correlation(list(own.values()), [shop["cell_lines"][cell] for cell in own]),
        "category_return_trend": _correlation(
            [back[cell] for cell in own], [shop["cell_returned"][cell] for cell in own]
        ),
    }


def _correlation(one: list[int], other: list[int]) -> float | None:
    return float(np.corrcoef(one, other)[0, 1]) if len(set(one)) > 1 and len(set(other)) > 1 else None


def _mean(values: Iterable[float]) -> float | None:
    """Return the mean; None of nothing."""
    known = list(values)
    return sum(known) / len(known) if known else None


def _impute(features: pd.DataFrame) -> pd.DataFrame:
    """Drop and fill, a column at a time and a value at a time."""
    for column in CUSTOMER_FEATURES.columns:
        if column.imputation is Imputation.CORE:
            features = features[features[column.name].notna()]
    features = features.copy()
    for column in CUSTOMER_FEATURES.columns:
        if column.imputation in (Imputation.ZERO, Imputation.MEAN):
            fill = 0.0 if column.imputation is Imputation.ZERO else features[column.name].mean()
            missing = features[column.name].isna()
            for row in features.index:
                if missing.at[row]:
                    features.at[row, column.name] = fill
    return features


if __name__ == "__main__":
    database, source, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    print(json.dumps(earlier_way(database, source, work)))
