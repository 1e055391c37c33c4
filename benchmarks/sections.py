"""What ``make bench`` measures, section by section; every figure against a baseline of the same round, or as a growth.

A section measures one round and returns raw figures; `PROMISES` say what is made of them, and what it may be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measured import measured
from benchmarks.sources import LINES_PER_CUSTOMER, SHAPES, copies, export, in_two_files

Figures = dict[str, float]
DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Size:
    """How much is measured: ``full`` is what the promises are about, ``small`` shows that the benchmarks work."""

    customers: int
    lines: int
    growth: tuple[int, ...]
    big: int
    uneven: int
    earlier: tuple[int, ...]
    many: int


SIZES = {
    "full": Size(
        customers=15_000,
        lines=4_500_000,
        growth=(500_000, 1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000),
        big=50_000_000,
        uneven=2_000_000,
        earlier=(125_000, 250_000, 500_000),
        many=1_000_000,
    ),
    "small": Size(
        customers=500,
        lines=20_000,
        growth=(10_000, 20_000),
        big=40_000,
        uneven=20_000,
        earlier=(3_000, 6_000),
        many=1_000,
    ),
}


@dataclass(frozen=True)
class Round:
    """A round of a section: the size, and folders for the sources, which stay, and for what is made of them."""

    size: Size
    sources: Path
    work: Path

    def stage(self, name: str, source: Path, work: str = "work") -> Figures:
        """Run a stage of `benchmarks.stages`; its peak memory, in gigabytes, is ``<stage> peak``."""
        figures, peak = measured("benchmarks.stages", name, str(source), str(self.work / work))
        return {**figures, f"{name} peak": peak}

    def part(self, module: str, *arguments: object) -> tuple[Figures, float]:
        """Run a part of another module of this package; return its figures and its peak memory in gigabytes."""
        return measured(f"benchmarks.{module}", *map(str, arguments))

    def export(self) -> Path:
        """The export of the made-up shop, made once."""
        folder = self.sources / "export"
        return folder if folder.exists() else export(folder, self.size.customers, self.size.lines)

    def copies(self, lines: int, shape: str = "even") -> Path:
        """Parquet files of so many lines, made once."""
        folder = self.sources / f"{lines}_{shape.replace(' ', '_')}"
        return folder if folder.exists() else copies(self.sources, lines, shape)


def tables(this: Round) -> Figures:
    """From the CSV file to bronze and silver, against a bare import of it; then again with nothing changed."""
    source = this.export()
    return {
        **this.stage("bare_import", source),
        **this.stage("bronze_and_silver", source),
        **this.stage("rerun", source),
    }


def one_more_file(this: Round) -> Figures:
    """A file with a hundredth of the lines comes to one with the others."""
    folder = this.sources / "in two files"
    if not folder.exists():
        in_two_files(this.export(), folder)
    return this.stage("one_more_file", folder)


def growth(this: Round) -> Figures:
    """The same over more and more lines, as many to a customer."""
    figures: Figures = {}
    for lines in this.size.growth:
        found = this.stage("bronze_and_silver", this.copies(lines))
        figures |= {f"{name}, {lines:,} lines": value for name, value in found.items()}
    return figures


def big(this: Round) -> Figures:
    """Far more lines than fit into the memory that DuckDB may take, against as many as are usual."""
    figures = {"times the lines": this.size.big / this.size.lines}
    for name, lines in (("usual", this.size.lines), ("big", this.size.big)):
        found = this.stage("bronze_and_silver", this.copies(lines))
        figures |= {f"{name} {what}": value for what, value in found.items()}
    return figures


def skew(this: Round) -> Figures:
    """Lines of which many belong to one customer, or one day, or which have very many categories."""
    figures: Figures = {}
    for shape in SHAPES:
        found = this.stage("bronze_and_silver", this.copies(this.size.uneven, shape))
        figures[shape] = found["bronze and silver"]
    return figures


def segments(this: Round) -> Figures:
    """Segments of customers, against scikit-learn's DBSCAN and a grid of K-means as they come."""
    hybrid, _ = this.part("alternatives", "hybrid", this.size.customers, 1)
    plain, _ = this.part("alternatives", "plain", this.size.customers, 1)
    return {f"hybrid {name}": value for name, value in hybrid.items()} | {
        f"plain {name}": value for name, value in plain.items()
    }


