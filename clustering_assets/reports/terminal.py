"""The answers of the command line, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clustering_assets.reports.answers import Comparison, Customer, Figure, Spread, SubSegment
from clustering_assets.reports.findings import Difference, Findings, Segment

KEY_FIGURES = (
    "order_count",
    "mean_order_value",
    "return_rate",
    "return_quantity_ratio",
    "mean_return_value",
    "mean_days_to_return",
    "recent_order_count",
    "lifetime_days",
)
"""Features that are always shown; --json has all of them."""

_MOST_FLOWS = 12
_MOST_DRIFTED = 8

_MARKS = {"fine": ("✓", "green"), "look": ("!", "yellow"), "broken": ("✗", "red")}


class Finding(Protocol):
    """What the doctor found."""

    @property
    def about(self) -> str:
        """What was looked at."""

    @property
    def verdict(self) -> str:
        """``fine``, ``look`` or ``broken``."""

    @property
    def found(self) -> str:
        """What is so."""

    @property
    def advice(self) -> str:
        """What to do; empty where there is nothing to do."""


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """Print a line per finding, and below it what to do."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=1)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in findings:
        mark, colour = _MARKS[finding.verdict]
        grid.add_row(Text(mark, colour), Text(finding.about, "bold"), Text(finding.found))
        if finding.advice:
            grid.add_row("", "", Text(f"→ {finding.advice}", "dim"))
    console.print(grid)


def print_segments(console: Console, findings: Findings) -> None:
    """Print a line per segment: how large, what it stands for, what to do."""
    fit = findings.fit
    console.print(
        f"{fit.customers:,} customers in {fit.segments:,} segments, as of {findings.as_of}; "
        f"fit {fit.model_run_id} of {fit.fitted_at:%Y-%m-%d %H:%M} UTC",
        soft_wrap=True,
    )
    table = _table(
        ("id", "right"),
        ("segment", "left"),
        ("customers", "right"),
        ("share", "right"),
        ("of value", "right"),
        ("of returns", "right"),
        ("return rate", "right"),
        ("return cost", "right"),
        ("could save", "right"),
        ("stability", "right"),
    )
    for each in findings.segments:
        table.add_row(
            str(each.segment_id),
            Text(each.name, "bold"),
            f"{each.customers:,}",
            _share(each.share),
            _share(each.value_share),
            _share(each.returned_value_share),
            _share(each.return_rate),
            _number(each.saving.return_cost, 0),
            _number(each.saving.possible_saving, 0),
            _number(each.stability, 2),
        )
    console.print(table)
    console.print("clustering-assets explain ID says more of one.", style="dim", soft_wrap=True)


def print_segment(console: Console, segment: Segment, parts: Sequence[SubSegment], spreads: Sequence[Spread]) -> None:
    """Print what a segment is: who is in it, what sets it apart, what to do and what that could save."""
    console.print(Text.assemble((f"{segment.name} ", "bold"), f"(segment {segment.segment_id})"), soft_wrap=True)
    console.print(segment.description, soft_wrap=True)
    _heading(console, "Size")
    console.print(
        f"{segment.customers:,} customers ({_share(segment.share)}), {_share(segment.order_share)} of the orders, "
        f"{_share(segment.value_share)} of the value, {_share(segment.returned_value_share)} of what is returned",
        soft_wrap=True,
    )
    if segment.differences:
        _heading(console, "What sets it apart")
        console.print(_differences(segment.differences))
    if segment.rule:
        console.print(
            f"Rule: {segment.rule} ({_share(segment.rule_precision)} of those who follow it are in the segment, "
            f"{_share(segment.rule_recall)} of the segment follow it)",
            soft_wrap=True,
        )
    _heading(console, "What to do")
    console.print(segment.action, soft_wrap=True)
    saving = segment.saving
    if saving.return_cost is not None:
        cost, saved = _number(saving.return_cost, 0), _number(saving.possible_saving, 0)
        console.print(f"Returns cost {cost}, of which {saved} could be saved.", soft_wrap=True)
    console.print(saving.assumption, soft_wrap=True)
    _heading(console, "Typical customers")
    table = _table(
        ("", "left"),
        ("quarter below", "right"),
        ("median", "right"),
        ("quarter above", "right"),
        ("all customers", "right"),
        ("", "left"),
    )
    shown = {*KEY_FIGURES, *(each.feature for each in segment.differences)}
    for spread in spreads:
        if spread.feature in shown:
            table.add_row(
                spread.feature,
                _number(spread.lower_quartile),
                _number(spread.median),
                _number(spread.upper_quartile),
                _number(spread.shop_median),
                spread.unit,
            )
    console.print(table)
    _heading(console, "Sub-segments")
    if not parts:
        console.print("none: the segment has no stable inner structure")
        return
    table = _table(
        ("part", "right"),
        ("customers", "right"),
        ("share", "right"),
        ("orders", "right"),
        ("order value", "right"),
        ("return rate", "right"),
    )
    for part in parts:
        table.add_row(
            str(part.sub_segment_id),
            f"{part.customers:,}",
            _share(part.share),
            _number(part.order_count),
            _number(part.mean_order_value),
            _share(part.return_rate),
        )
    console.print(table)


