"""The command ``python -m clustering_assets.synthetic``."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from clustering_assets.synthetic.dirt import DIRT
from clustering_assets.synthetic.files import FORMATS, Written, write
from clustering_assets.synthetic.layouts import LAYOUTS
from clustering_assets.synthetic.orders import START, SyntheticOrders, generate
from clustering_assets.synthetic.shoppers import ALL_KINDS, KINDS


def main(arguments: Sequence[str] | None = None) -> None:
    """Make up a shop, write its files and print what was written."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        orders = generate(
            options.customers, options.lines, options.seed, options.start, options.years, _mix(options.mix)
        )
        written = write(
            orders,
            options.out,
            options.layout,
            options.format,
            files_by_year=options.files_by_year,
            dirty_share=options.dirty_share,
        )
    except ValueError as error:
        parser.error(str(error))
    for path in written.files:
        print(f"{path}  {path.stat().st_size:,} bytes")
    print(f"{written.rows:,} rows: " + ", ".join(f"{number:,} {fate}" for fate, number in written.accounting.items()))
    if options.truth:
        _write_truth(options.truth, orders, written)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m clustering_assets.synthetic",
        description="Make up the order lines of a shop whose customers belong to known kinds, and write them the way a "
        "real source would. The same options give the same files.",
        epilog="Kinds of customers: " + " ".join(f"{name}: {kind.description}" for name, kind in ALL_KINDS.items()),
    )
    parser.add_argument("--customers", type=int, default=2000, help="number of customers (default: %(default)s)")
    parser.add_argument(
        "--lines", type=int, default=120_000, help="number of order lines, at least 5 a customer (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=7, help="another seed gives another shop (default: %(default)s)")
    parser.add_argument(
        "--start", type=date.fromisoformat, default=START, help="first day, as YYYY-MM-DD (default: %(default)s)"
    )
    parser.add_argument("--years", type=float, default=3, help="length of the period (default: %(default)s)")
    parser.add_argument(
        "--mix",
        nargs="+",
        metavar="KIND=WEIGHT",
        help=f"kinds of customers to draw and their weights; kinds: {', '.join(KINDS)} (default: all, the usual mix)",
    )
    parser.add_argument(
        "--layout",
        choices=list(LAYOUTS),
        default="returns_export",
        help="column names and arrangement of the files; 'mapped' is a foreign layout with the source.yaml for "
        "it (default: %(default)s)",
    )
    parser.add_argument("--format", choices=FORMATS, default="csv.gz", help="file format (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files; made if it does not exist")
    parser.add_argument("--files-by-year", action="store_true", help="write one file per calendar year")
    parser.add_argument(
        "--dirty-share",
        type=float,
        default=0.0,
        help="dirty rows to plant per clean row, such as 0.01: no customer, impossible dates, repeats and so on "
        "(default: none)",
    )
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="FILE.csv",
        help="also write the kind of each customer to this file and the dirty rows planted to FILE_dirt.csv; keep both "
        "out of the folder of the order lines",
    )
    return parser


def _mix(weights: Sequence[str] | None) -> dict[str, float] | None:
    if weights is None:
        return None
    pairs = [weight.partition("=") for weight in weights]
    return {kind: float(weight) for kind, _, weight in pairs}


def _write_truth(path: Path, orders: SyntheticOrders, written: Written) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    orders.truth.to_csv(path, lineterminator="\n")
    with path.with_name(f"{path.stem}_dirt.csv").open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["dirt", "rows", "outcome", "meaning"])
        table.writerows([name, rows, DIRT[name].outcome, DIRT[name].meaning] for name, rows in written.dirt.items())


if __name__ == "__main__":
    main()
