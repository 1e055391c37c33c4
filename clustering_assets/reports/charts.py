"""The charts of the report, as options of ECharts: plain data, without functions.

A text that begins with ``@`` stands for a colour of the page (``@segment-3``), which follows the light or dark ground;
``said`` is what a mark tells when it is pointed at. Both are the page's to fill in.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clustering_assets.reports.findings import FEATURES, CategoryMonth, Customers, Findings, Segment
from clustering_assets.reports.wording import Wording

Option = dict[str, Any]

SHOWN_CATEGORIES = 12
YEAR = 12
_LABEL_WIDTH = 150


def segment_colour_token(segment_id: int | None) -> str:
    """Name of a segment's colour on the page; of who is in no segment, a grey."""
    return "@muted" if segment_id is None else f"@segment-{'out' if segment_id < 0 else segment_id}"


def all_charts(findings: Findings, words: Wording) -> dict[str, Option]:
    """Return the options of every chart that there is something to show in, by name."""
    charts = {
        "movement": movement(findings, words),
        "history": history(findings, words),
        "money": money(findings, words),
        "monthly": monthly(findings, words),
        "by_category": by_category(findings, words),
        "certainty": certainty(findings, words),
    }
    return {name: option for name, option in charts.items() if option}


def movement(findings: Findings, words: Wording) -> Option:
    """Draw the ways from segment to segment since the run before."""
    moved = findings.movement
    if not moved.comparable or not moved.flows:
        return {}
    nodes: dict[str, Option] = {}
    links = []

    def node(side: str, segment_id: int | None, name: str | None) -> str:
        nobody = "joined" if side == "before" else "left"
        said = words.segment(name) if name is not None else words.text(f"movement.{nobody}")
        key = f"{side}:{segment_id}"
        nodes.setdefault(
            key,
            {
                "name": key,
                "depth": 0 if side == "before" else 1,
                "itemStyle": {"color": segment_colour_token(segment_id)},
                "label": {"formatter": said, "position": "right" if side == "before" else "left"},
                "said": f"{words.text(f'movement.{side}')}: {said}",
            },
        )
        return key

    for flow in sorted(moved.flows, key=lambda each: (each.from_id != each.to_id, -each.customers)):
        source, target = node("before", flow.from_id, flow.from_name), node("now", flow.to_id, flow.to_name)
        links.append(
            {
                "source": source,
                "target": target,
                "value": flow.customers,
                "lineStyle": {"color": segment_colour_token(flow.from_id), "opacity": 0.35},
                "said": flow_in_words(words, flow.from_name, flow.to_name, flow.customers),
            }
        )
    series = {
        "type": "sankey",
        "data": [*nodes.values()],
        "links": links,
        "left": 4,
        "right": 4,
        "top": 8,
        "bottom": 8,
        "nodeWidth": 14,
        "nodeGap": 14,
        "draggable": False,
        "emphasis": {"focus": "adjacency"},
        "label": {"color": "@ink", "fontSize": 13},
    }
    return {"series": [series], "tooltip": {}, "height": max(260, 60 * len(nodes) // 2 + 60)}


def flow_in_words(words: Wording, source: str | None, target: str | None, customers: int) -> str:
    """Say where how many customers went."""
    return words.plain(
        "movement.flow",
        **{
            "from": words.segment(source) if source is not None else words.text("movement.joined"),
            "to": words.segment(target) if target is not None else words.text("movement.left"),
            "count": words.number(customers),
        },
    )


def history(findings: Findings, words: Wording) -> Option:
    """Draw the share of each segment over the past months."""
    if not findings.history:
        return {}
    months = sorted({each.as_of for each in findings.history})
    totals: dict[date, int] = defaultdict(int)
    for each in findings.history:
        totals[each.as_of] += each.customers
    ids = sorted({each.segment_id for each in findings.history}, key=lambda segment: (segment < 0, segment))
    found = {(each.segment_id, each.as_of): each for each in findings.history}
    series = []
    for segment_id in ids:
        points = []
        for month in months:
            own = found.get((segment_id, month))
            share = own.customers / totals[month] if own else 0.0
            said = words.plain(
                "movement.history_said",
                segment=words.segment(own.segment_name) if own else "",
                month=words.month(month),
                share=words.percent(share),
                count=words.number(own.customers if own else 0),
            )
            points.append({"value": round(100 * share, 3), "said": said})
        name = next(words.segment(each.segment_name) for each in findings.history if each.segment_id == segment_id)
        series.append(_line(name, points, segment_colour_token(segment_id)))
    return {
        "xAxis": _categories([words.month(month) for month in months]),
        "yAxis": {"type": "value", "axisLabel": {"formatter": words.text("percent_axis")}},
        "series": series,
        "legend": {"show": True, "bottom": 0},
        "grid": {"left": 8, "right": 16, "top": 16, "bottom": 56},
        "tooltip": {},
        "height": 320,
    }


def money(findings: Findings, words: Wording) -> Option:
    """Draw how the order value of each segment is split into what was retained and what was returned."""
    if not findings.has_money:
        return {}
    segments = [*findings.segments][::-1]
    series = []
    for part, attribute in (("retained", "retained_value"), ("returned", "returned_value")):
        name = words.text(f"money.{part}")
        points = []
        for segment in segments:
            value = getattr(segment, attribute) or 0.0
            share = value / segment.order_value if segment.order_value else None
            said = words.plain(
                "money.said",
                segment=words.segment(segment.name),
                part=name,
                value=words.money(value),
                share=words.percent(share),
            )
            points.append({"value": round(value, 2), "said": said})
        colour = "@accent" if part == "returned" else "@soft"
        series.append(
            {
                "type": "bar",
                "stack": "value",
                "name": name,
                "data": points,
                "itemStyle": {"color": colour},
                "barMaxWidth": 26,
            }
        )
    return {
        "xAxis": {"type": "value", "money": True, "splitNumber": 3},
        "yAxis": _names([words.segment(segment.name) for segment in segments]),
        "series": series,
        "legend": {"show": True, "top": 0, "left": 0},
        "grid": {"left": 12, "right": 24, "top": 36, "bottom": 4},
        "tooltip": {},
        "height": 80 + 44 * len(segments),
    }


def last_year(months: Sequence[CategoryMonth]) -> list[date]:
    """Return the first days of the twelve months up to the latest one with an order."""
    latest = max(each.month for each in months)
    return [_months_before(latest, back) for back in range(YEAR - 1, -1, -1)]


def _months_before(month: date, back: int) -> date:
    number = month.year * 12 + month.month - 1 - back
    return date(number // 12, number % 12 + 1, 1)


Lines = dict[date, tuple[int, int, int]]
"""By month: order lines, those that came back, and those of them that had a year before."""


def counted(months: Sequence[CategoryMonth]) -> Lines:
    """Return order lines and returned lines by month, over all categories given."""
    found: Lines = {}
    for each in months:
        lines, returned, a_year_ago = found.get(each.month, (0, 0, 0))
        found[each.month] = (
            lines + each.lines,
            returned + each.returned_lines,
            a_year_ago + each.returned_lines_a_year_ago,
        )
    return found


def rate(found: Lines, months: Sequence[date]) -> float | None:
    """Return the share of the lines of some months that came back; None where there is no line."""
    own = [found[month] for month in months if month in found]
    return sum(returned for _, returned, _ in own) / sum(lines for lines, _, _ in own) if own else None


def rate_before(found: Lines, months: Sequence[date]) -> float | None:
    """Return the rate of a year before these months as it was then, when its returns were as young as these are now."""
    own = [found[month] for month in (_months_before(month, YEAR) for month in months) if month in found]
    return sum(then for _, _, then in own) / sum(lines for lines, _, _ in own) if own else None


def monthly(findings: Findings, words: Wording) -> Option:
    """Draw the return rate of the last twelve months beside that of the twelve before."""
    if not findings.category_months:
        return {}
    now = last_year(findings.category_months)
    found = counted(findings.category_months)
    series = []
    for name, back, measure, colour in (
        ("year_before", YEAR, rate_before, "@muted"),
        ("this_year", 0, rate, "@accent"),
    ):
        points = []
        for month in now:
            own, shown = measure(found, [month]), _months_before(month, back)
            said = words.plain(
                "categories.monthly_said",
                month=words.month(shown),
                rate=words.percent(own, 1),
                lines=words.number(found.get(shown, (0, 0, 0))[0]),
            )
            points.append({"value": None if own is None else round(100 * own, 3), "said": said})
        if any(point["value"] is not None for point in points):
            series.append(_line(words.text(f"categories.{name}"), points, colour, dashed=name == "year_before"))
    return {
        "xAxis": _categories([words.month(month) for month in now]),
        "yAxis": {"type": "value", "min": 0, "axisLabel": {"formatter": words.text("percent_axis")}},
        "series": series,
        "legend": {"show": True, "top": 0, "left": 0},
        "grid": {"left": 8, "right": 16, "top": 40, "bottom": 8},
        "tooltip": {},
        "height": 280,
    }


def categories_told(findings: Findings, words: Wording) -> list[tuple[str, list[CategoryMonth]]]:
    """Return the categories that are shown one by one, with their months: those with the most lines."""
    groups: dict[str, list[CategoryMonth]] = {}
    for each in findings.category_months:
        groups.setdefault(category_name(each, words), []).append(each)
    return [*groups.items()][:SHOWN_CATEGORIES]


def category_name(each: CategoryMonth, words: Wording) -> str:
    """Return what a category is called."""
    if each.others:
        return str(words.text("categories.others"))
    return str(words.text("categories.unknown")) if each.category is None else each.category


def by_category(findings: Findings, words: Wording) -> Option:
    """Draw by how much the return rate of each category and month changed against the year before."""
    if not findings.category_months:
        return {}
    now = last_year(findings.category_months)
    told = categories_told(findings, words)[::-1]
    cells, changes = [], []
    for row, (name, months) in enumerate(told):
        found = counted(months)
        for column, month in enumerate(now):
            own, before = rate(found, [month]), rate_before(found, [month])
            if own is None or before is None:
                continue
            said = words.plain(
                "categories.cell_said",
                category=name,
                month=words.month(month),
                rate=words.percent(own, 1),
                before=words.percent(before, 1),
                change=words.points(own - before),
            )
            changes.append(100 * (own - before))
            cells.append({"value": [column, row, round(changes[-1], 2)], "said": said})
    if not cells:
        return {}
    most = max(1.0, float(np.quantile(np.abs(changes), 0.95)))  # one small cell does not make all others pale
    return {
        "xAxis": {**_categories([words.month(month) for month in now]), "splitArea": {"show": False}},
        "yAxis": _names([name for name, _ in told]),
        "series": [
            {
                "type": "heatmap",
                "progressive": 0,  # drawn at once, so that it is there when the page is printed
                "data": cells,
                "itemStyle": {"borderColor": "@ground", "borderWidth": 2, "borderRadius": 3},
            }
        ],
        "visualMap": {
            "min": -round(most),
            "max": round(most),
            "orient": "horizontal",
            "left": "center",
            "bottom": 0,
            "text": [words.text("categories.more"), words.text("categories.fewer")],
            "inRange": {"color": ["@fewer", "@same", "@more"]},
            "textStyle": {"color": "@ink"},
            "itemWidth": 12,
            "itemHeight": 140,
        },
        "grid": {"left": 16, "right": 8, "top": 8, "bottom": 52},
        "tooltip": {},
        "height": 100 + 32 * len(told),
    }


def certainty(findings: Findings, words: Wording) -> Option:
    """Draw silhouette and stability of each segment."""
    segments = [each for each in findings.segments if not each.is_outliers][::-1]
    if not any(each.silhouette is not None or each.stability is not None for each in segments):
        return {}
    series = []
    for measure, colour in (("stability", "@soft"), ("silhouette", "@accent")):
        points = []
        for segment in segments:
            value = getattr(segment, measure)
            said = words.plain(
                f"certainty.{measure}_said", segment=words.segment(segment.name), value=words.fixed(value)
            )
            points.append({"value": None if value is None else round(value, 4), "said": said})
        series.append(
            {
                "type": "bar",
                "name": words.text(f"certainty.{measure}"),
                "data": points,
                "itemStyle": {"color": colour},
                "barMaxWidth": 14,
            }
        )
    return {
        "xAxis": {"type": "value", "max": 1, "interval": 0.25},
        "yAxis": _names([words.segment(segment.name) for segment in segments]),
        "series": series,
        "legend": {"show": True, "top": 0, "left": 0},
        "grid": {"left": 12, "right": 24, "top": 36, "bottom": 4},
        "tooltip": {},
        "height": 80 + 48 * len(segments),
    }


def _line(name: str, points: list[Option], colour: str, *, dashed: bool = False) -> Option:
    return {
        "type": "line",
        "name": name,
        "data": points,
        "symbolSize": 7,
        "lineStyle": {"width": 2.5, "type": "dashed" if dashed else "solid"},
        "color": colour,
    }


def _categories(names: Sequence[str]) -> Option:
    return {"type": "category", "data": [*names], "axisTick": {"show": False}, "axisLabel": {"hideOverlap": True}}


def _names(names: Sequence[str]) -> Option:
    return {
        "type": "category",
        "data": [*names],
        "axisTick": {"show": False},
        "axisLabel": {"width": _LABEL_WIDTH, "overflow": "break", "lineHeight": 13, "interval": 0},
    }


# ------------------------------------------------------------------------------------------------------ the customers


def points(customers: Customers, names: Sequence[str], segments: Sequence[Segment]) -> Option:
    """Pack the customers for the page: columns of numbers, as base64 of the smallest type that holds them exactly.

    Parameters
    ----------
    names
        What each customer is called on the page.
    segments
        In the order in which the page numbers them.
    """
    place = {segment.segment_id: number for number, segment in enumerate(segments)}
    columns = {
        "x": _packed(customers.map_x),
        "y": _packed(customers.map_y),
        "segment": _packed([place[segment_id] for segment_id in customers.segment_ids]),
        "confidence": _packed(customers.confidence),
        "returned_value": _packed(customers.returned_value),
        **{f"feature:{name}": _packed(customers.features[name]) for name in FEATURES},
        **{
            f"reason_{number}": _packed([_feature_of(reasons, number) for reasons in customers.reasons])
            for number in range(3)
        },
    }
    return {"names": [*names], "columns": columns}


def _feature_of(reasons: Sequence[str], number: int) -> int:
    """Return which feature a reason names, by its place among the features; 255 where there is no such reason."""
    name = reasons[number].partition(" ")[0] if number < len(reasons) else ""
    return FEATURES.index(name) if name in FEATURES else 255


def _packed(values: Sequence[float | None]) -> Option:
    numbers: NDArray[np.float64] = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    whole = bool(len(numbers)) and bool(np.all(numbers == np.floor(numbers))) and numbers.min() >= 0
    for kind in ("uint8", "uint16") if whole else ():
        if numbers.max() <= np.iinfo(kind).max:
            return {"type": kind, "data": _base64(numbers.astype(f"<{np.dtype(kind).str[1:]}"))}
    return {"type": "float32", "data": _base64(numbers.astype("<f4"))}


def _base64(numbers: NDArray[Any]) -> str:
    return base64.b64encode(numbers.tobytes()).decode()
