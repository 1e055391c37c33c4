"""Writers of Excel workbooks, side by side: ``python -m benchmarks.workbooks PART ARG...`` prints JSON.

tables CUSTOMERS FOLDER      writes ``silver.parquet`` and ``gold.parquet``, as a run makes them of a made-up shop
speed NAME FOLDER            seconds for both workbooks, and the memory on top of what the tables take
fidelity NAME FOLDER         what is read back of values that are easy to get wrong, by openpyxl

NAME is one of `WRITERS`, or ``ours``. Writers that are not among the packages of this project are installed into an
environment of their own in FOLDER; where that is not possible they say so and print an empty object. All write as they
come, without options, but `ours`, which is not plain: it also makes number formats, notes, a filter and a data
dictionary. This module runs in those environments as well, so that it imports packages inside functions only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

BESIDE = {
    "pyexcelerate": ("pyexcelerate==0.13.0", "pyarrow==26.0.1"),
    "rustpy": ("rustpy-xlsxwriter==0.8.0", "pyarrow==26.0.1"),
}
"""Writer -> what its environment has, where it is not that of this project."""
READ_WHOLE = 32_767
"""Characters that fit into a cell."""


def ours(table: pa.Table, path: Path) -> None:
    """Write by `reports.workbook`."""
    from clustering_assets.contracts import CUSTOMER_FEATURES, SCALED_FEATURES, Column, TableContract
    from clustering_assets.reports.workbook import write_workbook

    known = {each.column_names: each for each in (CUSTOMER_FEATURES, SCALED_FEATURES)}
    types = {"int64": "int64", "double": "float64", "timestamp[us]": "timestamp"}
    columns = tuple(Column(field.name, types.get(str(field.type), "string"), "A value.") for field in table.schema)
    plain = TableContract("silver", "values", "Values.", "One row per value", table.column_names[:1], columns)
    write_workbook(path, known.get(tuple(table.column_names), plain), table)


def pandas(table: pa.Table, path: Path) -> None:
    """Write by pandas and openpyxl: what one who does not think about it takes."""
    table.to_pandas().to_excel(path, index=False, engine="openpyxl")


def openpyxl(table: pa.Table, path: Path) -> None:
    """Write by openpyxl, row by row, without holding the cells."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("data")
    for row in _rows(table):
        sheet.append(row)
    book.save(path)


def xlsxwriter(table: pa.Table, path: Path) -> None:
    """Write by XlsxWriter, row by row, without holding the cells."""
    from xlsxwriter import Workbook

    with Workbook(path, {"constant_memory": True, "default_date_format": "yyyy-mm-dd hh:mm:ss"}) as book:
        sheet = book.add_worksheet("data")
        for number, row in enumerate(_rows(table)):
            sheet.write_row(number, 0, row)


def polars(table: pa.Table, path: Path) -> None:
    """Write by Polars, which takes XlsxWriter."""
    import polars as pl

    pl.DataFrame(table).write_excel(path)


def pyexcelerate(table: pa.Table, path: Path) -> None:
    """Write by PyExcelerate."""
    from pyexcelerate import Workbook

    book = Workbook()
    book.new_sheet("data", data=[list(row) for row in _rows(table)])
    book.save(str(path))


def rustpy(table: pa.Table, path: Path) -> None:
    """Write by rustpy-xlsxwriter, which takes rust_xlsxwriter."""
    from rustpy_xlsxwriter import write_worksheet

    write_worksheet(table, str(path))


WRITERS: Mapping[str, Callable[[pa.Table, Path], None]] = {
    "ours": ours,
    "pandas": pandas,
    "openpyxl": openpyxl,
    "xlsxwriter": xlsxwriter,
    "polars": polars,
    "pyexcelerate": pyexcelerate,
    "rustpy": rustpy,
}


def _rows(table: pa.Table) -> Sequence[Sequence[Any]]:
    return [table.column_names, *zip(*(column.to_pylist() for column in table.columns), strict=True)]


