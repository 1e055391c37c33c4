"""The answers of the command line, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

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
