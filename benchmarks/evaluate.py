"""The command behind ``make evaluate``: measures every promise about the segmentation, beside its target.

Each figure is taken over several seeds (draws of the customers, or else of what is random in a fit) and shown as median
and worst. ``--section`` measures a part alone:

planted    kinds found among planted customers (`benchmarks.planted`), the number of segments not given
real       silhouette, sizes and stability on UCI Online Retail II and on the sample
identity   customers who keep their segment id after 2 % more order lines
map        trustworthiness and time of the map
many       time and memory at 1,000,000 customers; what fitting a sample costs

UCI is read from the folder given by ``--uci`` or ``CLUSTERING_UCI_DIR``, and left out where there is none. ``--quick``
shows in a minute that everything works, on fewer and smaller draws. Seeds 0 to 9 are for development. Seeds 200 to 204,
those of ``--final``, are for the final measurement and for nothing else; 100 to 104 are used up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import SECTIONS, Figure, Scope

SEEDS, FINAL_SEEDS = range(5), range(200, 205)
RESULTS = Path(__file__).with_name("evaluation.json")
SAMPLE = Path(__file__).parent.parent / "data"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--section", action="append", choices=SECTIONS, help="measure only this; may be repeated")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 0 to 4")
    parser.add_argument("--final", action="store_true", help="the seeds of the final measurement")
    parser.add_argument("--quick", action="store_true", help="few and small draws: shows that it works, judges nothing")
    parser.add_argument("--uci", type=Path, help="folder of the UCI file (default: CLUSTERING_UCI_DIR)")
    parser.add_argument("--save", action="store_true", help=f"write the figures to {RESULTS.name}")
    given = parser.parse_args()
    uci = given.uci or (Path(os.environ["CLUSTERING_UCI_DIR"]) if os.environ.get("CLUSTERING_UCI_DIR") else None)
    seeds = given.seeds or (FINAL_SEEDS if given.final else [0] if given.quick else SEEDS)
    shops = {"sample": SAMPLE} if uci is None else {"UCI": uci, "sample": SAMPLE}
    scope = Scope(tuple(seeds), given.quick, shops)
    console = Console()
    if uci is None:
        console.print("UCI is left out: name its folder by --uci or CLUSTERING_UCI_DIR.")
    measured: dict[str, list[Figure]] = {}
    for section in given.section or SECTIONS:
        measured[section] = list(SECTIONS[section](scope))
        console.print(_table(section, measured[section], scope))
    if given.save:
        _save(measured, scope)
    return 0


def _table(section: str, figures: list[Figure], scope: Scope) -> Table:
    draws = f"{len(scope.seeds)} seed{'s'[: len(scope.seeds) > 1]}"
    table = Table(title=f"{section}, {draws}" + ("; quick: the targets are about the full size" if scope.quick else ""))
    for name in ("what", "target", "median", "worst", ""):
        table.add_column(name, justify="left" if name in ("what", "") else "right")
    for figure in figures:
        table.add_row(
            figure.what,
            figure.target,
            f"{figure.median:.{figure.digits}f}",
            f"{figure.worst:.{figure.digits}f}",
            "" if figure.reached is None or scope.quick else "reached" if figure.reached else "missed",
        )
    return table


def _save(measured: dict[str, list[Figure]], scope: Scope) -> None:
    """Write the figures; sections that were not measured stay as they are."""
    saved = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    machine = {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.machine()}
    for section, figures in measured.items():
        rows = [
            {**asdict(figure), "median": figure.median, "worst": figure.worst, "reached": figure.reached}
            for figure in figures
        ]
        saved[section] = {"seeds": list(scope.seeds), "quick": scope.quick, "machine": machine, "figures": rows}
    RESULTS.write_text(json.dumps(saved, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
