"""Gold of many customers, in a real warehouse, is what one machine makes of them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    CUSTOMER_REASONS,
    CUSTOMER_SEGMENTS,
    IMPUTED_FEATURES,
    SCALED_FEATURES,
    SEGMENT_CHANGES,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    TableContract,
)
from clustering_assets.gold import Request, Segmentation, apply_model, read_earlier_fit, segment, write_gold
from clustering_assets.spark.gold import segment_many, write_customers
from clustering_assets.warehouse import Warehouse, table
from clustering_assets_tests.conftest import Shop

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TABLES = (
    SCALED_FEATURES,
    CUSTOMER_SEGMENTS,
    CUSTOMER_REASONS,
    SEGMENT_PROFILES,
    SEGMENT_CHANGES,
    SEGMENT_MODEL,
)
OF_THE_SAMPLE = {
    "map_x",
    "map_y",
    "rule",
    "rule_precision",
    "rule_recall",
    "silhouette",
    "stability",
    "k_distance_curve",
}
"""What stability, rules, silhouettes and the map say of a sample may differ from what they say of everybody."""


def asked(max_fit_rows: int) -> Request:
    return Request(
        {"scaling": "standard", "n_clusters": 3, "min_samples": 4, "max_fit_rows": max_fit_rows, "random_state": 0},
        {"perplexity": 5.0, "max_landmarks": 20},
        stability_resamples=2,
        input_version="input",
        model_run_id="0123456789abcdef",
        now=datetime(2026, 1, 2, 3, 4, 5),
    )


def on_one_machine(shop: Shop, request: Request) -> Segmentation:
    with shop.warehouse.connect() as backend:
        imputed = table(backend, IMPUTED_FEATURES).to_pandas().set_index("customer_id")["imputed"]
        customers = table(backend, CUSTOMER_FEATURES).order_by("customer_id").to_pandas()
        earlier = read_earlier_fit(backend, shop.home)
        found = segment(customers, imputed, request, earlier)
        write_gold(backend, shop.home, found, earlier, "alone")
    return found


def on_spark(session: SparkSession, shop: Shop, request: Request, folder: Path) -> Segmentation:
    with shop.warehouse.connect() as backend:
        earlier = read_earlier_fit(backend, shop.home)
        write_customers(backend, folder / "customers")
    found = segment_many(session, folder / "customers", folder / "made", request, earlier)
    with shop.warehouse.connect() as backend:
        write_gold(backend, shop.home, found, earlier, "many")
    return found


def rows_of(warehouse: Warehouse, contract: TableContract) -> pd.DataFrame:
    with warehouse.connect() as backend:
        return table(backend, contract).order_by(list(contract.key)).to_pandas()


@pytest.mark.parametrize("max_fit_rows", [1_000, 40])
def test_the_tables_are_those_of_one_machine(spark: SparkSession, ran: Shop, tmp_path: Path, max_fit_rows: int) -> None:
    """Whether everybody is fitted or a sample: identities and contracts hold, or nothing would have been written."""
    (tmp_path / "copy").mkdir()
    many, alone = ran, ran.copied_to(tmp_path / "copy")
    on_one_machine(alone, asked(max_fit_rows))
    found = on_spark(spark, many, asked(max_fit_rows), tmp_path)
    assert not [each for each in (SCALED_FEATURES, CUSTOMER_SEGMENTS, CUSTOMER_REASONS) if not _is_query(found, each)]
    customers = len(rows_of(many.warehouse, CUSTOMER_FEATURES))
    left_out = OF_THE_SAMPLE if max_fit_rows < customers else set()
    for contract in TABLES:
        here, there = (
            rows_of(each.warehouse, contract).drop(columns=left_out, errors="ignore") for each in (many, alone)
        )
        pd.testing.assert_frame_equal(here, there, check_exact=False, rtol=0, atol=1e-6, obj=contract.name)


def _is_query(found: Segmentation, contract: TableContract) -> bool:
    return isinstance(found.tables[contract], str)


def test_the_next_fit_goes_on_from_the_one_before_and_the_model_can_be_applied(
    spark: SparkSession, ran: Shop, tmp_path: Path
) -> None:
    first = on_spark(spark, ran, asked(40), tmp_path / "first")
    before = rows_of(ran.warehouse, CUSTOMER_SEGMENTS)
    request = asked(40)
    again = on_spark(spark, ran, Request(**{**asdict(request), "model_run_id": "fedcba9876543210"}), tmp_path / "again")
    assert again.facts.segment_ids == first.facts.segment_ids
    now = rows_of(ran.warehouse, CUSTOMER_SEGMENTS)
    assert now["segment_id"].tolist() == before["segment_id"].tolist()
    assert rows_of(ran.warehouse, SEGMENT_CHANGES).empty
    customers = rows_of(ran.warehouse, CUSTOMER_FEATURES)
    applied = apply_model(ran.home, "fedcba9876543210", customers, request.now)
    assert applied["segment_id"].tolist() == now["segment_id"].tolist()
    columns: list[Any] = applied["confidence"].tolist()
    assert columns == pytest.approx(now["confidence"].tolist(), abs=1e-9)
