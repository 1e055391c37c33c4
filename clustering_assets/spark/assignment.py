"""Gold's work on each customer, done where the customers are.

The driver pulls a bounded sample to fit on and sends out what it fitted; what the model says of a customer is worked
out beside the customer's row, batch by batch. The executors import this package. On one machine they find it in the
checkout; a cluster of several needs it with the libraries of the driver, whose versions are looked at: installed
(``pip install clustering-assets``) or sent along (``--archives`` with a packed environment; ``--py-files`` is enough
where the libraries are installed already).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from clustering_assets.contracts import CUSTOMER_REASONS
from clustering_assets.segmentation.facts import FEATURES
from clustering_assets.segmentation.hybrid import OUTLIER, HybridSegmenter
from clustering_assets.segmentation.map import CustomerMap
from clustering_assets.segmentation.model_file import packed, unpacked, versions_here
from clustering_assets.segmentation.reasons import Usual, customer_reasons
from clustering_assets.segmentation.sampling import STRATA, Directions, picked
from clustering_assets.segmentation.sub_segments import sub_segments_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FloatArray = NDArray[np.float64]

BATCH_ROWS = 20_000
"""Most customers that an executor looks at together; it bounds the memory of a task."""
PILOT_ROWS = 50_000
"""About so many customers tell in which directions all of them differ, and where the strata of the sample end."""
_HASHES = 2**63
_COLUMNS = {
    "label": pa.int64(),
    "confidence": pa.float64(),
    "outlier_score": pa.float64(),
    "sub_segment": pa.int64(),
    "map_x": pa.float64(),
    "map_y": pa.float64(),
    **{f"{name}_scaled": pa.float64() for name in FEATURES},
}
_ARROW = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
_REASONS = {
    column.name: _ARROW[column.type] for column in CUSTOMER_REASONS.columns if column.name not in CUSTOMER_REASONS.key
}
ASSIGNED_COLUMNS = tuple(_COLUMNS)
"""What `assigned` adds: the label of the segment (-1 for an outlier), how surely the customer is in it, the outlier
score, the sub-segment (-1 for none), the place on the map and the 35 scaled features."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """All that the place of a customer in gold is worked out from.

    Parameters
    ----------
    segmenter
        The model.
    within
        What divides each segment that is divided, by its label.
    map
        The map that customers are placed on; None leaves their places unknown.
    landmark_ids
        Who the landmarks of the map are, in their order: they stay where they are.
    """

    segmenter: HybridSegmenter
    within: dict[int, HybridSegmenter] = field(default_factory=dict)
    map: CustomerMap | None = None
    landmark_ids: tuple[str, ...] = ()


def stratified_sample(customers: DataFrame, size: int, random_state: int) -> pd.DataFrame:
    """Return at most ``size`` customers that stand for all, in the order of customer_id.

    The strata are those of `spread_sample`. Where they end is learnt from about ``PILOT_ROWS`` customers, whom a hash
    of their id picks: up to so many customers in all, the sample is the very one that would be drawn on one machine.
    The driver holds the pilot and the sample, each once.

    Parameters
    ----------
    customers
        ``silver.customer_features``, one row per customer; other columns come along.
    size
        Most rows of the sample.
    random_state
        Seed.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as sql

    n = customers.count()
    if n <= size:
        return _frame(_pulled(customers))
    share = sql.abs(sql.xxhash64("customer_id") / sql.lit(float(_HASHES)))
    pilot = customers if n <= PILOT_ROWS else customers.where(share < PILOT_ROWS / n)
    with threadpool_limits(1):
        directions = Directions.of(_features(_pulled(pilot.select("customer_id", *FEATURES))))

    def places(batch: pa.RecordBatch) -> dict[str, NDArray[Any]]:
        place = directions.places(_features(batch))
        return {"stratum": directions.strata(place), "second": place[:, 1]}

    columns = {"stratum": pa.int64(), "second": pa.float64()}
    placed = _with_columns(customers.select("customer_id", *FEATURES), columns, places).drop(*FEATURES).persist()
    try:
        sizes = {row["stratum"]: row["count"] for row in placed.groupBy("stratum").count().collect()}
        before = np.cumsum([0, *(sizes.get(stratum, 0) for stratum in range(STRATA))])
        taken = picked(n, size, check_random_state(random_state))
        stratum = np.searchsorted(before, taken, side="right") - 1
        wanted = pa.table({"stratum": stratum, "place": taken - before[stratum]})
        along = Window.partitionBy("stratum").orderBy("second", "customer_id")
        ranked = placed.withColumn("place", sql.row_number().over(along) - 1)
        wanted_rows = sql.broadcast(customers.sparkSession.createDataFrame(wanted))
        drawn = ranked.join(wanted_rows, ["stratum", "place"], "left_semi").select("customer_id")
        return _frame(_pulled(customers.join(drawn, "customer_id", "left_semi").select(customers.columns)))
    finally:
        placed.unpersist()


