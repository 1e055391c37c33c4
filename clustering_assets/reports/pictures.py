"""Pictures of a segmentation as small PNG files: how its parameters were chosen, the map and the segment sizes.

No picture holds a customer id. Each brings its own white ground, so that it reads the same on a light and a dark page.
A segment's marker and hatch follow from its id as its colour does: segments that share a colour differ in them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from clustering_assets.reports.colours import COLOURS, OUTLIERS, segment_colour

_MARKERS = "osD^vPX*"
_OUTLIER_MARKER = "x"
_HATCHES = ("", "//", "..", "xx")
_INK, _CHOSEN = "#222222", "#D55E00"
_DPI = 110
_MOST_POINTS = 10_000


def segment_marker(segment_id: int) -> str:
    """Matplotlib marker of a segment; it tells apart segments that share a colour."""
    return _OUTLIER_MARKER if segment_id == OUTLIERS else _MARKERS[segment_id // len(COLOURS) % len(_MARKERS)]


def k_distance_curve(k_distances: ArrayLike, eps: float) -> bytes:
    """Draw the customers' distances to their k-th neighbour in ascending order, and the eps that was chosen.

    Parameters
    ----------
    k_distances
        Shape (customers,), in the units of the scaled feature space; in any order.
    eps
        Radius of the density step, in the same units.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    ValueError
        If there are no customers.
    """
    distances = np.sort(np.asarray(k_distances, dtype=float))
    if not len(distances):
        raise ValueError("There are no distances to draw.")
    above = float(np.mean(distances > eps))
    figure = _figure(7.0, 4.0)
    axes = figure.subplots()
    share = np.linspace(0, 100, len(distances))
    drawn = np.unique(np.linspace(0, len(distances) - 1, min(len(distances), 2000)).astype(int))
    axes.plot(share[drawn], distances[drawn], color=COLOURS[0], linewidth=2)
    axes.axhline(eps, color=_CHOSEN, linewidth=1.5, linestyle="--")
    axes.fill_between(share[drawn], distances[drawn], eps, where=(distances > eps)[drawn], color=_CHOSEN, alpha=0.2)
    axes.annotate(f"eps = {eps:.3g}", (1, eps), xytext=(0, 5), textcoords="offset points", color=_CHOSEN, weight="bold")
    if distances[0] > 0 and distances[-1] > 20 * np.median(distances):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlim(0, 100)
    axes.set_xlabel("Customers, nearest to their neighbours first (%)")
    axes.set_ylabel("Distance to the k-th neighbour")
    _title(axes, f"{above:.1%} of {len(distances):,} customers have their k-th neighbour beyond eps")
    return _png(figure)


def cluster_choice_curve(
    records: Sequence[Mapping[str, float | None]], chosen_k: int, thresholds: Mapping[str, float] | None = None
) -> bytes:
    """Draw each criterion over the number of clusters, one panel per criterion, and the number that was chosen.

    Parameters
    ----------
    records
        One mapping per number of clusters tried, with ``k`` and the same criteria in each (such as
        ``prediction_strength`` and ``silhouette``); None or NaN where a criterion has no value.
    chosen_k
        The number of clusters that was chosen.
    thresholds
        Value a criterion had to reach, by its name.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    ValueError
        If there are no records.
    """
    if not records:
        raise ValueError("There are no records to draw.")
    records = sorted(records, key=lambda record: record["k"] or 0)
    criteria = [name for name in records[0] if name != "k"]
    counts = np.array([record["k"] for record in records], dtype=float)
    figure = _figure(7.0, 1.2 + 1.7 * len(criteria))
    panels: list[Axes] = figure.subplots(len(criteria), 1, sharex=True, squeeze=False)[:, 0].tolist()
    for axes, criterion in zip(panels, criteria, strict=True):
        values = np.array([record[criterion] for record in records], dtype=float)
        axes.axvline(chosen_k, color=_CHOSEN, linewidth=9, alpha=0.2)
        if thresholds and criterion in thresholds:
            axes.axhline(thresholds[criterion], color=_INK, linewidth=1, linestyle="--")
            label = f"at least {thresholds[criterion]:g}"
            axes.annotate(
                label,
                (1, thresholds[criterion]),
                xytext=(-4, 3),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                size=8,
            )
        axes.plot(counts, values, color=COLOURS[0], linewidth=2, marker="o", markersize=5)
        axes.margins(y=0.2)
        at_choice = values[counts == chosen_k]
        if at_choice.size and np.isfinite(at_choice[0]):
            axes.plot(chosen_k, at_choice[0], marker="o", markersize=9, color=_CHOSEN)
            axes.annotate(
                f"{at_choice[0]:.3g}",
                (chosen_k, at_choice[0]),
                xytext=(8, 6),
                textcoords="offset points",
                color=_CHOSEN,
                weight="bold",
            )
        axes.set_title(criterion.replace("_", " ").capitalize(), loc="left", size=9)
    panels[-1].set_xticks(counts)
    panels[-1].set_xlabel("Number of clusters")
    figure.suptitle(f"{chosen_k} clusters were chosen", x=0.02, ha="left", size=11, weight="bold", color=_INK)
    return _png(figure)


def customer_map(map_xy: ArrayLike, segment_ids: ArrayLike, names: Mapping[int, str]) -> bytes:
    """Draw every customer as a point on the map, in the colour of its segment.

    Parameters
    ----------
    map_xy
        Shape (customers, 2): places on the map; they have no unit. Rows that are not finite are not drawn.
    segment_ids
        Shape (customers,): the segment of each.
    names
        Segment names by id.

    Returns
    -------
    bytes
        A PNG file. Of more than 10,000 customers a random sample is drawn, the same one every time.
    """
    places, segments = np.asarray(map_xy, dtype=float).reshape(-1, 2), np.asarray(segment_ids, dtype=int)
    placed = np.flatnonzero(np.isfinite(places).all(axis=1))
    drawn = placed
    if len(placed) > _MOST_POINTS:
        drawn = np.sort(np.random.default_rng(0).choice(placed, _MOST_POINTS, replace=False))
    size = float(np.clip(18_000 / max(len(drawn), 1), 3, 30))
    figure = _figure(8.5, 5.2)
    axes = figure.subplots()
    for segment in _outliers_last(segments):
        points = places[drawn[segments[drawn] == segment]]
        outlier = segment == OUTLIERS
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=size,
            marker=segment_marker(segment),
            color=segment_colour(segment),
            linewidths=0.8 if outlier else 0,
            zorder=1 if outlier else 2,
            label=f"{segment}  {_name(segment, names)} ({np.sum(segments == segment):,})",
        )
        if len(points) and not outlier:
            label = axes.annotate(str(segment), np.median(points, axis=0), ha="center", va="center", zorder=3)
            label.set(size=13, weight="bold", color=_INK, path_effects=[withStroke(linewidth=3, foreground="white")])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("Neighbours on the map behave alike; directions and large distances have no meaning", size=8)
    if len(segments):
        legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, borderaxespad=0, fontsize=9)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set(sizes=[40])
    sample = f", {len(drawn):,} of them drawn" if len(drawn) < len(segments) else ""
    _title(axes, f"{len(segments):,} customers{sample}")
    return _png(figure)


def segment_sizes(sizes: Mapping[int, int], names: Mapping[int, str]) -> bytes:
    """Draw the number and share of customers per segment, the largest first and the outliers last.

    Parameters
    ----------
    sizes
        Customers by segment id.
    names
        Segment names by id.

    Returns
    -------
    bytes
        A PNG file.
    """
    order = sorted(sizes, key=lambda segment: (segment == OUTLIERS, -sizes[segment], segment))
    total = sum(sizes.values())
    figure = _figure(7.0, 1.1 + 0.36 * len(order))
    axes = figure.subplots()
    bars = axes.barh(
        range(len(order)),
        [sizes[segment] for segment in order],
        color=[segment_colour(segment) for segment in order],
        hatch=[_HATCHES[segment // len(COLOURS) % len(_HATCHES)] if segment != OUTLIERS else "" for segment in order],
        edgecolor="white",
        linewidth=0,
        height=0.7,
    )
    axes.bar_label(bars, [f"{sizes[segment]:,} ({sizes[segment] / max(total, 1):.1%})" for segment in order], padding=4)
    axes.set_yticks(range(len(order)), [f"{_name(segment, names)}  {segment}" for segment in order])
    axes.invert_yaxis()
    axes.margins(x=0.22)
    axes.set_xlim(left=0)
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    _title(axes, f"{total:,} customers by segment")
    return _png(figure)


def segment_shares(days: Sequence[datetime], shares: Mapping[int, Sequence[float]], names: Mapping[int, str]) -> bytes:
    """Draw the share of each segment over time.

    Parameters
    ----------
    days
        The days, ascending.
    shares
        Share of the customers on each day, by segment id.
    names
        Segment names by id.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    ValueError
        If there are no days.
    """
    if not days:
        raise ValueError("There are no days to draw.")
    figure = _figure(8.5, 4.6)
    axes = figure.subplots()
    for segment in _outliers_last(np.array([*shares])):
        axes.plot(
            range(len(days)),
            100 * np.asarray(shares[segment]),
            color=segment_colour(segment),
            marker=segment_marker(segment),
            linewidth=2,
            markersize=5,
            label=f"{segment}  {_name(segment, names)}",
        )
    step = -(-len(days) // 12)
    axes.set_xticks(range(0, len(days), step), [f"{day:%b %Y}" for day in days[::step]], rotation=45, ha="right")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("Share of the customers known then (%)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, borderaxespad=0, fontsize=9)
    _title(axes, f"Segments from {days[0]:%B %Y} to {days[-1]:%B %Y}")
    return _png(figure)


def variance_explained(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw how much of the customers' later behaviour each grouping explains, a panel per target and scale.

    Parameters
    ----------
    rows
        Rows of gold.out_of_time_validation of one day to look from. A figure that is None is not drawn.

    Returns
    -------
    bytes
        A PNG file: bars of epsilon squared, whiskers of two standard errors.

    Raises
    ------
    ValueError
        If there are no rows.
    """
    if not rows:
        raise ValueError("There are no rows to draw.")
    methods = list(dict.fromkeys(row["method"] for row in rows))
    panels = list(dict.fromkeys((row["target"], row["scale"]) for row in rows))
    per_line = 2
    figure = _figure(8.5, 1.0 + (0.7 + 0.26 * len(methods)) * -(-len(panels) // per_line))
    grid = figure.subplots(-(-len(panels) // per_line), per_line, sharey=True, squeeze=False).ravel().tolist()
    for axes, panel in zip(grid, panels, strict=False):
        own = {row["method"]: row for row in rows if (row["target"], row["scale"]) == panel}
        sizes = np.array([own[method]["epsilon_squared"] for method in methods], dtype=float)
        errors = np.nan_to_num(np.array([own[method]["standard_error"] for method in methods], dtype=float))
        axes.barh(
            range(len(methods)),
            sizes,
            xerr=2 * errors,
            color=[_CHOSEN if method == methods[0] else COLOURS[0] for method in methods],
            ecolor=_INK,
            error_kw={"linewidth": 1},
            height=0.7,
        )
        axes.axvline(0, color=_INK, linewidth=0.8)
        target, scale = panel
        on_ranks = ", on ranks" if scale == "ranks" else ""
        axes.set_title(f"{target.replace('_', ' ').capitalize()}{on_ranks}", loc="left", size=9)
        axes.set_yticks(range(len(methods)), [method.replace("_", " ") for method in methods])
        axes.tick_params(left=False)
    grid[0].invert_yaxis()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel("Epsilon squared, and two standard errors", size=9)
    first = rows[0]
    said = f"Variance explained of the {first['horizon_days']} days after {first['as_of']:%Y-%m-%d}"
    figure.suptitle(said, x=0.02, ha="left", size=11, weight="bold", color=_INK)
    return _png(figure)


def _outliers_last(segments: NDArray[np.int_]) -> list[int]:
    return sorted(np.unique(segments).tolist(), key=lambda segment: (segment == OUTLIERS, segment))


def _name(segment: int, names: Mapping[int, str]) -> str:
    default = "Outliers" if segment == OUTLIERS else f"Segment {segment}"
    # Two dollar signs would begin a formula.
    return textwrap.shorten(names.get(segment, default), 44, placeholder=" …").replace("$", r"\$")


def _figure(width: float, height: float) -> Figure:
    margins = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    return Figure(figsize=(width, height), dpi=_DPI, facecolor="white", layout=margins)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", size=11, weight="bold", color=_INK)


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    FigureCanvasAgg(figure)
    drawn, content = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI)
    # A palette of 128 colours makes the file a third as large and shows no difference.
    Image.open(drawn).convert("RGB").quantize(128).save(content, "PNG", optimize=True)
    return content.getvalue()
