"""The out-of-time validation as Markdown tables that a person reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

LEGEND = "Eta squared (epsilon squared ± its standard error); bold: the highest epsilon squared of the column."


def validation_tables(rows: Sequence[Row]) -> str:
    """Render gold.out_of_time_validation: a table per day to look from, the latest first.

    A line per method with its number of groups, a column per target and scale.
    """
    days = sorted({row["as_of"] for row in rows}, reverse=True)
    return "\n\n".join([*(_table([row for row in rows if row["as_of"] == day]) for day in days), LEGEND])


def _table(rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys((row["target"], row["scale"]) for row in rows))
    cells = {(row["method"], row["target"], row["scale"]): row for row in rows}
    highest = {
        column: max((row["epsilon_squared"] for row in rows if _measured(row, column)), default=None)
        for column in columns
    }
    lines = [["method", "groups", *(_heading(*column) for column in columns)], ["---"] * (2 + len(columns))]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [cells[(method, *column)] for column in columns]
        figures = [_cell(row, highest[column]) for row, column in zip(own, columns, strict=True)]
        lines.append([method, str(max(row["groups"] for row in own)), *figures])
    first = rows[0]
    title = (
        f"**{first['as_of']:%Y-%m-%d}**: {first['known_customers']:,} customers, and the {first['horizon_days']} days "
        "after"
    )
    return "\n".join([title, "", *(f"| {' | '.join(line)} |" for line in lines)])


def _measured(row: Row, column: tuple[str, str]) -> bool:
    return (row["target"], row["scale"]) == column and row["epsilon_squared"] is not None


def _heading(target: str, scale: str) -> str:
    return target.removeprefix("future_").replace("_", " ") + (", ranks" if scale == "ranks" else "")


def _cell(row: Row, highest: float | None) -> str:
    if row["eta_squared"] is None:
        return "not defined"
    error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.3f}"
    figure = f"{row['eta_squared']:.3f} ({row['epsilon_squared']:.3f}{error})"
    return f"**{figure}**" if row["epsilon_squared"] == highest else figure
