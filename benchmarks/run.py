"""The command behind ``make bench``: times the stages side by side and prints target, measured and baseline.

The size ``full`` is the one that the targets are about; ``small`` shows in a minute that the benchmarks work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measured import measured
from benchmarks.stages import STAGES

SIZES = {"small": (500, 20_000), "full": (15_000, 4_500_000)}
"""Size -> customers and order lines."""

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Target:
    """A promise: a figure, what it is measured against, and the most it may be."""

    what: str
    figure: str
    baseline: str | None
    at_most: float
    unit: str


TARGETS = (
    Target("bronze and silver against the bare import", "bronze and silver", "bare import", 3.0, "x"),
    Target("silver against the bare import", "silver", "bare import", 0.4, "x"),
    Target("bronze and silver, peak memory", "bronze_and_silver peak", None, 4.0, "GB"),
    Target("bronze with nothing changed", "rerun", None, 5.0, "s"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full", help="what to measure (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=3, help="runs, of which the median counts (default: %(default)s)"
    )
    parser.add_argument("--source", type=Path, help="folder with one returns_export CSV, instead of making one")
    parser.add_argument("--save", action="store_true", help=f"write the figures to {RESULTS.name}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        source = given.source or _make_source(Path(folder) / "source", *SIZES[given.size])
        runs = [_run_all(source, Path(folder) / "work") for _ in range(given.repeats)]
        size = sum(file.stat().st_size for file in source.glob("*.csv"))
    measured = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    rows = [_row(target, runs) for target in TARGETS]
    _print(rows, given.size, given.repeats, size)
    if given.save:
        machine = {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.machine()}
        report = {"size": given.size, "repeats": given.repeats, "bytes": size, "machine": machine}
        RESULTS.write_text(json.dumps({**report, "medians": measured, "targets": rows}, indent=2) + "\n")
    return 0


def _make_source(folder: Path, customers: int, lines: int) -> Path:
    arguments = [
        "--customers",
        customers,
        "--lines",
        lines,
        "--seed",
        7,
        "--layout",
        "returns_export",
        "--format",
        "csv",
    ]
    command = [sys.executable, "-m", "clustering_assets.synthetic", *map(str, arguments), "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def _run_all(source: Path, work: Path) -> dict[str, float]:
    """Run every stage once, in turn; the figures are seconds, and gigabytes for ``<stage> peak``."""
    figures: dict[str, float] = {}
    for stage in STAGES:
        seconds, figures[f"{stage} peak"] = measured("benchmarks.stages", stage, str(source), str(work))
        figures |= seconds
    return figures


def _row(target: Target, runs: list[dict[str, float]]) -> dict[str, object]:
    """The figure of a target: the median over the runs, each against the baseline of the same run."""
    values = [run[target.figure] / (run[target.baseline] if target.baseline else 1) for run in runs]
    baseline = statistics.median(run[target.baseline] for run in runs) if target.baseline else None
    value = statistics.median(values)
    return {
        **asdict(target),
        "measured": value,
        "spread": [min(values), max(values)],
        "baseline_seconds": baseline,
        "reached": value <= target.at_most,
    }


def _print(rows: list[dict[str, object]], size: str, repeats: int, source_bytes: int) -> None:
    judged = size == "full"
    what_for = "" if judged else "; the targets are about the full size"
    table = Table(title=f"size {size}, {source_bytes / 1e6:,.0f} MB of CSV, median of {repeats}{what_for}")
    for name in ("what", "target", "measured", "spread", "baseline", ""):
        table.add_column(name, justify="left" if name in ("what", "") else "right")
    for row in rows:
        low, high = row["spread"]  # type: ignore[misc]
        seconds = row["baseline_seconds"]
        table.add_row(
            str(row["what"]),
            f"<= {row['at_most']:g} {row['unit']}",
            f"{row['measured']:.2f} {row['unit']}",
            f"{low:.2f}-{high:.2f}",
            f"{seconds:.2f} s" if seconds else "",
            ("reached" if row["reached"] else "missed") if judged else "",
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
