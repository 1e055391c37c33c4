"""Silver on backends that are no engine of the project: what each computes is what other_backends.py says, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd
import pytest
from ibis.backends import BaseBackend

from clustering_assets.contracts import ORDER_LINES, Column
from clustering_assets.features.customer_features import customer_features
from clustering_assets_tests.awkward_lines import EARLIER_AS_OF, awkward_lines
from clustering_assets_tests.engines import assert_same, fetch, table_of
from clustering_assets_tests.oracle import FEATURE_COLUMNS, expected_features, expected_imputation
from clustering_assets_tests.other_backends import (
    OBSTACLES,
    Obstacle,
    feature_failures,
    imputation_failures,
    render_page,
    surprises,
)
from clustering_assets_tests.postgresql import Server

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"
LINES = awkward_lines(seed=1)


def in_postgresql(database: str, locale: str) -> Callable[[pytest.FixtureRequest], BaseBackend]:
    def connect(request: pytest.FixtureRequest) -> BaseBackend:
        server: Server = request.getfixturevalue("postgresql")
        server.run("postgres", f"create database {database} template template0 {locale}")
        return ibis.connect(server.url(database))

    return connect


CONNECTIONS: dict[str, Callable[[pytest.FixtureRequest], BaseBackend]] = {
    "PostgreSQL": in_postgresql("silver", "locale 'C'"),
    "PostgreSQL, English order": in_postgresql("silver_in_english", "locale_provider icu icu_locale 'en-US'"),
    "SQLite": lambda _: ibis.sqlite.connect(),
    "Polars": lambda _: ibis.polars.connect(),
}


@pytest.fixture(scope="module", params=CONNECTIONS)
def backend(request: pytest.FixtureRequest) -> Iterator[tuple[str, BaseBackend]]:
    connection = CONNECTIONS[request.param](request)
    yield request.param, connection
    connection.disconnect()


def loaded(engine: BaseBackend, name: str, frame: pd.DataFrame, columns: Sequence[Column]) -> ir.Table:
    rows = table_of(frame, columns)
    if engine.name == "sqlite":
        # Ibis gives SQLite what pandas holds, NaT and NumPy's numbers included, and it takes neither.
        text = frame.astype(dict.fromkeys(frame.select_dtypes("datetime"), "str"))
        rows = ibis.memtable(text.astype("object").where(frame.notna(), None), schema=rows.schema())
    return engine.create_table(name, rows, overwrite=True)


def test_a_backend_computes_what_it_is_said_to_and_nothing_else(backend: tuple[str, BaseBackend]) -> None:
    name, engine = backend
    lines = loaded(engine, "order_lines", LINES, ORDER_LINES.columns)
    failures: dict[str, str] = {}
    for as_of in (None,) if OBSTACLES[name] else (None, EARLIER_AS_OF):
        failures |= feature_failures(engine, lines, as_of, expected_features(LINES, as_of))
    features = expected_features(LINES)
    expected = expected_imputation(features, LINES["customer_id"].value_counts())
    failures |= imputation_failures(engine, loaded(engine, "features", features, FEATURE_COLUMNS), expected)
    assert surprises(failures, OBSTACLES[name]) == []


def test_where_only_the_quantile_is_missing_the_row_with_it_can_come_from_another_engine() -> None:
    kept: dict[str, ir.Table] = {}
    source = table_of(LINES, ORDER_LINES.columns)
    customer_features(source, EARLIER_AS_OF, lambda rows, name: kept.setdefault(name, rows))
    shop = ibis.memtable(ibis.duckdb.connect().to_pyarrow(kept["shop"]))

    engine = ibis.sqlite.connect()
    lines = loaded(engine, "order_lines", LINES, ORDER_LINES.columns)
    features = customer_features(lines, EARLIER_AS_OF, lambda rows, name: shop if name == "shop" else rows)
    actual = fetch(engine, features, FEATURE_COLUMNS, by="customer_id")
    assert_same(actual, expected_features(LINES, EARLIER_AS_OF))


def test_what_fails_is_told_for_each_column_and_does_not_hide_the_others() -> None:
    engine = ibis.duckdb.connect()
    expected = expected_features(LINES)
    expected["order_count"] += 1
    failures = feature_failures(engine, table_of(LINES, ORDER_LINES.columns), None, expected)
    assert failures.keys() == {"order_count"}
    assert failures["order_count"].startswith("differs: ")


@pytest.mark.parametrize(
    ("failures", "obstacles", "surprise"),
    [
        ({}, {}, []),
        ({"x": "Error: no y"}, {"x": Obstacle("no y", "")}, []),
        ({"x": "Error: no y"}, {}, ["x fails: Error: no y"]),
        ({}, {"x": Obstacle("no y", "")}, ["x passes: take its obstacle away"]),
        ({"x": "Error: no z"}, {"x": Obstacle("no y", "")}, ["x fails otherwise than by 'no y': Error: no z"]),
    ],
)
def test_what_is_said_and_what_is_seen_are_compared_in_both_directions(
    failures: dict[str, str], obstacles: dict[str, Obstacle], surprise: list[str]
) -> None:
    assert surprises(failures, obstacles) == surprise


def test_every_backend_that_is_written_about_is_tried() -> None:
    assert CONNECTIONS.keys() == OBSTACLES.keys()


def test_the_committed_page_says_what_the_tests_hold() -> None:
    command = "python -m clustering_assets_tests.other_backends > docs/backends.md"
    assert PAGE.read_text(encoding="utf-8") == render_page(), f"run {command}"
