"""What has to change about a table in the database before rows of the contract fit into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clustering_assets.contracts import Column, TableContract


@dataclass(frozen=True, slots=True)
class ColumnThere:
    """A column as the database has it.

    Parameters
    ----------
    type
        As the database writes it, such as ``BIGINT``.
    must_be_given
        Whether a row without a value for it is refused: it is NOT NULL and has no default.
    """

    type: str
    must_be_given: bool = False


@dataclass(frozen=True, slots=True)
class TableThere:
    """A table as the database has it.

    Parameters
    ----------
    kind
        ``table`` or ``view``.
    key
        Columns of its primary key; empty where it has none.
    followed_by
        Other tables whose rows change when rows of this one are deleted.
    """

    kind: str
    columns: Mapping[str, ColumnThere]
    key: Sequence[str] = ()
    followed_by: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """What is done to a table, and why it cannot be done.

    Parameters
    ----------
    create
        Whether the table is missing.
    added
        Columns that the table lacks.
    left_empty
        Columns of the table that the contract does not have: they stay, and get their default or null.
    problems
        One sentence for each thing that a person has to settle first.
    """

    create: bool = False
    added: tuple[Column, ...] = ()
    left_empty: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.create or bool(self.added)


def compare(
    contract: TableContract, name: str, there: TableThere | None, wanted: Mapping[str, str], keep_dropped: bool
) -> Changes:
    """Compare a table with its contract.

    Parameters
    ----------
    contract
        What it should be.
    name
        What the database calls it; for the messages.
    there
        What it is; None if it is missing.
    wanted
        Type of each column of the contract, as the database writes it.
    keep_dropped
        Whether a column that the contract does not have stays; otherwise it is a problem.
    """
    if there is None:
        return Changes(create=True)
    if there.kind != "table":
        return Changes(problems=(f"{name} is a {there.kind} there: rename or drop it.",))
    others = [column for column in there.columns if column not in contract.column_names]
    return Changes(
        added=tuple(column for column in contract.columns if column.name not in there.columns),
        left_empty=tuple(others),
        problems=(
            *_of_types(name, there, wanted),
            *_of_keys(contract, name, there),
            *_of_others(name, there, others, keep_dropped),
            *(
                f"{table} has a foreign key to {name} that deletes or clears its rows, and publishing replaces rows: "
                "make the key deferrable, without an action on delete."
                for table in there.followed_by
            ),
        ),
    )


def _of_types(name: str, there: TableThere, wanted: Mapping[str, str]) -> list[str]:
    return [
        f"{name}.{column} is {there.columns[column].type} there and has to be {type_}: alter its type, or drop the "
        "column, and it is made anew."
        for column, type_ in wanted.items()
        if column in there.columns and there.columns[column].type != type_
    ]


def _of_keys(contract: TableContract, name: str, there: TableThere) -> list[str]:
    missing = [column for column in contract.key if column not in there.columns]
    if missing:
        return [f"{name} has no column {', '.join(missing)}, which is its key: rename or drop the table."]
    if there.key and set(there.key) != set(contract.key):
        return [
            f"the primary key of {name} is ({', '.join(there.key)}) there and has to be ({', '.join(contract.key)}): "
            "drop that constraint."
        ]
    return []


def _of_others(name: str, there: TableThere, others: Sequence[str], keep_dropped: bool) -> list[str]:
    if not keep_dropped:
        return [
            f"{name}.{column} is there, but no column of the contract any more: drop it, or set "
            "CLUSTERING_PUBLISH_DROPPED_COLUMNS to keep."
            for column in others
        ]
    return [
        f"{name}.{column} must not be null there, and the contract has no value for it: give it a default, or let it "
        "be null."
        for column in others
        if there.columns[column].must_be_given
    ]
