"""The page of the documents on speed: a table of every promise, and plots, from the saved figures."""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.sections import PROMISES, SECTIONS, Promise

DOCS = Path(__file__).parents[1] / "docs"
_COLOUR, _OTHER = "#0072b2", "#999999"
_HEAD = """# Speed

What each stage costs, as a ratio against a baseline of the same round, or as the exponent of its growth: absolute times
say little, since machines differ. Medians, with the least and the most of the rounds; measured by `make bench` on
{processors} processors with Python {python}. `make bench BENCH_ARGS="--only growth --repeats 3"` measures a section,
`--save` writes this page anew. At the end of the output stands what became worse by more than a fifth.
"""
_WORDS = {True: "reached", False: "**missed**", None: ""}


def write_page(saved: Mapping[str, Any]) -> None:
    """Write ``docs/benchmarks.md`` and its plots.

    Parameters
    ----------
    saved
        Section -> what ``results.json`` has of it.
    """
    (DOCS / "benchmarks.md").write_text(page_of(saved))
    for name in _PLOTS:
        if name in saved:
            _plot(name, saved[name]["rounds"], DOCS / _image(name))


def page_of(saved: Mapping[str, Any]) -> str:
    """Return the text of the page; the sections stand in their own order."""
    sections = [name for name in SECTIONS if name in saved]
    parts = [_HEAD.format(**saved[sections[0]]["machine"])]
    for name in sections:
        parts.append(f"## {name.capitalize()}\n\n{_said_of(name)}\n\n{_table(name, saved[name]['rounds'])}")
        if name in _PLOTS:
            parts.append(f"![{_ALTERNATIVE_TEXTS[name]}]({_image(name)})\n")
    return "\n".join(parts)


def _said_of(section: str) -> str:
    return inspect.getdoc(SECTIONS[section]) or ""


def _image(section: str) -> str:
    return f"images/benchmark_{section.replace(' ', '_')}.svg"


def _table(section: str, rounds: Sequence[Mapping[str, float]]) -> str:
    promises = [promise for promise in PROMISES if promise.section == section]
    lines = [
        f"| what | target | measured, {len(rounds)} round{'s' * (len(rounds) > 1)} | baseline | |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [_row(promise, [promise.value(figures) for figures in rounds]) for promise in promises]
    if not promises:
        names = list(rounds[0])
        lines = ["| what | measured |", "| --- | --- |"]
        lines += [f"| {name} | {statistics.median(found[name] for found in rounds):,.3g} |" for name in names]
    return "\n".join(lines) + "\n"


def _row(promise: Promise, values: Sequence[float]) -> str:
    median = statistics.median(values)
    spread = f" ({min(values):.3g}-{max(values):.3g})" if len(values) > 1 else ""
    bound = promise.bound.replace("<=", "≤").replace(">=", "≥")
    return (
        f"| {promise.what} | {bound} | {median:.3g} {promise.unit}{spread} | {promise.baseline} | "
        f"{_WORDS[promise.is_kept(median)]} |"
    )


def _growth(axes: Axes, rounds: Sequence[Mapping[str, float]]) -> None:
    for start, label, colour in (
        ("bronze and silver", "seconds", _COLOUR),
        ("bronze_and_silver peak", "gigabytes of memory", _OTHER),
    ):
        names = [name for name in rounds[0] if name.startswith(f"{start}, ")]
        lines = [int(name.split(", ", 1)[1].removesuffix(" lines").replace(",", "")) / 1e6 for name in names]
        values = [statistics.median(found[name] for found in rounds) for name in names]
        axes.loglog(lines, values, marker="o", color=colour, label=label)
    axes.set_xlabel("million order lines")
    axes.set_xticks(lines, [f"{value:g}" for value in lines])
    axes.minorticks_off()
    axes.legend(frameon=False)


def _features(axes: Axes, rounds: Sequence[Mapping[str, float]]) -> None:
    names = {"ibis": "this project", "polars": "Polars", "pandas": "pandas"}
    values = [statistics.median(found[name] for found in rounds) for name in names]
    axes.barh(list(names.values()), values, color=[_COLOUR, _OTHER, _OTHER])
    axes.bar_label(axes.containers[0], fmt="%.1f", padding=3)  # type: ignore[arg-type]
    axes.invert_yaxis()
    axes.set_xlabel("seconds for the features of all customers")


def _tables(axes: Axes, rounds: Sequence[Mapping[str, float]]) -> None:
    names = {"bare import": "bare import", "bronze": "bronze", "silver": "silver"}
    values = [statistics.median(found[name] / found["bare import"] for found in rounds) for name in names]
    axes.barh(list(names.values()), values, color=[_OTHER, _COLOUR, _COLOUR])
    axes.bar_label(axes.containers[0], fmt="%.2f", padding=3)  # type: ignore[arg-type]
    axes.invert_yaxis()
    axes.set_xlabel("times the bare import of the same file")


_PLOTS = {"tables": _tables, "growth": _growth, "features": _features}
_ALTERNATIVE_TEXTS = {
    "tables": "Bars: bronze and silver against the bare import",
    "growth": "Lines: seconds and memory over the number of order lines, both axes logarithmic",
    "features": "Bars: seconds for the features by this project, Polars and pandas",
}


def _plot(name: str, rounds: Sequence[Mapping[str, float]], path: Path) -> None:
    figure = Figure(figsize=(7, 3), layout="constrained", facecolor="white")
    axes = figure.subplots()
    _PLOTS[name](axes, rounds)
    axes.spines[["top", "right"]].set_visible(False)
    # the same figures give the same file
    figure.savefig(path, metadata={"Date": None})
