"""A source folder and the bronze tables made of it, with what has to hold for any of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clustering_assets.conformance import violations
from clustering_assets.contracts import (
    CANCELLATIONS,
    FILE_STATE,
    ORDER_LINES,
    REJECTED_ROWS,
    SOURCE_FILES,
    SUPERSEDED_LINES,
)
from clustering_assets.forgotten import Forgotten
from clustering_assets.integrity import EVERY_ROW_ACCOUNTED_FOR
from clustering_assets.sources.ingestion import ingest
from clustering_assets.warehouse import Warehouse

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

NOW = datetime(2026, 1, 1)
TABLES = (ORDER_LINES, REJECTED_ROWS, SUPERSEDED_LINES, CANCELLATIONS, SOURCE_FILES, FILE_STATE)
FATES = ("rows_kept", "rows_rejected", "rows_superseded", "rows_merged")
OF_THE_MOMENT = {"stamp", "ingested_at", "loaded_at"}
"""Columns that say when and in which state a file was read, not what was in it."""

Content = dict[str, "Counter[tuple[Any, ...]]"]


@dataclass(frozen=True)
class Bronze:
    """A source folder and an open warehouse."""

    folder: Path
    backend: Backend

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def load(
        self,
        files: Mapping[str, str | bytes] | None = None,
        layout: str | None = None,
        forgotten: Forgotten = Forgotten(),  # noqa: B008
    ) -> bool:
        """Write files and bring bronze in step."""
        self.write(files or {})
        return ingest(self.backend, self.folder, NOW, layout, forgotten=forgotten)

    def assert_sound(self) -> None:
        """Check what has to hold whatever is in the files."""
        assert [fault for table in TABLES for fault in violations(self.backend, table)] == []
        assert EVERY_ROW_ACCOUNTED_FOR.faults(self.backend) == []

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.backend.con.execute(query).fetchall()

    def lines(self, columns: str) -> list[tuple[Any, ...]]:
        """Columns of the order lines as the rows stand in the files."""
        return self.rows(f"select {columns} from bronze.order_lines order by source_file, source_row")

    def line(self, columns: str) -> tuple[Any, ...]:
        """Columns of the only order line."""
        (line,) = self.lines(columns)
        return line

    def statuses(self) -> list[tuple[str, str]]:
        """Name and status of what was found in the folder."""
        return self.rows("select source_file, status from bronze.source_files order by all")

    def reason(self, source_file: str) -> str:
        found = self.backend.con.execute(
            "select reason from bronze.source_files where source_file = $1 order by status = 'loaded'", [source_file]
        )
        return str(found.fetchall()[0][0])

    def rejected(self) -> list[tuple[Any, ...]]:
        """Source row and code of the rejected rows."""
        return self.rows("select source_row, split_part(reason, ':', 1) from bronze.rejected_rows order by all")

    def totals(self) -> dict[str, int]:
        sums = self.rows(f"select {', '.join(f'sum({fate})::int' for fate in FATES)} from bronze.source_files")[0]
        return {fate.removeprefix("rows_"): total for fate, total in zip(FATES, sums, strict=True)}

    def content(self) -> Content:
        """All tables, as far as they say what was in the files."""
        found: Content = {}
        for table in TABLES:
            names = ", ".join(f'"{name}"' for name in table.column_names if name not in OF_THE_MOMENT)
            found[table.name] = Counter(self.rows(f"select {names} from {table.qualified_name}"))
        return found


@contextmanager
def opened(folder: Path, home: Path) -> Iterator[Bronze]:
    folder.mkdir(exist_ok=True)
    with Warehouse(home).connect() as backend:
        yield Bronze(folder, backend)


def order_lines(*rows: Mapping[str, str], separator: str = ",") -> str:
    """A CSV file of the layout order_lines; a row says what is different from a plain order line."""
    plain = {
        "order_id": "O1",
        "customer_id": "ann@example.com",
        "sku": "S1",
        "order_date": "2024-03-05 10:00:00",
        "quantity": "2",
        "line_value": "10.5",
        "return_quantity": "0",
        "return_date": "",
        "category": "shoes",
    }
    return csv_text(list(plain), [[(plain | row)[name] for name in plain] for row in rows], separator)


def csv_text(header: list[str], rows: list[list[str]], separator: str = ",") -> str:
    return "".join(separator.join(_field(value) for value in row) + "\n" for row in [header, *rows])


def _field(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if any(mark in value for mark in ',;\t|"\r\n') else value