def make_tables(customers: int, folder: Path) -> dict[str, float]:
    """Make silver and the scaled features of a shop; distances and flags of gold, which cost time, are made up."""
    import ibis
    import numpy as np
    import pyarrow.parquet as pq

    from benchmarks.planted import LINES_EACH
    from benchmarks.shops import customers_of
    from clustering_assets.contracts import CUSTOMER_FEATURES, SCALED_FEATURES
    from clustering_assets.segmentation.scaling import FeatureScaler
    from clustering_assets.synthetic import generate
    from clustering_assets.warehouse import utc_now

    lines = ibis.duckdb.connect().create_table("lines", generate(customers, LINES_EACH * customers, seed=7).lines)
    backend = lines.get_backend()
    made = customers_of(
        backend,
        lines.mutate(
            source_customer_id=lines.customer_id,
            source_file=ibis.literal("synthetic"),
            source_row=ibis.row_number(),
            quality_flags=ibis.literal(""),
        ),
    )
    silver = made.table.assign(computed_at=utc_now())
    scaled = FeatureScaler().fit_transform(made.features)
    gold = silver[["customer_id", "quality_flags"]].assign(
        **{f"{name}_scaled": scaled[:, place] for place, name in enumerate(made.features)},
        outlier_score=np.linalg.norm(scaled, axis=1),
        feature_completeness=1.0,
        scaling_method="yeo-johnson",
        processed_at=utc_now(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, contract, rows in (("silver", CUSTOMER_FEATURES, silver), ("gold", SCALED_FEATURES, gold)):
        from clustering_assets.reports.workbook import conform

        pq.write_table(conform(_arrow(rows), contract), folder / f"{name}.parquet")
    return {"customers": float(len(silver))}


def _arrow(rows: Any) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pandas(rows, preserve_index=False)


def speed(name: str, folder: Path) -> dict[str, float]:
    """Write both workbooks, the second time of each: what is loaded at the first call is not what is measured."""
    import pyarrow.parquet as pq

    tables = {layer: pq.read_table(folder / f"{layer}.parquet") for layer in ("silver", "gold")}
    WRITERS[name](tables["gold"].slice(0, 10), folder / f"{name}.xlsx")
    before, seconds, size = _resident("VmRSS", forget_peak=True), {}, 0
    for layer, table in tables.items():
        path = folder / f"{name}_{layer}.xlsx"
        started = time.perf_counter()
        WRITERS[name](table, path)
        seconds[layer] = time.perf_counter() - started
        size += path.stat().st_size
    more = _resident("VmHWM") - before
    return {**seconds, "both": sum(seconds.values()), "megabytes of memory": more, "megabytes of files": size / 1e6}


def _resident(field: str, forget_peak: bool = False) -> float:
    """Memory of this process in megabytes: ``VmRSS`` now, ``VmHWM`` at its peak. Linux only."""
    if forget_peak:
        Path("/proc/self/clear_refs").write_text("5")
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) * 1024 / 1e6


def easy_to_get_wrong() -> dict[str, list[Any]]:
    """Values by what is hard about them."""
    random = Random(0)  # noqa: S311  nothing secret comes of it
    return {
        "integers and floats": [1, -7, 10**14, 2**40],
        "float bits": [random.gauss(0, 1) * 10 ** random.uniform(-6, 6) for _ in range(5_000)],
        "-0.0": [-0.0],
        "NaN and infinities": [float("nan"), float("inf"), -float("inf")],
        "more than 15 digits": [2**53 + 1, 1_234_567_890_123_456_789],
        "dates": [datetime(2024, 2, 29, 23, 59, 59), datetime(1970, 1, 1), datetime(9999, 12, 31)],
        "dates before 1900": [datetime(1850, 1, 1, 12), datetime(1582, 10, 15)],
        "text like a formula": ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("https://shop.example")'],
        "text like a number or a link": ["007", "1e5", "TRUE", "https://shop.example/a b", "mailto:a@shop.example"],
        "blanks, line ends, quotes": [" a \n", 'say "<b>&amp;"', "tab\tend"],
        "text like an escape": ["_x0041_", "_x000D_"],
        "control characters": ["a\x00b", "bell\x07"],
        "text over 32,767 characters": ["x" * 40_000],
    }


def as_table(values: list[Any]) -> pa.Table:
    import pyarrow as pa

    kind = {datetime: pa.timestamp("us"), int: pa.int64(), float: pa.float64()}.get(type(values[0]), pa.string())
    return pa.table({"key": pa.array(range(len(values)), pa.int64()), "value": pa.array(values, kind)})


def write_each(name: str, folder: Path) -> dict[str, str]:
    """Write a workbook for each difficulty; return what was refused, and by which exception."""
    refused = {}
    for what, values in easy_to_get_wrong().items():
        try:
            WRITERS[name](as_table(values), folder / f"{name}, {what}.xlsx")
        except Exception as error:
            refused[what] = type(error).__name__
    return refused


def fidelity(folder: Path, name: str, refused: Mapping[str, str]) -> dict[str, str]:
    """Say what openpyxl reads of what was written."""
    return {
        what: f"refused ({refused[what]})" if what in refused else _read_back(folder / f"{name}, {what}.xlsx", values)
        for what, values in easy_to_get_wrong().items()
    }


def _read_back(path: Path, values: list[Any]) -> str:
    from openpyxl import load_workbook
    from openpyxl.utils.escape import unescape

    try:
        cells = [row[1] for row in load_workbook(path).worksheets[0].iter_rows(min_row=2, min_col=1, max_col=2)]
    except Exception as error:
        return f"unreadable ({type(error).__name__})"
    cells += [None] * (len(values) - len(cells))
    judged = [
        "lost"
        if cell is None
        else _judge(value, unescape(cell.value) if isinstance(cell.value, str) else cell.value, cell.data_type)
        for value, cell in zip(values, cells, strict=False)
    ]
    if values == [-0.0]:  # openpyxl reads it as the integer 0
        return "equal" if "<v>-0" in zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml").decode() else "0.0"
    if len(values) > 100:
        return f"{judged.count('equal') / len(judged):.0%} equal"
    return ", ".join(dict.fromkeys(judged))


def _judge(value: Any, read: Any, kind: str) -> str:
    """One word for what became of a value."""
    import math

    if kind == "f":
        return "a formula"
    if read is None:
        return "lost"
    if isinstance(value, str):
        if len(value) > READ_WHOLE:
            return "whole: Excel cannot open it" if read == value else "cut, marked" if "cut" in read else "cut"
        visible = value.translate({code: 0x2400 + code for code in range(32)})
        return "equal" if read == value else "made visible" if read == visible else "changed"
    if isinstance(value, float) and not math.isfinite(value):
        return "as text" if read == str(value) else f"changed to {read}"
    if isinstance(read, str):
        return "as text" if read.startswith(str(value)) else "changed"
    if isinstance(value, int) and abs(value) >= 10**15:
        return "a number: Excel rounds it"
    if isinstance(value, datetime) and value.year < 1900:
        return "below 0: Excel shows no date"
    return "equal" if read == value else "changed"


def main(arguments: Sequence[str]) -> Any:
    if arguments[0] == "tables":
        return make_tables(int(arguments[1]), Path(arguments[2]))
    part, name, folder = arguments[0], arguments[1], Path(arguments[2]).resolve()
    inside = {"speed": speed, "write": write_each}["write" if part == "fidelity" else part]
    if name not in BESIDE or part == "write" or "--inside" in arguments:
        made: Any = inside(name, folder)
    else:
        from benchmarks.other_projects import installed

        python = installed(name, BESIDE[name], folder)
        if python is None:
            return {}
        command = [str(python), "-I", __file__, inside.__name__.removesuffix("_each"), name, str(folder), "--inside"]
        made = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return fidelity(folder, name, made) if part == "fidelity" else made


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:]), ensure_ascii=False))