def print_customer(console: Console, customer: Customer) -> None:
    """Print why a customer is in a segment."""
    console.print(
        Text.assemble((f"{customer.segment_name} ", "bold"), f"(segment {customer.segment_id})"), soft_wrap=True
    )
    console.print(customer.segment_description, soft_wrap=True)
    console.print(
        f"customer {customer.customer_id}; confidence {customer.confidence:.2f}, outlier score "
        f"{customer.outlier_score:.2f} (above 1: unlike all others)",
        soft_wrap=True,
    )
    if customer.next_segment_name is not None:
        away = "" if customer.distance is None else f", {_number(customer.distance)} to the own centre"
        console.print(
            f"next segment: {customer.next_segment_name} ({customer.next_segment_id}), "
            f"{_number(customer.next_distance)} to its centre{away}",
            soft_wrap=True,
        )
    _heading(console, "What decided")
    console.print(_figures(customer.reasons) if customer.reasons else "nothing: there is no other segment")
    _heading(console, "Key figures")
    named = {reason.feature for reason in customer.reasons}
    console.print(
        _figures([each for each in customer.figures if each.feature in KEY_FIGURES and each.feature not in named])
    )
    _heading(console, "Filled in")
    console.print(", ".join(customer.imputed) or "nothing", soft_wrap=True)
    _heading(console, "What to do")
    console.print(customer.recommended_action, soft_wrap=True)
    if customer.change:
        came = customer.change.from_segment_name or "nowhere: not there before"
        _heading(console, "Since the fit before")
        console.print(f"{customer.change.change}, from {came} ({customer.change.changed_at:%Y-%m-%d})", soft_wrap=True)
    if customer.history:
        _heading(console, "History")
        table = _table(("end of", "left"), ("segment", "left"), ("confidence", "right"))
        for month in customer.history:
            table.add_row(f"{month.as_of:%Y-%m}", month.segment_name, f"{month.confidence:.2f}")
        console.print(table)


def print_comparison(console: Console, compared: Comparison) -> None:
    """Print what changed between two fits."""
    console.print(
        f"{compared.before_run_id} ({compared.before_fitted_at:%Y-%m-%d %H:%M} UTC) → "
        f"{compared.now_run_id} ({compared.now_fitted_at:%Y-%m-%d %H:%M} UTC)",
        soft_wrap=True,
    )
    if compared.sizes:
        _heading(console, "Customers")
        console.print(
            f"{compared.stayed:,} stayed, {compared.moved:,} moved, {compared.joined:,} joined, {compared.left:,} left",
            soft_wrap=True,
        )
        console.print(compared.compared_how, style="dim", soft_wrap=True)
        table = _table(("id", "right"), ("segment", "left"), ("before", "right"), ("now", "right"), ("", "right"))
        for size in compared.sizes:
            table.add_row(
                str(size.segment_id), size.name, f"{size.before:,}", f"{size.now:,}", f"{size.now - size.before:+,}"
            )
        console.print(table)
        ways = [flow for flow in compared.flows if flow.from_id != flow.to_id]
        if ways:
            _heading(console, "Who went where")
            table = _table(("customers", "right"), ("from", "left"), ("to", "left"))
            for flow in ways[:_MOST_FLOWS]:
                table.add_row(f"{flow.customers:,}", flow.from_name or "(joined)", flow.to_name or "(left)")
            console.print(table)
            if len(ways) > _MOST_FLOWS:
                console.print(f"and {len(ways) - _MOST_FLOWS:,} ways more", style="dim")
    _heading(console, "Quality")
    table = _table(("", "left"), ("before", "right"), ("now", "right"))
    for figure in compared.figures:
        table.add_row(figure.name, _number(figure.before), _number(figure.now))
    console.print(table)
    if compared.drift:
        _heading(console, "Drift (PSI; above 0.25 a feature has shifted)")
        table = _table(("", "left"), ("", "right"))
        for name, psi in [*compared.drift.items()][:_MOST_DRIFTED]:
            table.add_row(name, f"{psi:.3f}")
        console.print(table)
    if compared.settings:
        _heading(console, "Settings and versions that differ")
        table = _table(("", "left"), ("before", "left"), ("now", "left"))
        for setting in compared.settings:
            table.add_row(setting.name, str(setting.before), str(setting.now))
        console.print(table)
    if compared.not_compared:
        _heading(console, "Not compared")
        for sentence in compared.not_compared:
            console.print(sentence, soft_wrap=True)


def _heading(console: Console, text: str) -> None:
    console.print(Text(f"\n{text}", "bold"), soft_wrap=True)


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=any(name for name, _ in columns)
    )
    for name, side in columns:
        table.add_column(name, justify="right" if side == "right" else "left", overflow="fold")
    return table


def _figures(figures: Sequence[Figure]) -> Table:
    table = _table(("", "left"), ("own", "right"), ("segment", "right"), ("all", "right"), ("", "left"), ("", "left"))
    for figure in figures:
        table.add_row(
            figure.feature,
            Text(_number(figure.value), "bold"),
            _number(figure.segment_median),
            _number(figure.shop_median),
            figure.unit,
            "filled in" if figure.imputed else "",
        )
    return table


def _differences(differences: Sequence[Difference]) -> Table:
    table = _table(("", "left"), ("segment", "right"), ("all", "right"), ("", "left"), ("deviations", "right"))
    for each in differences:
        table.add_row(each.feature, _number(each.mean), _number(each.shop_mean), each.unit, f"{each.effect:+.2f}")
    return table


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _number(value: float | None, digits: int | None = None) -> str:
    """Write a number with so many digits behind the point, or else with three figures that matter."""
    if value is None:
        return ""
    if digits is not None:
        return f"{value:,.{digits}f}"
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.3g}"
