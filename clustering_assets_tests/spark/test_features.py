"""Every column of silver on Spark, in its ANSI mode, against the oracle; the tests of `features` do so at length."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ibis.backends import BaseBackend

from clustering_assets.contracts import ORDER_LINES
from clustering_assets.features.customer_features import customer_features
from clustering_assets_tests.awkward_lines import EARLIER_AS_OF, awkward_lines, order_lines_strategy
from clustering_assets_tests.engines import ENGINES, assert_same, fetch, table_of
from clustering_assets_tests.oracle import FEATURE_COLUMNS, expected_features


@pytest.fixture(scope="module")
def engine() -> Iterator[BaseBackend]:
    started = ENGINES["spark"]()
    yield started
    started.disconnect()


def assert_as_expected(engine: BaseBackend, lines: pd.DataFrame, as_of: object = None) -> None:
    features = customer_features(table_of(lines, ORDER_LINES.columns), as_of)  # type: ignore[arg-type]
    assert_same(fetch(engine, features, FEATURE_COLUMNS, by="customer_id"), expected_features(lines, as_of))  # type: ignore[arg-type]


def test_what_divides_by_zero_is_an_error_and_not_null(engine: BaseBackend) -> None:
    with pytest.raises(Exception, match="DIVIDE_BY_ZERO"):
        engine.raw_sql("select 1 / 0").collect()


def test_awkward_lines_as_of_a_day(engine: BaseBackend) -> None:
    assert_as_expected(engine, awkward_lines(seed=1), EARLIER_AS_OF)


@settings(max_examples=1, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(shops=st.lists(order_lines_strategy(), min_size=20, max_size=20))
def test_any_lines_of_many_small_shops_together(engine: BaseBackend, shops: list[pd.DataFrame]) -> None:
    named = [shop.assign(customer_id=f"{number}-" + shop["customer_id"]) for number, shop in enumerate(shops)]
    assert_as_expected(engine, pd.concat([*named, awkward_lines(seed=5)], ignore_index=True))
