"""Source folders to measure with: the export of a made-up shop, and Parquet files of any number of lines made of one.

Files of many lines are copies of half a million, each with customers and orders of its own, so that there are as many
lines to a customer at any size. In copies of a shape, one of these is uneven: one customer has a tenth of all lines,
one day a tenth of all orders, or the lines have 20,000 categories.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb

LINES_PER_CUSTOMER = 300
_BASE_LINES = 500_000
SHAPES = {
    "even": "",
    "one customer has a tenth of the lines": (
        "replace (if(hash(SALES_ORDER_NO) % 10 = 0, 'one@example.com', CUSTOMER_EMAILID) as CUSTOMER_EMAILID)"
    ),
    "one day has a tenth of the orders": (
        "replace (if(hash(SALES_ORDER_NO) % 10 = 0, timestamp '2024-11-29 12:00:00', ORDER_DATE) as ORDER_DATE, "
        "if(hash(SALES_ORDER_NO) % 10 = 0, null, RETURN_DATE) as RETURN_DATE)"
    ),
    "20,000 categories": "replace ('category ' || hash(Q_SKU_ID) % 20000 as Q_CLS_ID)",
}
"""Shape -> what is different in it."""


def export(folder: Path, customers: int, lines: int, form: str = "csv") -> Path:
    """Write the export of a made-up shop, as one file; return the folder."""
    arguments = {"customers": customers, "lines": lines, "seed": 7, "layout": "returns_export", "format": form}
    options = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "clustering_assets.synthetic", *options, "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def copies(folder: Path, lines: int, shape: str = "even") -> Path:
    """Write a Parquet file of at least so many lines beside what it is made of; return its folder."""
    base_lines = min(lines, _BASE_LINES)
    base = folder / f"base_{base_lines}"
    if not base.exists():
        export(base, base_lines // LINES_PER_CUSTOMER, base_lines, "parquet")
    source = folder / f"{lines}_{shape.replace(' ', '_')}"
    source.mkdir(exist_ok=True)
    number = -(-lines // base_lines)
    with duckdb.connect() as connection:
        connection.execute(
            f"""copy (
                select * {SHAPES[shape]} from (
                    select * replace (
                        SALES_ORDER_NO::bigint + copy * 1000000000 as SALES_ORDER_NO,
                        copy || '.' || CUSTOMER_EMAILID as CUSTOMER_EMAILID)
                    from read_parquet('{base}/*.parquet'), range({number}) as copies(copy))
            ) to '{source}/lines.parquet'"""
        )
    return source


def in_two_files(source: Path, folder: Path, share: float = 0.01) -> Path:
    """Write an export as a file of most of its lines in ``most``, and one of the share that is left in ``rest``."""
    [whole] = source.glob("*.csv")
    with whole.open("rb") as stream:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 24), b""))
        stream.seek(0)
        header = stream.readline()
        for name, count in (("most", int((lines - 1) * (1 - share))), ("rest", None)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            with (folder / name / f"{name}.csv").open("wb") as part:
                part.write(header)
                part.writelines(stream if count is None else (stream.readline() for _ in range(count)))
    return folder
