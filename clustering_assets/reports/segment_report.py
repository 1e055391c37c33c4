"""The report that business people open: one HTML file that needs no network.

Everything that anybody else wrote (categories, names of files, reasons) is escaped by the template engine; a
Content-Security-Policy lets no script run but the two of the page and lets nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from clustering_assets.contracts import CLUSTERING_FEATURES
from clustering_assets.durable import written_beside
from clustering_assets.pseudonyms import one_time_key, pseudonym
from clustering_assets.reports import charts
from clustering_assets.reports.colours import FEWER, MORE, SAME, SEQUENCE, segment_colour
from clustering_assets.reports.findings import FEATURES, Findings, KeyFigure, Segment
from clustering_assets.reports.wording import LEAST_SHARE, Wording

STEM = "segment_report"
"""How the names of the files begin."""

_FOLDER = Path(__file__).parent
_CHARTS = _FOLDER / "vendor" / "echarts-6.0.0.min.js"
_SHOWN_DIFFERENCES = 4
_SHOWN_NAME = len("customer-") + 12

_STABLE, _FAIRLY_STABLE = 0.75, 0.6
"""Stability from which segments are valid, and from which they show a pattern (Hennig 2007)."""


def write_report(path: Path, findings: Findings, wording: Wording, now: datetime) -> None:
    """Write the report beside its place and put it there.

    Parameters
    ----------
    now
        Moment to tell as that of writing (UTC).

    Raises
    ------
    CannotWrite
        If the disk is full or the folder cannot be written.
    """
    page = render(findings, wording, now)
    with written_beside(path) as beside:
        beside.write_text(page, encoding="utf-8")


def render(findings: Findings, wording: Wording, now: datetime) -> str:
    """Return the report as HTML."""
    options = charts.all_charts(findings, wording)
    style = Markup(_read("report.css") + _colour_rules(findings.segments))  # noqa: S704  ours, no word from outside
    scripts = [Markup(_CHARTS.read_text(encoding="utf-8")), Markup(_read("report.js"))]  # noqa: S704  likewise
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            f=findings,
            w=wording,
            now=now,
            style=style,
            scripts=scripts,
            policy=_policy(style, scripts),
            charts=options,
            heights={name: option.pop("height") for name, option in options.items()},
            data={"charts": options, "customers": _customers(findings, wording)},
            page=_Page(findings, wording),
            figure=_figure,
        )
    )


def headline(findings: Findings, wording: Wording) -> str:
    """Return the sentence that matters, as plain text."""
    return _Page(findings, wording).headline().striptags()


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _read(name: str) -> str:
    return (_FOLDER / "templates" / name).read_text(encoding="utf-8")


def _policy(style: str, scripts: Sequence[str]) -> str:
    """Name what the page may do: run its own scripts and use its own style, by their hashes, and nothing else."""
    allowed = " ".join(_hash(script) for script in scripts)
    return f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _colour_rules(segments: Sequence[Segment]) -> str:
    """Return the colours of the page as custom properties, for a light and a dark ground."""

    def properties(dark: bool) -> str:
        sequence = SEQUENCE[::-1] if dark else SEQUENCE
        pairs = {
            **{
                charts.segment_colour_token(each.segment_id)[1:]: segment_colour(each.segment_id, dark=dark)
                for each in segments
            },
            **{f"sequence-{step}": colour for step, colour in enumerate(sequence)},
            "fewer": FEWER,
            "same": "#3a3f47" if dark else SAME,
            "more": MORE,
        }
        return "".join(f"--{name}:{colour};" for name, colour in pairs.items())

    names = [charts.segment_colour_token(each.segment_id)[1:] for each in segments]
    return (
        f":root{{{properties(False)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{properties(True)}}}}}"
        + "".join(f".{name}{{--mark:var(--{name})}}" for name in names)
    )


def _figure(name: str, value: float | None, said: object) -> Markup:
    """Mark a figure up with its exact value, for machines, and with what it is a figure of."""
    if value is None:
        return Markup('<span data-figure="{}">{}</span>').format(name, said)
    return Markup('<data data-figure="{}" value="{}">{}</data>').format(name, repr(float(value)), said)


def _customers(findings: Findings, wording: Wording) -> dict[str, Any]:
    """Pack the customers, and what the page says of them, for the two charts that show each."""
    found = findings.customers
    units = {column.name: column.unit for column in CLUSTERING_FEATURES}
    key = one_time_key()
    names = (
        found.ids
        if findings.fit.ids_are_pseudonyms
        # clear ids stay where they are: what stands for a customer here leads to nobody
        else [pseudonym(customer_id, key)[:_SHOWN_NAME] for customer_id in found.ids]
    )
    return {
        **charts.points(found, names, findings.segments),
        "segments": [
            {
                "name": wording.segment(each.name),
                "colour": charts.segment_colour_token(each.segment_id),
                "outliers": each.is_outliers,
                "id": each.segment_id,
            }
            for each in findings.segments
        ],
        "features": [{"name": name, "label": wording.feature(name), "unit": units[name]} for name in FEATURES],
        "locale": str(wording.locale).replace("_", "-"),
        "currency": wording.currency,
        "units": wording.text("units"),
        "money": findings.has_money,
        "texts": {
            **{
                key: wording.text(f"map.{key}")
                for key in ("segment", "none_found", "confidence", "up_to", "above", "between", "found")
            },
            **{key: wording.text(f"frequency.{key}") for key in ("x", "y", "y_without_money")},
        },
    }


class _Page:
    """What the template asks for and cannot say by itself."""

    def __init__(self, findings: Findings, wording: Wording) -> None:
        self.findings, self.wording = findings, wording

    def headline(self) -> Markup:
        found, w = self.findings.headline, self.wording
        if found is None:
            total = self.findings.key_figure("customers").value
            return w.say("headline.nothing", customers=_figure("headline_customers", total, w.number(total)))
        name = w.segment(found.name)
        in_a_sentence = "," not in name and not found.is_outliers
        part = found.returned_value_share if self.findings.has_money else found.return_rate
        key = ("noun" if in_a_sentence or found.is_outliers else "quoted") + (
            "" if self.findings.has_money else "_without_money"
        )
        return w.say(
            f"headline.{key}",
            customers=_figure("headline_customers", found.customers, w.number(found.customers)),
            segment=w.in_a_sentence(name) if key.startswith("noun") else name,
            share=_figure("headline_share", found.share, w.percent(found.share)),
            returned=_figure("headline_returned", part, w.percent(part)),
        )

    def key_figures(self) -> list[KeyFigure]:
        """Return the figures that are known, the index numbers of the fit aside."""
        return [
            figure
            for figure in self.findings.key_figures
            if figure.value is not None and figure.name not in ("silhouette", "stability", "segments")
        ]

    def key_value(self, figure: KeyFigure, value: float | None) -> str:
        w = self.wording
        if figure.unit == "money":
            return w.short_money(value)
        return w.percent(value, 1) if figure.unit == "share" else w.number(value)

    def key_change(self, figure: KeyFigure) -> str | None:
        """Say how a figure changed: shares in points, counts and money in per cent."""
        w, change = self.wording, figure.change
        if change is None:
            return None
        if change == 0:
            return str(w.text("key_figures.unchanged"))
        if figure.unit == "share":
            return w.plain("key_figures.points", change=w.points(change))
        signed = w.signed(change) if figure.unit != "money" else ("+" if change > 0 else "") + w.short_money(change)
        relative = change / abs(figure.before) if figure.before else 0.0
        told = abs(relative) >= LEAST_SHARE
        return f"{signed} ({'+' if relative > 0 else ''}{w.percent(relative, 1)})" if told else signed

    def direction(self, figure: KeyFigure) -> str:
        """Return whether a figure went up or down by what can be seen of it."""
        seen = round(figure.change or 0.0, 3 if figure.unit == "share" else 0)
        return "up" if seen > 0 else "down" if seen < 0 else ""

    def differences(self, segment: Segment) -> list[Any]:
        return [*segment.differences][:_SHOWN_DIFFERENCES]

    def assumption(self, segment: Segment) -> Markup:
        w = self.wording
        parts = w.assumptions(segment.saving, w.say)
        return w.say("segments.assumes", parts=escape(w.text("segments.and")).join(parts))

    def stability(self, value: float | None) -> str:
        """Say in a word how stable a segment is."""
        if value is None:
            return ""
        word = "strong" if value >= _STABLE else "fair" if value >= _FAIRLY_STABLE else "weak"
        return str(self.wording.text(f"certainty.stability_words.{word}"))

    def validation(self) -> dict[str, Any] | None:
        """Arrange the newest out-of-time validation: a line per method, a column per target and scale."""
        rows = self.findings.out_of_time
        if not rows:
            return None
        newest = [row for row in rows if row.as_of == rows[0].as_of]
        columns = list(dict.fromkeys((row.target, row.scale) for row in newest))
        methods = list(dict.fromkeys(row.method for row in newest))
        cells = {(row.method, row.target, row.scale): row for row in newest}
        best: dict[tuple[str, str], float] = {}
        for row in newest:
            if row.epsilon_squared is not None:
                column = (row.target, row.scale)
                best[column] = max(row.epsilon_squared, best.get(column, row.epsilon_squared))
        return {
            "first": newest[0],
            "columns": columns,
            "lines": [(method, [cells.get((method, *column)) for column in columns]) for method in methods],
            "best": best,
        }

    def categories(self) -> list[dict[str, Any]]:
        """Return lines, rate and rate a year before of each category told, and of all together, over the last year."""
        months = self.findings.category_months
        if not months:
            return []
        now = charts.last_year(months)
        told = [*charts.categories_told(self.findings, self.wording), (self.wording.text("categories.all"), [*months])]
        rows = []
        for name, own in told:
            found = charts.counted(own)
            rate, before = charts.rate(found, now), charts.rate_before(found, now)
            rows.append(
                {
                    "name": name,
                    "lines": sum(found[month][0] for month in now if month in found),
                    "rate": rate,
                    "before": before,
                    "change": None if rate is None or before is None else rate - before,
                }
            )
        return rows

    def rows(self, what: str) -> int:
        """Return the rows that were read, kept, rejected, superseded or merged."""
        return int(getattr(self.findings.quality, f"rows_{what}"))

    def without_a_return(self) -> int:
        column = self.findings.customers.features["returned_line_count"]
        return sum(1 for value in column if not value)

    def centre(self, segment: Segment) -> tuple[float, float] | None:
        found = self.findings.customers
        places = [
            (x, y)
            for x, y, segment_id in zip(found.map_x, found.map_y, found.segment_ids, strict=True)
            if segment_id == segment.segment_id
        ]
        return (sum(x for x, _ in places) / len(places), sum(y for _, y in places) / len(places)) if places else None

    def feature_value(self, name: str, value: float | None) -> str:
        return self.wording.measured(value, next(c.unit for c in CLUSTERING_FEATURES if c.name == name))

    def parameters(self) -> list[tuple[str, str]]:
        """Return the configured parameters, the nested ones by their path."""
        flat: list[tuple[str, str]] = []
        for name, value in sorted(self.findings.fit.parameters.items()):
            nested = value.items() if isinstance(value, dict) else [("", value)]
            flat += [(f"{name}.{inner}" if inner else name, json.dumps(each)) for inner, each in sorted(nested)]
        return flat
