"""The committed data dictionary follows the contracts."""

from __future__ import annotations

from pathlib import Path

import pytest

from clustering_assets import contracts
from clustering_assets.contracts import Column, Imputation, TableContract
from clustering_assets.reports.data_dictionary import DICTIONARY_HEADER, dictionary_row, render_data_dictionary

COMMITTED = Path(__file__).parents[2] / "docs" / "data_dictionary.md"
TABLES = [value for value in vars(contracts).values() if isinstance(value, TableContract)]


def test_the_committed_dictionary_is_in_step_with_the_contracts() -> None:
    command = "python -m clustering_assets.reports.data_dictionary > docs/data_dictionary.md"
    assert COMMITTED.read_text(encoding="utf-8") == render_data_dictionary(), f"run {command}"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.qualified_name)
def test_every_column_of_every_table_has_its_row(table: TableContract) -> None:
    (section,) = (
        part for part in render_data_dictionary().split("\n## ")[1:] if part.startswith(f"{table.qualified_name}\n")
    )
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(table.column_names)
    assert {row.replace("\\|", "").count("|") for row in rows} == {len(DICTIONARY_HEADER) + 1}


@pytest.mark.parametrize(
    ("column", "missing_value", "range_"),
    [
        (Column("x", "string", "", required=True), "never", ""),
        (Column("x", "int64", "", minimum=1), "allowed", "at least 1"),
        (Column("x", "float64", "", maximum=0.5), "allowed", "at most 0.5"),
        (
            Column("x", "float64", "", minimum=-1, maximum=1, imputation=Imputation.ZERO),
            "zero: filled with 0",
            "-1 to 1",
        ),
    ],
)
def test_a_row_says_what_happens_to_missing_values_and_which_are_allowed(
    column: Column, missing_value: str, range_: str
) -> None:
    assert dictionary_row(column)[4:6] == (missing_value, range_)
