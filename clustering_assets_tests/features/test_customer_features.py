from __future__ import annotations

import ast
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import ibis.expr.types as ir
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ibis.backends import BaseBackend

import clustering_assets.features
from clustering_assets.contracts import CLUSTERING_FEATURES, CUSTOMER_FEATURES, ORDER_LINES
from clustering_assets.features.customer_features import customer_features
from clustering_assets.imputation import impute
from clustering_assets_tests.awkward_lines import AS_OF, EARLIER_AS_OF, awkward_lines, order_lines_strategy
from clustering_assets_tests.engines import ENGINES, EVERY_ENGINE, assert_same, fetch, prepare, table_of
from clustering_assets_tests.oracle import FEATURE_COLUMNS, expected_features

FIXED_DAY = dt.date(2024, 2, 1)
SHOP_DEPENDENT = [
    "high_value_return_affinity",
    "high_return_category_affinity",
    "category_order_trend",
    "category_return_trend",
]
few_examples = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Silver:
    """Computes the features of order lines on one engine."""

    def __init__(self, engine: BaseBackend) -> None:
        self.engine = engine
        self.by_day = {
            day: prepare(engine, f"lines_{day or 'latest'}".replace("-", "_"), ORDER_LINES.columns, build)
            for day, build in {
                None: lambda lines: {
                    "all": customer_features(lines),
                    "imputed": impute(customer_features(lines)).features,
                },
                FIXED_DAY: lambda lines: {"all": customer_features(lines, FIXED_DAY)},
            }.items()
        }

    def features(self, lines: pd.DataFrame, as_of: dt.date | None = None) -> pd.DataFrame:
        return self.fetch(self.by_day[as_of](lines)["all"])

    def imputed(self, lines: pd.DataFrame) -> pd.DataFrame:
        return self.fetch(self.by_day[None](lines)["imputed"])

    def fetch(self, table: ir.Table) -> pd.DataFrame:
        return fetch(self.engine, table, FEATURE_COLUMNS, by="customer_id")


@pytest.fixture(scope="module", params=EVERY_ENGINE)
def silver(request: pytest.FixtureRequest) -> Iterator[Silver]:
    engine = ENGINES[request.param]()
    yield Silver(engine)
    engine.disconnect()


@pytest.mark.parametrize("as_of", [None, AS_OF, EARLIER_AS_OF])
def test_every_column_equals_the_oracle_on_awkward_lines(silver: Silver, as_of: dt.date | None) -> None:
    lines = awkward_lines(seed=1)
    features = silver.fetch(customer_features(table_of(lines, ORDER_LINES.columns), as_of))
    assert_same(features, expected_features(lines, as_of))


@pytest.mark.parametrize("missing", ["with_values", "with_categories"])
def test_every_column_equals_the_oracle_where_a_source_lacks_a_column(silver: Silver, missing: str) -> None:
    lines = awkward_lines(seed=2, customers=20, **{missing: False})
    assert_same(silver.features(lines), expected_features(lines))


@settings(few_examples, max_examples=30)
@given(lines=order_lines_strategy(), as_of=st.sampled_from([None, FIXED_DAY]))
def test_every_column_equals_the_oracle_on_any_lines(
    silver: Silver, lines: pd.DataFrame, as_of: dt.date | None
) -> None:
    assert_same(silver.features(lines, as_of), expected_features(lines, as_of))


def test_no_lines_make_no_customers(silver: Silver) -> None:
    assert silver.features(awkward_lines(seed=1, customers=0).head(0)).empty


def test_kept_tables_give_the_same_features(silver: Silver) -> None:
    lines = awkward_lines(seed=3)
    kept: list[str] = []

    def keep(table: ir.Table, name: str) -> ir.Table:
        kept.append(name)
        return silver.engine.create_table(f"kept_{name}", table, overwrite=True)

    features = silver.fetch(customer_features(table_of(lines, ORDER_LINES.columns), FIXED_DAY, keep))
    assert_same(features, silver.features(lines, FIXED_DAY))
    assert len(set(kept)) == len(kept) > 0


@few_examples
@given(lines=order_lines_strategy(), seed=st.integers(0, 2**16))
def test_the_order_of_the_rows_does_not_matter(silver: Silver, lines: pd.DataFrame, seed: int) -> None:
    shuffled = lines.sample(frac=1, random_state=seed)
    assert_same(silver.features(shuffled), silver.features(lines))


@few_examples
@given(lines=order_lines_strategy().filter(lambda lines: lines["customer_id"].nunique() > 1))
def test_another_customers_lines_change_only_what_compares_with_the_shop(silver: Silver, lines: pd.DataFrame) -> None:
    others = lines["customer_id"] != lines["customer_id"].iloc[0]
    alone = silver.features(lines[others], FIXED_DAY)
    together = silver.features(lines, FIXED_DAY)
    together = together[together["customer_id"].isin(alone["customer_id"])].reset_index(drop=True)
    assert_same(together.drop(columns=SHOP_DEPENDENT), alone.drop(columns=SHOP_DEPENDENT))


@few_examples
@given(lines=order_lines_strategy())
def test_imputed_values_keep_the_bounds_of_the_contract(silver: Silver, lines: pd.DataFrame) -> None:
    features = silver.imputed(lines)
    for column in CUSTOMER_FEATURES.columns:
        if column.minimum is not None:
            assert (features[column.name].dropna() >= column.minimum).all(), column.name
        if column.maximum is not None:
            assert (features[column.name].dropna() <= column.maximum).all(), column.name
    for column in CLUSTERING_FEATURES:
        known = features[column.name].notna()
        assert known.all() or not known.any(), f"{column.name} is null for some customers only"


def test_no_module_of_the_features_names_an_engine_or_the_orchestrator() -> None:
    allowed = {"__future__", "collections", "datetime", "functools", "operator", "ibis", "clustering_assets"}
    for module in Path(clustering_assets.features.__path__[0]).glob("*.py"):
        text = module.read_text()
        for word in ("duckdb", "spark", "sql", "dagster"):
            assert word not in text.lower(), f"{module.name} names {word}"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                assert str(node.module).partition(".")[0] in allowed, module.name
            if isinstance(node, ast.Import):
                assert {name.name.partition(".")[0] for name in node.names} <= allowed, module.name
