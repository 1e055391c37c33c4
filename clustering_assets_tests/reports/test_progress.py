"""The progress of a run: what it shows on a terminal, and that it is silent elsewhere."""

from __future__ import annotations

import re
from io import StringIO

from rich.console import Console

from clustering_assets.reports.progress import RunProgress


def shown(*, terminal: bool, fails: bool = False, width: int = 80) -> list[str]:
    """Last picture of a run of two layers, line by line."""
    stream = StringIO()
    console = Console(file=stream, force_terminal=terminal, width=width)
    with RunProgress(console, ["bronze", "silver", "gold"]) as progress:
        progress.began("bronze")
        progress.wrote("bronze", 1_000)
        progress.said("bronze", "read 1 of 2 files")
        progress.wrote("bronze", 234)
        progress.said("bronze", "read 2 of 2 files" + " and more" * 40)
        progress.ended("bronze")
        progress.began("silver")
        progress.ended("silver", well=not fails)
        progress.said("gold", "its dependencies were not executed")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    return [line.strip() for line in text.splitlines() if line.strip()][-3:]


def test_each_layer_has_a_line_with_its_time_its_rows_and_what_it_said_last() -> None:
    bronze, silver, gold = shown(terminal=True)
    assert re.fullmatch(r"✓ +bronze +\d+\.\d s +1,234 rows +read 2 of 2 files and .*…", bronze)
    assert re.fullmatch(r"✓ +silver +\d+\.\d s", silver)
    assert gold == "gold"


def test_a_layer_that_failed_is_marked() -> None:
    _, silver, _ = shown(terminal=True, fails=True)
    assert silver.startswith("✗")


def test_a_narrow_terminal_loses_no_figure() -> None:
    bronze, *_ = shown(terminal=True, width=50)
    assert "1,234 rows" in bronze


def test_what_is_no_terminal_gets_nothing() -> None:
    assert shown(terminal=False) == []
