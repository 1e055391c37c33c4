"""What of silver other backends of Ibis compute, with the expressions as they stand: what fails is said here, and why.

``python -m clustering_assets_tests.other_backends > docs/backends.md`` makes the page of it. The tests hold it against
the backends themselves.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis.backends import BaseBackend

from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    DROPPED_CUSTOMERS,
    IMPUTATION_LOG,
    IMPUTED_FEATURES,
    Column,
    TableContract,
)
from clustering_assets.features import customer_features as silver
from clustering_assets.imputation import impute
from clustering_assets_tests.engines import assert_same, fetch
from clustering_assets_tests.oracle import FEATURE_COLUMNS, ExpectedImputation

IMPUTATION: dict[str, TableContract] = {
    "features": CUSTOMER_FEATURES,
    "log": IMPUTATION_LOG,
    "dropped": DROPPED_CUSTOMERS,
    "imputed": IMPUTED_FEATURES,
}
"""The tables that imputation makes, by their names in `Imputed`."""

FEATURE_GROUPS = {
    group: tuple(column.name for column in FEATURE_COLUMNS if column.group == group)
    for group in dict.fromkeys(column.group for column in FEATURE_COLUMNS)
}
"""Group of features -> its columns; "" for the ids."""

_LEANED_ON = ("", "volume", "returns", "timing", "record")
"""The groups without which no other can be computed."""

_PARTS = {**FEATURE_GROUPS, "imputation": tuple(contract.qualified_name for contract in IMPUTATION.values())}


@dataclass(frozen=True)
class Obstacle:
    """Why a backend does not compute something.

    Parameters
    ----------
    error
        What the failure says, or a part of it; ``differs`` where there is a value, and another one than it should be.
    why
        The reason, as a sentence of the page.
    """

    error: str
    why: str


_ORDER_OF_TEXT = Obstacle(
    "differs",
    "Orders of the same moment follow each other by order id, and this database sorts ids as English words: `a` before "
    "`B`. Make the database with the collation C (`template template0 locale 'C'`), which compares code points as the "
    "other engines do.",
)
_NO_QUANTILE = Obstacle(
    "'Quantile' operation is not defined",
    "The price from which a unit is expensive is a quantile, which Ibis does not define for SQLite; the group is one "
    "query, so that all of it is refused. The price is in a table of one row, which `keep` of `customer_features` may "
    "take from elsewhere: with that row made by DuckDB, SQLite computes every column.",
)
_NO_WINDOWS = Obstacle(
    "WindowFunction",
    "Ibis does not define window functions for Polars, and customers are numbered by one. Imputation needs none.",
)

OBSTACLES: dict[str, dict[str, Obstacle]] = {
    "PostgreSQL": {},
    "PostgreSQL, English order": {"mean_return_streak": _ORDER_OF_TEXT},
    "SQLite": dict.fromkeys(FEATURE_GROUPS["monetary"], _NO_QUANTILE),
    "Polars": dict.fromkeys((column.name for column in FEATURE_COLUMNS), _NO_WINDOWS),
}
"""Backend -> column or table that it does not compute as the oracle does -> why."""


def feature_failures(
    engine: BaseBackend, lines: ir.Table, as_of: dt.date | None, expected: pd.DataFrame
) -> dict[str, str]:
    """Compute the features at once or, if that fails, group by group; return what went wrong, by column."""

    def attempt(groups: Iterable[str]) -> dict[str, str]:
        return _failures_of(engine, lines, as_of, expected, frozenset(groups))

    whole = attempt(FEATURE_GROUPS)
    if len(whole) < len(FEATURE_COLUMNS):
        return whole
    failures = attempt(_LEANED_ON)
    if len(failures) == sum(len(FEATURE_GROUPS[group]) for group in _LEANED_ON):
        return whole
    for group in (group for group in FEATURE_GROUPS if group not in _LEANED_ON):
        some = attempt((*_LEANED_ON, group))
        failures |= {name: some[name] for name in FEATURE_GROUPS[group] if name in some}
    return failures


def imputation_failures(engine: BaseBackend, features: ir.Table, expected: ExpectedImputation) -> dict[str, str]:
    """Impute features that are in a table; return what went wrong, by the table that imputation makes."""
    failures = {}
    imputed = impute(features)
    for name, contract in IMPUTATION.items():
        columns = FEATURE_COLUMNS if contract is CUSTOMER_FEATURES else contract.columns
        by = "customer_id" if "customer_id" in contract.column_names else None
        try:
            assert_same(fetch(engine, getattr(imputed, name), columns, by=by), getattr(expected, name))
        except Exception as error:
            failures[contract.qualified_name] = _in_words(error)
    return failures


def surprises(failures: Mapping[str, str], obstacles: Mapping[str, Obstacle]) -> list[str]:
    """Say what fails though it is said to pass, what passes though it is said to fail, and what fails otherwise."""
    return [
        *(f"{name} fails: {failures[name]}" for name in failures if name not in obstacles),
        *(f"{name} passes: take its obstacle away" for name in obstacles if name not in failures),
        *(
            f"{name} fails otherwise than by {obstacles[name].error!r}: {failure}"
            for name, failure in failures.items()
            if name in obstacles and obstacles[name].error not in failure
        ),
    ]


def _failures_of(
    engine: BaseBackend, lines: ir.Table, as_of: dt.date | None, expected: pd.DataFrame, groups: frozenset[str]
) -> dict[str, str]:
    """Compute groups of features in one query; return what went wrong, by column."""
    with _made_of(groups) as columns:
        try:
            actual = fetch(engine, silver.customer_features(lines, as_of), columns, by="customer_id")
        except Exception as error:
            return {column.name: _in_words(error) for column in columns}
    failures = {}
    for column in columns:
        try:
            assert_same(actual[[column.name]], expected[[column.name]])
        except AssertionError as error:
            failures[column.name] = f"differs: {_in_words(error)}"
    return failures


@contextmanager
def _made_of(groups: frozenset[str]) -> Iterator[tuple[Column, ...]]:
    """Make silver of some groups alone, and give its columns."""
    columns = tuple(column for column in FEATURE_COLUMNS if column.group in groups)
    contract = replace(CUSTOMER_FEATURES, columns=(*columns, CUSTOMER_FEATURES.columns[-1]))
    modules = [module for module in silver._GROUPS if module.__name__.rpartition(".")[2] in groups]
    with patch.multiple(silver, _GROUPS=modules, CUSTOMER_FEATURES=contract):
        yield columns


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def render_page() -> str:
    """Write docs/backends.md."""
    parts = [
        [part or "ids", *(_cell(names, obstacles) for obstacles in OBSTACLES.values())]
        for part, names in _PARTS.items()
    ]
    reasons = [
        [backend, _columns(obstacles, obstacle), obstacle.why]
        for backend, obstacles in OBSTACLES.items()
        for obstacle in dict.fromkeys(obstacles.values())
    ]
    return _PAGE.format(
        ibis=ibis.__version__,
        table=_table(["of silver", *OBSTACLES], parts),
        reasons=_table(["backend", "what", "why"], reasons),
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def _cell(names: tuple[str, ...], obstacles: Mapping[str, Obstacle]) -> str:
    passing = sum(name not in obstacles for name in names)
    return f"all {len(names)}" if passing == len(names) else f"**{passing or 'none'} of {len(names)}**"


def _columns(obstacles: Mapping[str, Obstacle], obstacle: Obstacle) -> str:
    names = [name for name in obstacles if obstacles[name] is obstacle]
    return "every feature" if len(names) == len(FEATURE_COLUMNS) else ", ".join(f"`{name}`" for name in names)


_PAGE = """\
# Other backends