def customer_map(this: Round) -> Figures:
    """The map of the same customers."""
    return this.part("many", "the map", this.size.customers, 1)[0]


def many_customers(this: Round) -> Figures:
    """Segments and map of very many customers."""
    figures, peak = this.part("many", "fit, assign and map", this.size.many, 1)
    return {**figures, "peak": peak}


def earlier_way(this: Round) -> Figures:
    """The way that the replaced system took to the same 44 columns, on as many lines as that can be waited for."""
    figures: Figures = {"usual lines": this.size.lines}
    for lines in this.size.earlier:
        folder = this.sources / f"export_{lines}"
        if not folder.exists():
            export(folder, lines // LINES_PER_CUSTOMER, lines)
        earlier, _ = this.part("earlier_way", "duckdb", folder, this.work / "earlier")
        figures[f"earlier, {lines:,} lines"] = sum(earlier.values())
        figures[f"ours, {lines:,} lines"] = this.stage("bronze_and_silver", folder)["bronze and silver"]
    return figures


def exports(this: Round) -> Figures:
    """The workbooks of silver and gold, against pandas with openpyxl; other writers stand on the page on workbooks."""
    tables = this.sources / "tables"
    if not tables.exists():
        this.part("workbooks", "tables", this.size.customers, tables)
    ours, _ = this.part("workbooks", "speed", "ours", tables)
    pandas, _ = this.part("workbooks", "speed", "pandas", tables)
    return {f"ours {name}": value for name, value in ours.items()} | {
        f"pandas {name}": value for name, value in pandas.items()
    }


def start(this: Round) -> Figures:
    """How long it takes until something happens, on the sample: imports, and a run through Dagster against a bare one.

    A bare run calls the same functions one after the other, in a process without Dagster: tables, models, pictures,
    exports and checks. What a run through Dagster has beside is loading Dagster and the definitions, recording each
    step, verdict and version, and describing the tables for the UI.
    """
    figures: Figures = {}
    for name in ("import", "reload", "runs"):
        figures |= this.part("starting", name, DATA, this.work / "start")[0]
    return figures


def features(this: Round) -> Figures:
    """The 42 features as expressions on DuckDB, in pandas and in Polars, from the order lines of bronze."""
    lines = this.sources / "bronze" / "lines.parquet"
    if not lines.exists():
        this.part("alternatives", "lines", this.export(), lines.parent)
    return {way: this.part("alternatives", way, lines)[0][way] for way in ("ibis", "pandas", "polars")}


def other_projects(this: Round) -> Figures:
    """Public projects for customer segmentation, on the customers of the same lines, each in an environment of its own.

    None of them reads files, knows returns or finds outliers, so that each is timed at what it does, from tables in
    memory: `rfm` scores three figures per customer by quantiles and names segments by a fixed table; `lifetimes` makes
    the same three figures and a model of how many orders are to come, without segments; `pycaret` scales silver and
    fits K-means for 2 to 13 segments, of which the highest silhouette chooses. This project's features are all 42.
    """
    data = this.sources / "bronze"
    lines = data / "lines.parquet"
    if not lines.exists():
        this.part("alternatives", "lines", this.export(), data)
    figures: Figures = {"this project, features": this.part("alternatives", "ibis", lines)[0]["ibis"]}
    for project in ("rfm", "lifetimes", "pycaret"):
        found, _ = this.part("other_projects", project, data, this.sources / "environments")
        figures |= {f"{project}, {name}": value for name, value in found.items()}
    return figures


SECTIONS: dict[str, Callable[[Round], Figures]] = {
    "tables": tables,
    "one more file": one_more_file,
    "growth": growth,
    "big": big,
    "skew": skew,
    "exports": exports,
    "start": start,
    "segments": segments,
    "map": customer_map,
    "many customers": many_customers,
    "earlier way": earlier_way,
    "features": features,
    "other projects": other_projects,
}
ONCE = frozenset({"big", "many customers", "other projects"})
"""Sections of which one round is made, whatever is asked for: they take many minutes."""
ASKED_FOR = {
    "full": frozenset({"other projects"}),
    "small": frozenset({"other projects", "start", "segments", "map", "many customers", "earlier way", "features"}),
}
"""Sections of a size that are measured only where they are named: tests and ``make evaluate`` run most of them too."""


@dataclass(frozen=True)
class Promise:
    """A figure that is reported.

    Parameters
    ----------
    section, what
        Where it is measured, and what it is, in words.
    value
        Makes it of the raw figures of a round.
    unit
        ``x`` for a ratio, ``exponent``, ``s``, ``GB``, or nothing.
    at_most, at_least
        What the median has to keep to; neither where it is only shown.
    baseline
        What it is measured against, in words.
    """

    section: str
    what: str
    value: Callable[[Mapping[str, float]], float]
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    baseline: str = ""

    @property
    def bound(self) -> str:
        """What it has to keep to, in signs."""
        if self.at_least is not None:
            return f">= {self.at_least:g} {self.unit}"
        return "" if self.at_most is None else f"<= {self.at_most:g} {self.unit}"

    def is_kept(self, value: float) -> bool | None:
        """Whether a value keeps to the bound; None without one."""
        if self.at_least is not None:
            return value >= self.at_least
        return None if self.at_most is None else value <= self.at_most

    def got_worse(self, before: float, now: float) -> float:
        """By what share a value is worse than before; negative where it is better."""
        if not before or not now:
            return 0.0
        return (before / now if self.at_least is not None else now / before) - 1


def exponent(figures: Mapping[str, float], start: str) -> float:
    """Slope of a figure over the number of lines, both as logarithms, by least squares: 1 is linear growth."""
    points = [
        (math.log(_lines(name)), math.log(value)) for name, value in figures.items() if name.startswith(f"{start}, ")
    ]
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    slope: float = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return slope


def _lines(name: str) -> int:
    return int(name.split(", ", 1)[1].removesuffix(" lines").replace(",", ""))


def _figure(name: str) -> Callable[[Mapping[str, float]], float]:
    return lambda figures: figures[name]


def _ratio(name: str, baseline: str) -> Callable[[Mapping[str, float]], float]:
    return lambda figures: figures[name] / figures[baseline]


def _times_linear(figures: Mapping[str, float]) -> float:
    return figures["big bronze and silver"] / figures["usual bronze and silver"] / figures["times the lines"]


def _times_faster(figures: Mapping[str, float]) -> float:
    last = max((name for name in figures if name.startswith("earlier, ")), key=_lines)
    return figures[last] / figures[f"ours, {_lines(last):,} lines"]


def _times_faster_usually(figures: Mapping[str, float]) -> float:
    """Extend the last ratio to the usual number of lines, by how much faster the earlier way grows."""
    most = max(_lines(name) for name in figures if name.startswith("earlier, "))
    growth = exponent(figures, "earlier") - exponent(figures, "ours")
    return _times_faster(figures) * math.pow(figures["usual lines"] / most, growth)


_BARE = "`create table as select * from read_csv` of the same file"

PROMISES: Sequence[Promise] = (
    Promise("tables", "bronze and silver", _ratio("bronze and silver", "bare import"), "x", 1.25, baseline=_BARE),
    Promise("tables", "bronze alone", _ratio("bronze", "bare import"), "x", baseline=_BARE),
    Promise("tables", "silver alone", _ratio("silver", "bare import"), "x", 0.4, baseline=_BARE),
    Promise("tables", "bronze and silver, peak memory", _figure("bronze_and_silver peak"), "GB", 2),
    Promise("tables", "bronze with nothing changed", _figure("rerun"), "s", 5),
    Promise(
        "one more file",
        "bronze, one file of 1 % more",
        _ratio("one more file", "first load"),
        "x",
        0.1,
        baseline="the load of the other 99 %",
    ),
    Promise("one more file", "rows that differ from a full run", _figure("rows that differ"), "", 0),
    Promise("growth", "time over lines", lambda found: exponent(found, "bronze and silver"), "exponent", 1.05),
    Promise("growth", "memory over lines", lambda found: exponent(found, "bronze_and_silver peak"), "exponent", 0.8),
    Promise("big", "50 M lines", _times_linear, "x", 1.3, baseline="the time of 4.5 M lines, times 11.1"),
    Promise("big", "50 M lines, spilled", _figure("big gigabytes spilled"), "GB"),
    Promise("big", "50 M lines, peak memory", _figure("big bronze_and_silver peak"), "GB"),
    *(
        Promise("skew", shape, _ratio(shape, "even"), "x", 1.5, baseline="the same lines, even")
        for shape in SHAPES
        if shape != "even"
    ),
    Promise("start", "import of the definitions", _figure("import"), "s", 3),
    Promise("start", "reload of the code location", _figure("reload"), "s", 5),
    Promise("start", "a run through Dagster, more", _figure("first run more"), "s", 3, baseline="the same bare"),
    Promise(
        "start",
        "a run through Dagster",
        _ratio("first run through Dagster", "first run bare"),
        "x",
        1.15,
        baseline="the same bare",
    ),
    Promise(
        "start",
        "a run through Dagster, processor time",
        _ratio("first run through Dagster, processor time", "first run bare, processor time"),
        "x",
        baseline="the same bare",
    ),
    Promise("start", "a rerun with nothing changed", _figure("rerun through Dagster"), "s"),
    Promise("start", "a rerun with nothing changed, more", _figure("rerun more"), "s", baseline="the same bare"),
    Promise("exports", "both workbooks", _figure("ours both"), "s", 2),
    Promise(
        "exports",
        "against pandas",
        _ratio("ours both", "pandas both"),
        "x",
        0.25,
        baseline="`to_excel` with openpyxl of the same tables",
    ),
    Promise("exports", "more memory than the tables take", _figure("ours megabytes of memory"), "MB", 300),
    Promise("segments", "segmentation of 15,000 customers", _figure("hybrid seconds"), "s", 20),
    Promise(
        "segments",
        "segmentation against a plain one",
        _ratio("hybrid seconds", "plain seconds"),
        "x",
        1,
        baseline="scikit-learn's DBSCAN, and K-means for 2 to 13 segments with silhouettes",
    ),
    Promise("segments", "agreement with the truth", _figure("hybrid agreement"), ""),
    Promise("segments", "agreement with the truth, the plain one", _figure("plain agreement"), ""),
    Promise("segments", "silhouette", _figure("hybrid silhouette, own space"), ""),
    Promise("segments", "silhouette, the plain one", _figure("plain silhouette, own space"), ""),
    Promise("segments", "share of noise", _figure("hybrid share of noise"), ""),
    Promise("segments", "share of noise, the plain one", _figure("plain share of noise"), ""),
    Promise("map", "map of 15,000 customers", _figure("seconds"), "s", 15),
    Promise("map", "trustworthiness, 12 neighbours", _figure("trustworthiness"), "", at_least=0.97),
    Promise("many customers", "segmentation and map of a million", _figure("seconds"), "s", 600),
    Promise("many customers", "peak memory", _figure("peak"), "GB", 8),
    Promise(
        "earlier way",
        "speed at 0.5 M lines",
        _times_faster,
        "times",
        at_least=30,
        baseline="pandas, row inserts with a key, a self-join, loops",
    ),
    Promise(
        "earlier way",
        "speed at 4.5 M lines, by the growth of both",
        _times_faster_usually,
        "times",
        at_least=30,
        baseline="the same",
    ),
    Promise("features", "features", _ratio("ibis", "pandas"), "x", baseline="pandas groupby, without a loop"),
    Promise("features", "features, against Polars", _ratio("ibis", "polars"), "x", baseline="Polars, lazy"),
)
