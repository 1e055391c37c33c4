"""The progress of a run, for a terminal: a line per layer with its time, its rows and what it is doing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

_PER_SECOND = 8
"""How often the display is drawn anew."""

_TIME, _ROWS = 9, 16
"""Characters of the columns: the table keeps its shape while figures grow."""


class _Layer:
    def __init__(self) -> None:
        self.rows: int | None = None
        self.said = ""
        self.failed = False
        self._spent = 0.0
        self._since: float | None = None

    @property
    def is_at_work(self) -> bool:
        return self._since is not None

    @property
    def seconds(self) -> float:
        return self._spent + (time.monotonic() - self._since if self._since is not None else 0.0)

    def begin(self) -> None:
        self._since = time.monotonic()

    def end(self) -> None:
        self._spent, self._since = self.seconds, None


class RunProgress:
    """A live display on a terminal; on anything else, nothing at all.

    Parameters
    ----------
    console
        Where to. What others write to its stream meanwhile comes out above the display.
    layers
        Names of the layers, in their order.
    """

    def __init__(self, console: Console, layers: Sequence[str]) -> None:
        self._layers = {name: _Layer() for name in layers}
        self._spinner = Spinner("dots")
        self._live = (
            Live(console=console, get_renderable=self._drawn, refresh_per_second=_PER_SECOND)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        """Show the display."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the display as it is at the end."""
        for layer in self._layers.values():
            if layer.is_at_work:
                layer.end()
        if self._live:
            self._live.stop()

    def began(self, layer: str) -> None:
        """A step of a layer began."""
        self._layers[layer].begin()

    def said(self, layer: str, text: str) -> None:
        """A layer said what it is doing; of one that is not at work, others speak, such as of what it waits for."""
        if self._layers[layer].is_at_work:
            self._layers[layer].said = text

    def wrote(self, layer: str, rows: int) -> None:
        """A layer has so many rows more."""
        self._layers[layer].rows = (self._layers[layer].rows or 0) + rows

    def ended(self, layer: str, *, well: bool = True) -> None:
        """A step of a layer ended."""
        self._layers[layer].end()
        self._layers[layer].failed |= not well

    def _drawn(self) -> Table:
        drawn = Table.grid(padding=(0, 2), expand=True)
        drawn.add_column(width=1)
        drawn.add_column(width=max(map(len, self._layers)))
        drawn.add_column(width=_TIME, justify="right")
        drawn.add_column(width=_ROWS, justify="right")
        drawn.add_column(style="dim", ratio=1, no_wrap=True, overflow="ellipsis")
        for name, layer in self._layers.items():
            drawn.add_row(
                self._mark(layer),
                Text(name),
                Text(f"{layer.seconds:.1f} s" if layer.seconds else ""),
                Text("" if layer.rows is None else f"{layer.rows:,} rows"),
                Text(layer.said),
            )
        return drawn

    def _mark(self, layer: _Layer) -> RenderableType:
        if layer.failed:
            return Text("✗", "red")
        if layer.is_at_work:
            return self._spinner
        return Text("✓" if layer.seconds else "", "green")