<!-- Made by `python -m clustering_assets_tests.other_backends`; a test keeps it in step. -->

The features and their imputation are [Ibis](https://ibis-project.org) expressions that name no engine. Whether more
than the [engines of the project](extending.md#add-an-engine) can compute them is tested: the expressions, as they
stand, go to backends that are no engine here, with customers made to be awkward, and every column is compared with the
plain computation that all engines are compared with, to nine digits. The test fails where something passes that is
said to fail here, as well as the other way round.

So many columns come out as they should with Ibis {ibis}, and of imputation so many tables:

{table}

What does not, and why:

{reasons}

What came of it:

- The number of imputed features was a sum of conditions cast to integers, which PostgreSQL refuses; it is a sum of ones
  now.
- The price from which a unit is expensive is measured by the group that needs it, so that a missing quantile stops that
  group and no other. DuckDB gets the same SQL as before.
- A quantile made of counts per price would compile everywhere. It stays a quantile: on DuckDB, with four million lines,
  the counts take a third of the processor time where there are a thousand different prices, and ten times as much where
  each line has another price; and the last digit can be another one.

DataFusion is not among them: Ibis {ibis} cannot connect to its version 52 or newer, and with an older one it defines no
quantile, and the seconds of a date, on which calendar days rest, fail.

To try another one, give it a name in `OBSTACLES` of `clustering_assets_tests/other_backends.py` and a connection in
`clustering_assets_tests/features/test_other_backends.py`: the test says what fails.
"""


if __name__ == "__main__":
    sys.stdout.write(render_page())
