"""What Spark says of each customer is what one machine says, wherever the customer's row is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from sklearn.cluster import KMeans

from clustering_assets.segmentation.facts import FEATURES
from clustering_assets.segmentation.hybrid import OUTLIER, HybridSegmenter
from clustering_assets.segmentation.map import CustomerMap
from clustering_assets.segmentation.model_file import UnusableModel, packed, unpacked, versions_here
from clustering_assets.segmentation.sampling import STRATA, Directions, spread_sample
from clustering_assets.segmentation.sub_segments import sub_segments_of
from clustering_assets.spark import assignment
from clustering_assets.spark.assignment import Fitted, assigned, stratified_sample
from clustering_assets_tests.segmentation.planted import shoppers

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CUSTOMERS = 700
LANDMARKS = 150


@pytest.fixture(scope="module")
def customers() -> pd.DataFrame:
    """Customers in the order of their ids, two of them with a feature that is not known."""
    features, _ = shoppers(CUSTOMERS, seed=3)
    features.loc[[5, 9], ["return_rate", "order_count"]] = np.nan
    return features.assign(customer_id=[f"c{number:05}" for number in range(CUSTOMERS)], quality_flags="")


@pytest.fixture(scope="module")
def fitted(customers: pd.DataFrame) -> Fitted:
    """A model, one of its segments divided, and a map, all of them fitted on some of the customers."""
    features = customers[FEATURES]
    segmenter = HybridSegmenter(random_state=0, n_clusters=4, max_fit_rows=500).fit(features)
    within = HybridSegmenter(random_state=0, n_clusters=2).fit(features.to_numpy()[segmenter.labels_ == 1])
    landmarks = np.arange(0, CUSTOMERS, CUSTOMERS // LANDMARKS)
    place = CustomerMap.fit(segmenter.transform(features)[landmarks], are_all=False)
    return Fitted(segmenter, {1: within}, place, tuple(customers["customer_id"].iloc[landmarks]))


@pytest.fixture(scope="module")
def rows(spark: SparkSession, customers: pd.DataFrame) -> DataFrame:
    return spark.createDataFrame(pa.Table.from_pandas(customers, preserve_index=False))


def collected(rows: DataFrame) -> pd.DataFrame:
    frame: pd.DataFrame = rows.toArrow().sort_by("customer_id").to_pandas()
    return frame


def assert_alike(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=0, atol=1e-9, check_dtype=False)


@pytest.fixture(scope="module")
def found(rows: DataFrame, fitted: Fitted) -> pd.DataFrame:
    """Everybody as Spark assigns them, in three partitions."""
    return collected(assigned(rows.repartition(3, "customer_id"), fitted))


def test_every_customer_gets_what_one_machine_gives(
    customers: pd.DataFrame, fitted: Fitted, found: pd.DataFrame
) -> None:
    features = customers[FEATURES]
    alone = fitted.segmenter.assign(features)
    assert found["label"].tolist() == alone.labels.tolist()
    assert set(found["label"]) == {OUTLIER, 0, 1, 2, 3}
    parts = sub_segments_of(features, alone.labels, fitted.within)
    assert found["sub_segment"].tolist() == parts.tolist()
    assert set(parts) == {OUTLIER, 0, 1}
    np.testing.assert_allclose(found["confidence"], alone.confidence, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found["outlier_score"], alone.outlier_score, rtol=0, atol=1e-9)
    scaled = found[[f"{name}_scaled" for name in FEATURES]]
    np.testing.assert_allclose(scaled, fitted.segmenter.transform(features), rtol=0, atol=1e-9)


def test_what_stood_in_a_row_still_stands_there(customers: pd.DataFrame, found: pd.DataFrame) -> None:
    assert_alike(found[customers.columns.tolist()], customers)


def test_landmarks_stay_where_they_are_and_others_are_placed_among_them(
    customers: pd.DataFrame, fitted: Fitted, found: pd.DataFrame
) -> None:
    assert fitted.map is not None
    scaled = fitted.segmenter.transform(customers[FEATURES])
    landmark = customers["customer_id"].isin(fitted.landmark_ids)
    place = found[["map_x", "map_y"]]
    np.testing.assert_array_equal(place[landmark], fitted.map.places)
    np.testing.assert_allclose(place[~landmark], fitted.map.place(scaled[~landmark]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("partitions", "batch"), [(1, 10_000), (9, 7)])
def test_it_does_not_matter_who_else_is_in_a_batch(
    spark: SparkSession, rows: DataFrame, fitted: Fitted, found: pd.DataFrame, partitions: int, batch: int
) -> None:
    setting = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(setting)
    spark.conf.set(setting, str(batch))
    try:
        again = collected(assigned(rows.repartition(partitions), Fitted(fitted.segmenter, fitted.within)))
    finally:
        spark.conf.set(setting, str(before))
    assert again[["map_x", "map_y"]].isna().all(axis=None)
    assert_alike(again.drop(columns=["map_x", "map_y"]), found.drop(columns=["map_x", "map_y"]))


def test_partitions_without_customers_do_no_harm(rows: DataFrame, fitted: Fitted) -> None:
    alone = Fitted(fitted.segmenter)
    assert assigned(rows.limit(2).repartition(5), alone).count() == 2
    nobody = assigned(rows.limit(0), alone)
    assert nobody.count() == 0
    assert {*assignment.ASSIGNED_COLUMNS} < {*nobody.columns}


@pytest.mark.parametrize("partitions", [1, 4])
def test_the_sample_is_the_one_that_one_machine_draws(
    rows: DataFrame, customers: pd.DataFrame, partitions: int
) -> None:
    sample = stratified_sample(rows.repartition(partitions), 150, random_state=4)
    expected = spread_sample(customers[FEATURES].to_numpy(), 150, np.random.RandomState(4))
    assert_alike(sample, customers.iloc[expected].reset_index(drop=True))


def test_few_customers_are_all_in_the_sample(rows: DataFrame, customers: pd.DataFrame) -> None:
    assert_alike(stratified_sample(rows, CUSTOMERS, random_state=0), customers)


def test_a_model_of_the_sample_is_that_of_everybody(rows: DataFrame, customers: pd.DataFrame) -> None:
    """Fitted on what Spark draws, the model is the one that one machine fits on all of them."""
    parameters: dict[str, Any] = {"random_state": 0, "n_clusters": 4, "max_fit_rows": 300}
    everybody = HybridSegmenter(**parameters).fit(customers[FEATURES])
    sample = stratified_sample(rows, 300, random_state=0)
    of_sample = HybridSegmenter(**parameters).fit(sample[FEATURES], is_sample=True)
    assert of_sample.eps_ == pytest.approx(everybody.eps_, abs=1e-9)
    assert of_sample.predict(customers[FEATURES]).tolist() == everybody.labels_.tolist()


def test_of_many_customers_the_sample_is_bounded_and_spread(
    monkeypatch: pytest.MonkeyPatch, rows: DataFrame, customers: pd.DataFrame
) -> None:
    """With strata learnt from less than half of the customers, each still sends its share."""
    monkeypatch.setattr(assignment, "PILOT_ROWS", 300)
    sample = stratified_sample(rows, 200, random_state=1)
    assert len(sample) == 200
    assert sample["customer_id"].is_unique
    assert_alike(sample, stratified_sample(rows.repartition(5), 200, random_state=1))
    directions = Directions.of(customers[FEATURES].to_numpy())
    share = [
        np.bincount(directions.strata(directions.places(each[FEATURES].to_numpy())) * 5 // STRATA, minlength=5)
        / len(each)
        for each in (sample, customers)
    ]
    assert np.abs(share[0] - share[1]).max() < 0.03  # by chance alone, one in three samples would be off by more


def test_a_model_that_does_not_belong_there_is_refused(fitted: Fitted) -> None:
    content = packed([fitted.segmenter])
    [again] = unpacked(content, versions_here())
    assert again.eps_ == fitted.segmenter.eps_
    with pytest.raises(UnusableModel, match="cannot be used"):
        unpacked(content[: len(content) // 2], versions_here())
    with pytest.raises(UnusableModel, match=r"scikit-learn 0\.1"):
        unpacked(content, {**versions_here(), "scikit-learn": "0.1"})


class Foreign:
    """Nothing that a model has in it."""


def test_types_that_are_not_trusted_are_not_made() -> None:
    with pytest.raises(UnusableModel, match="Foreign"):
        unpacked(skops.io.dumps([Foreign(), KMeans()]), versions_here())


def test_an_executor_refuses_a_broken_model_too(
    monkeypatch: pytest.MonkeyPatch, rows: DataFrame, fitted: Fitted
) -> None:
    from pyspark.errors import PythonException

    monkeypatch.setattr(assignment, "packed", lambda _: b"no model")
    with pytest.raises(PythonException, match="UnusableModel"):
        assigned(rows, fitted).count()
