"""The summary of a run, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

Facts = Mapping[str, Any]


def print_summary(
    console: Console, materialized: Mapping[str, Facts], seconds: Mapping[str, float], warnings: Mapping[str, str]
) -> None:
    """Print what a run did.

    Parameters
    ----------
    console
        Where to; it takes text as it is, without markup.
    materialized
        Metadata of each materialized asset, by ``layer/table``.
    seconds
        Time of each layer.
    warnings
        What the checks that failed without stopping the run have to say, in Markdown, by asset and check.
    """
    if not any(facts["changed"] for facts in materialized.values()):
        console.print("\nNothing changed since the last run: tables and exports stay as they are.", soft_wrap=True)
    _rows(console, materialized)
    _customers(console, materialized)
    _segments(console, materialized)
    _files(console, materialized)
    _times(console, seconds)
    for check, found in warnings.items():
        console.print(Text("\nLook at", "bold yellow"), Text(check))
        console.print(Markdown(found))
    console.print()


def _heading(console: Console, title: str, said: str) -> None:
    console.print(Text.assemble("\n", (f"{title:<11}", "bold"), said), soft_wrap=True)


def _grid(*columns: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=9)
    for name in columns:
        grid.add_column(name, justify="right" if name == "figure" else "left", overflow="fold")
    return grid


def _rows(console: Console, materialized: Mapping[str, Facts]) -> None:
    lines, rejected = materialized["bronze/order_lines"], materialized["bronze/rejected_rows"]
    left_out = lines["files_unusable"] + lines["files_duplicate"]
    missed = f", {_counted(left_out, 'file')} not loaded" if left_out else ""
    _heading(
        console, "Bronze", f"{lines['rows_read']:,} rows read from {_counted(lines['files_loaded'], 'file')}{missed}"
    )
    grid = _grid("figure", "what")
    grid.add_row(
        "", f"{lines['rows_kept']:,}", f"kept as order lines ({_share(lines['rows_kept'], lines['rows_read'])})"
    )
    reasons = {
        name.removeprefix("rejected_").upper(): n for name, n in rejected.items() if name.startswith("rejected_")
    }
    why = ", ".join(f"{count:,} {code}" for code, count in reasons.items())
    grid.add_row("", f"{lines['rows_rejected']:,}", f"rejected{': ' + why if why else ''}")
    grid.add_row("", f"{lines['rows_superseded']:,}", "superseded by a repeat or a later file")
    grid.add_row("", f"{lines['rows_merged']:,}", "merged into another line")
    console.print(grid)
    outcomes = {
        name.removeprefix("cancellations_"): n for name, n in lines.items() if name.startswith("cancellations_")
    }
    if outcomes:
        said = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in outcomes.items())
        console.print(f"{'':11}cancellations: {said}", soft_wrap=True)


def _customers(console: Console, materialized: Mapping[str, Facts]) -> None:
    facts = materialized["silver/customer_features"]
    _heading(
        console,
        "Silver",
        f"{facts['dagster/row_count']:,} customers kept, {facts['customers_dropped']:,} dropped "
        f"({facts['customers_dropped_share']:.2%}), as of {facts['as_of']}",
    )
    grid = _grid("figure", "what")
    grid.add_row("", f"{facts['values_zero_filled']:,}", "values filled with 0")
    grid.add_row("", f"{facts['values_mean_imputed']:,}", "values filled with the mean")
    console.print(grid)
    if facts["most_imputed"]:
        console.print(f"{'':11}most often: {facts['most_imputed']}", soft_wrap=True)


def _segments(console: Console, materialized: Mapping[str, Facts]) -> None:
    model, profiles = materialized["gold/segment_model"], materialized["gold/segment_profiles"]
    silhouette = model.get("silhouette")
    quality = (
        "no silhouette (fewer than two segments)"
        if silhouette is None
        else (f"silhouette {silhouette:.3f} ({model['silhouette_full']:.3f} in the full space)")
    )
    _heading(
        console,
        "Gold",
        f"{_counted(model['segments'], 'segment')}, {model['clustered_share']:.1%} of the customers in one, "
        f"{model['outlier_share']:.1%} outliers, {quality}",
    )
    grid = _grid("figure", "figure", "what")
    for row in profiles["sizes"]:
        grid.add_row("", f"{row['customers']:,}", f"{row['share']:.1%}", row["segment_name"])
    console.print(grid)
    if model["notes"] != "none":
        console.print(f"{'':11}{model['notes']}", soft_wrap=True)


def _files(console: Console, materialized: Mapping[str, Facts]) -> None:
    exports = {name: facts for name, facts in materialized.items() if name.startswith("exports/")}
    published = exports.pop("exports/database_tables", None)
    told = ("exports/segment_report", "exports/segment_report_workbook")
    reports = [exports.pop(name) for name in told if name in exports]
    said = _counted(len(exports), "workbook")
    _heading(console, "Exports", f"the report and {said}" if reports else said)
    for report in reports:
        console.print(f"{'':11}{report['path']} ({report['bytes'] / 1e6:.1f} MB)", soft_wrap=True)
    if reports:
        console.print(f"{'':13}{reports[0]['headline']}", soft_wrap=True)
    for facts in exports.values():
        path = Path(facts["path"])
        console.print(
            f"{'':11}{path} ({facts['dagster/row_count']:,} rows, {facts['bytes'] / 1e6:.1f} MB)", soft_wrap=True
        )
    if published is not None:
        console.print(
            f"{'':11}{published['database']} ({_counted(len(published['tables']), 'table')}, "
            f"{published['dagster/row_count']:,} rows)",
            soft_wrap=True,
        )


def _times(console: Console, seconds: Mapping[str, float]) -> None:
    named = ", ".join(f"{layer} {duration:.1f} s" for layer, duration in seconds.items())
    _heading(console, "Time", named)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none read"
