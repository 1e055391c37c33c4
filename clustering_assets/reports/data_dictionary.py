"""The data dictionary, rendered from the table contracts.

``python -m clustering_assets.reports.data_dictionary > docs/data_dictionary.md`` writes the committed copy.
"""

from __future__ import annotations

import sys

from clustering_assets.contracts import ALL_TABLES, CUSTOMER_LIST, PUBLICATION, Column, Imputation, TableContract

DICTIONARY_HEADER = ("Column", "Type", "Unit", "Group", "Missing value", "Range", "Description")

_MISSING_VALUE = {
    Imputation.CORE: "core: the customer is dropped",
    Imputation.ZERO: "zero: filled with 0",
    Imputation.MEAN: "mean: filled with the mean of the kept customers",
}


def dictionary_row(column: Column) -> tuple[str, ...]:
    """Describe a column, one text per entry of `DICTIONARY_HEADER`."""
    if column.imputation is not None:
        missing_value = _MISSING_VALUE[column.imputation]
    else:
        missing_value = "never" if column.required else "allowed"
    return (
        column.name,
        column.type,
        column.unit,
        column.group,
        missing_value,
        _range(column.minimum, column.maximum) or " / ".join(column.allowed),
        f"{column.description} Found in {column.references}." if column.references else column.description,
    )


def render_data_dictionary() -> str:
    """Render every table contract as one Markdown document."""
    sections = [
        "# Data dictionary",
        "Generated from `clustering_assets/contracts.py` by `python -m clustering_assets.reports.data_dictionary`; "
        "change the contracts, not this file. Timestamps are naive and UTC. A range includes both ends; "
        "of texts it lists all that there may be.",
        *(_section(table) for table in (*ALL_TABLES, CUSTOMER_LIST, PUBLICATION)),
    ]
    return "\n\n".join(sections) + "\n"


def _section(table: TableContract) -> str:
    rows = [DICTIONARY_HEADER, ("---",) * len(DICTIONARY_HEADER), *map(dictionary_row, table.columns)]
    return "\n".join(
        (
            f"## {table.qualified_name}",
            "",
            table.description,
            f"{table.grain}{_rows(table)}; key: {', '.join(f'`{name}`' for name in table.key)}; "
            f"{len(table.columns)} columns.",
            "",
            *(f"| {' | '.join(map(_escape, row))} |" for row in rows),
        )
    )


def _rows(table: TableContract) -> str:
    return (f", for each of {table.row_for_each}" if table.row_for_each else "") + (
        "; never empty" if table.never_empty else ""
    )


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _range(minimum: float | None, maximum: float | None) -> str:
    if minimum is None:
        return "" if maximum is None else f"at most {maximum:g}"
    return f"at least {minimum:g}" if maximum is None else f"{minimum:g} to {maximum:g}"


if __name__ == "__main__":
    sys.stdout.write(render_data_dictionary())
