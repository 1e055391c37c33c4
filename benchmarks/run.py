"""The command behind ``make bench``: measures section by section and prints target, measured and baseline.

The size ``full`` is the one that the targets are about; ``small`` shows in a minute that the benchmarks work. What got
worse by more than a fifth than what was saved last is listed at the end; nothing fails because of it, since machines
differ. ``--save`` keeps the figures of the sections that were measured, and writes the page of the documents anew; it
is refused with the size ``small``, whose figures say nothing about the targets.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.page import write_page
from benchmarks.sections import ASKED_FOR, ONCE, PROMISES, SECTIONS, SIZES, Figures, Promise, Round

RESULTS = Path(__file__).with_name("results.json")
WORSE = 0.2
"""Share by which a ratio may be worse than the saved one before it is said."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full", help="how much to measure (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, of which the median counts (default: 5)")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", help="sections to measure (default: nearly all)")
    parser.add_argument("--save", action="store_true", help=f"keep the figures in {RESULTS.name} and on the page")
    given = parser.parse_args()
    if given.save and given.size != "full":
        parser.error(
            f"--save keeps figures of the full size, and those of the size {given.size} say nothing about the targets: "
            "leave --save or --size out"
        )
    saved: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    console, worse = Console(), []
    for name in given.only or [name for name in SECTIONS if name not in ASKED_FOR[given.size]]:
        rounds = _measure(name, given.size, 1 if name in ONCE else given.repeats)
        rows = [
            (promise, [promise.value(figures) for figures in rounds]) for promise in PROMISES if promise.section == name
        ]
        console.print(_table(name, rows, is_judged=given.size == "full"))
        before = saved.get(name, {})
        if given.size == "full":
            worse += [
                f"{name}: {promise.what} was {before['measured'][promise.what]:.3g} and is {value:.3g} {promise.unit}"
                for promise, values in rows
                if promise.what in before.get("measured", {}) and promise.unit in ("x", "exponent", "times")
                if promise.got_worse(before["measured"][promise.what], value := statistics.median(values)) > WORSE
            ]
        saved[name] = {
            "size": given.size,
            "machine": {"processors": os.cpu_count(), "python": platform.python_version()},
            "measured": {promise.what: statistics.median(values) for promise, values in rows},
            "rounds": rounds,
        }
        if given.save:
            RESULTS.write_text(json.dumps(saved, indent=1) + "\n")
    if given.save:
        write_page(saved)
    for line in worse:
        console.print(f"worse than saved by more than {WORSE:.0%}: {line}")
    return 0


def _measure(section: str, size: str, repeats: int) -> list[Figures]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        this = Round(SIZES[size], Path(folder) / "sources", Path(folder) / "work")
        this.sources.mkdir()
        return [SECTIONS[section](this) for _ in range(repeats)]


def _table(section: str, rows: Sequence[tuple[Promise, list[float]]], *, is_judged: bool) -> Table:
    what_for = "" if is_judged else "; the targets are about the full size"
    rounds = len(rows[0][1]) if rows else 1
    table = Table(title=f"{section}: median of {rounds}{what_for}")
    for name in ("what", "target", "measured", "spread", "baseline", ""):
        table.add_column(name, justify="left" if name in ("what", "baseline", "") else "right")
    for promise, values in rows:
        kept = promise.is_kept(statistics.median(values))
        table.add_row(
            promise.what,
            promise.bound,
            f"{statistics.median(values):.3g} {promise.unit}",
            f"{min(values):.3g}-{max(values):.3g}",
            promise.baseline,
            {True: "reached", False: "missed", None: ""}[kept] if is_judged else "",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
