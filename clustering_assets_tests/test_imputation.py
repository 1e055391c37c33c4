from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import ibis.expr.types as ir
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from ibis.backends import BaseBackend

from clustering_assets.contracts import CLUSTERING_FEATURES, DROPPED_CUSTOMERS, IMPUTATION_LOG, IMPUTED_FEATURES
from clustering_assets.imputation import Imputed, impute
from clustering_assets_tests.awkward_lines import EARLIER_AS_OF, awkward_lines, order_lines_strategy
from clustering_assets_tests.engines import ENGINES, EVERY_ENGINE, assert_same, fetch, prepare
from clustering_assets_tests.oracle import (
    FEATURE_COLUMNS,
    ExpectedImputation,
    expected_features,
    expected_imputation,
)


class Imputer:
    """Imputes features on one engine."""

    def __init__(self, engine: BaseBackend) -> None:
        self.engine = engine
        self.tables = prepare(engine, "features", FEATURE_COLUMNS, lambda features: by_name(impute(features)))

    def __call__(self, features: pd.DataFrame) -> ExpectedImputation:
        tables = self.tables(features)
        return ExpectedImputation(
            features=fetch(self.engine, tables["features"], FEATURE_COLUMNS, by="customer_id"),
            log=fetch(self.engine, tables["log"], IMPUTATION_LOG.columns),
            dropped=fetch(self.engine, tables["dropped"], DROPPED_CUSTOMERS.columns, by="customer_id"),
            imputed=fetch(self.engine, tables["imputed"], IMPUTED_FEATURES.columns, by="customer_id"),
        )


def by_name(imputed: Imputed) -> dict[str, ir.Table]:
    return {field.name: getattr(imputed, field.name) for field in fields(imputed)}


@pytest.fixture(scope="module", params=EVERY_ENGINE)
def imputer(request: pytest.FixtureRequest) -> Iterator[Imputer]:
    engine = ENGINES[request.param]()
    yield Imputer(engine)
    engine.disconnect()


def assert_as_expected(actual: ExpectedImputation, expected: ExpectedImputation) -> None:
    assert_same(actual.features, expected.features)
    assert_same(actual.log, expected.log)
    assert_same(actual.dropped, expected.dropped)
    assert_same(actual.imputed, expected.imputed)


def test_all_four_tables_equal_the_oracle_on_awkward_lines(imputer: Imputer) -> None:
    lines = awkward_lines(seed=1)
    features = expected_features(lines)
    assert_as_expected(imputer(features), expected_imputation(features, lines["customer_id"].value_counts()))


def test_lines_after_the_configured_day_are_not_counted_for_dropped_customers(imputer: Imputer) -> None:
    lines = awkward_lines(seed=1, customers=0)
    seen = lines[~(lines["order_date"].dt.date > EARLIER_AS_OF)]
    features = expected_features(lines, EARLIER_AS_OF)
    assert_as_expected(imputer(features), expected_imputation(features, seen["customer_id"].value_counts()))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines=order_lines_strategy())
def test_all_four_tables_equal_the_oracle_on_any_lines(imputer: Imputer, lines: pd.DataFrame) -> None:
    features = expected_features(lines)
    assert_as_expected(imputer(features), expected_imputation(features, lines["customer_id"].value_counts()))


def test_no_customers_leave_a_log_of_nothing(imputer: Imputer) -> None:
    imputed = imputer(expected_features(awkward_lines(seed=1, customers=0)).head(0))
    assert imputed.features.empty
    assert imputed.dropped.empty
    assert (imputed.log[["nulls_found", "values_filled"]] == 0).all(axis=None)


def test_a_mean_between_two_counts_is_rounded_to_the_even_one(imputer: Imputer) -> None:
    features = expected_features(awkward_lines(seed=1, customers=0)).dropna(subset=["lifetime_days"]).head(3)
    for counts, filled in (([0, 1], 0), ([1, 2], 2), ([2, 3], 2), ([1, 3], 2), ([0, 7], 4)):
        features["recent_order_count"] = pd.array([*counts, None], dtype="Int64")
        imputed = imputer(features)
        assert sorted(imputed.features["recent_order_count"]) == sorted([*counts, filled])
        assert imputed.log.set_index("feature").loc["recent_order_count", "fill_value"] == sum(counts) / 2


def test_accounts_add_up(imputer: Imputer) -> None:
    features = expected_features(awkward_lines(seed=4))
    imputed = imputer(features)
    assert len(features) == len(imputed.features) + len(imputed.dropped)
    assert imputed.imputed["imputed_count"].sum() == imputed.log["values_filled"].sum()
    assert (imputed.log["values_filled"] <= imputed.log["nulls_found"]).all()
    names = {column.name for column in CLUSTERING_FEATURES}
    assert set(";".join(imputed.imputed["imputed"]).split(";")) <= names | {""}