def assigned(customers: DataFrame, fitted: Fitted) -> DataFrame:
    """Return the customers with ``ASSIGNED_COLUMNS``, as the model on one machine gives them.

    Nothing is shuffled: a customer stays in the partition it is in.

    Parameters
    ----------
    customers
        As for `stratified_sample`.
    fitted
        What is sent to the executors, the models as skops bytes, which are loaded as a model file is.
    """
    map_ = fitted.map
    sent = _Sent(
        uuid4().hex,
        packed([fitted.segmenter, *fitted.within.values()]),
        versions_here(),
        tuple(fitted.within),
        None if map_ is None else (map_.landmarks, map_.places, map_.plane),
        fitted.landmark_ids,
    )
    shared = _shared(customers.sparkSession, sent)
    return _with_columns(customers, _COLUMNS, lambda batch: _columns_of(batch, _loaded(shared())))


def reasoned(
    customers: DataFrame, segmenter: HybridSegmenter, segment_ids: Mapping[int, int], usual: Usual
) -> DataFrame:
    """Return ``gold.customer_reasons`` of customers that `assigned` put into segments.

    Parameters
    ----------
    customers
        From `assigned`, or read from files that it was written to.
    segmenter
        The model.
    segment_ids
        Segment id of each label.
    usual
        What all customers are like.
    """
    centres = [segment_ids[label] for label in range(segmenter.n_clusters_)]
    projection, places = segmenter.projection_, segmenter.cluster_centers_

    def made(batch: pa.RecordBatch) -> dict[str, Any]:
        scaled = np.column_stack([batch[f"{name}_scaled"].to_numpy() for name in FEATURES])
        segments = np.array([*centres, OUTLIER])[batch["label"].to_numpy()]
        features = pd.DataFrame(_features(batch), columns=FEATURES)
        found = customer_reasons(
            batch["customer_id"].to_pylist(), scaled, segments, projection, places, centres, features, usual
        )
        return {name: pa.Array.from_pandas(found[name]) for name in _REASONS}

    return _with_columns(customers, _REASONS, made).select(*CUSTOMER_REASONS.column_names)


class _Sent(NamedTuple):
    """A `Fitted` on its way, with a name, so that a worker loads it once."""

    name: str
    models: bytes
    versions: dict[str, str]
    divided: tuple[int, ...]
    map: tuple[FloatArray, FloatArray, FloatArray | None] | None
    landmark_ids: tuple[str, ...]


_last: list[tuple[str, Fitted]] = []
"""What this worker loaded last: it serves one partition after the other."""


def _loaded(sent: _Sent) -> Fitted:
    if not _last or _last[0][0] != sent.name:
        segmenter, *within = unpacked(sent.models, sent.versions)
        map_ = None if sent.map is None else CustomerMap(*sent.map)
        fitted = Fitted(segmenter, dict(zip(sent.divided, within, strict=True)), map_, sent.landmark_ids)
        _last[:] = [(sent.name, fitted)]
    return _last[0][1]


def _columns_of(batch: pa.RecordBatch, fitted: Fitted) -> dict[str, NDArray[Any]]:
    """Return what the model says of the customers of a batch."""
    features = pd.DataFrame(_features(batch), columns=FEATURES)
    found = fitted.segmenter.assign(features)
    scaled = np.asarray(fitted.segmenter.transform(features))
    place = np.full((len(features), 2), np.nan)
    if fitted.map is not None:
        landmark = pd.Index(fitted.landmark_ids).get_indexer(pd.Index(batch["customer_id"].to_pylist()))
        place[landmark >= 0] = fitted.map.places[landmark[landmark >= 0]]
        place[landmark < 0] = fitted.map.place(scaled[landmark < 0])
    return {
        "label": found.labels,
        "confidence": found.confidence,
        "outlier_score": found.outlier_score,
        "sub_segment": sub_segments_of(features, found.labels, fitted.within),
        "map_x": place[:, 0],
        "map_y": place[:, 1],
        **{f"{name}_scaled": scaled[:, position] for position, name in enumerate(FEATURES)},
    }


def _features(batch: pa.RecordBatch | pa.Table) -> FloatArray:
    """Return the 35 features, of shape (n, 35), with NaN for null."""
    return np.column_stack([batch[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in FEATURES])


def _with_columns(
    rows: DataFrame, columns: dict[str, pa.DataType], make: Callable[[pa.RecordBatch], Mapping[str, Any]]
) -> DataFrame:
    """Return the rows with more columns, which are made of a batch of them at a time."""
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StructType

    schema = StructType(list(rows.schema.fields))
    for name, kind in columns.items():
        schema = schema.add(name, from_arrow_type(kind))

    def made(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start in range(0, batch.num_rows, BATCH_ROWS):  # none of an empty one
                part = batch.slice(start, BATCH_ROWS)
                with threadpool_limits(1, user_api="blas"):  # a task has one core; sums over several do not repeat
                    more = make(part)
                arrays = [pa.array(more[name], kind) for name, kind in columns.items()]
                yield pa.RecordBatch.from_arrays([*part.columns, *arrays], names=[*part.schema.names, *columns])

    return rows.mapInArrow(made, schema)


def _pulled(rows: DataFrame) -> pa.Table:
    """Bring rows to the driver, in the order of customer_id."""
    return rows.toArrow().sort_by("customer_id")


def _frame(rows: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = rows.to_pandas()
    return frame


def _shared(session: SparkSession, value: _Sent) -> Callable[[], _Sent]:
    """Send a value to each executor once; with Spark Connect, which has no broadcasts, along with each task."""
    from pyspark.sql.utils import is_remote

    if is_remote():
        return lambda: value
    sent = session.sparkContext.broadcast(value)
    return lambda: sent.value
