"""Gold of more customers than fit into memory: the text is that of `gold`, the work on each customer is Spark's.

The driver holds a sample, narrow columns of all customers (ids and segments), and one more column of them at a time,
which it reads from Parquet files. Everything that is wide stays in the files, from where DuckDB takes the tables.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    CUSTOMER_REASONS,
    CUSTOMER_SEGMENTS,
    IMPUTED_FEATURES,
    SCALED_FEATURES,
)
from clustering_assets.gold import (
    FEATURES,
    Described,
    EarlierFit,
    Everybody,
    Imputed,
    Request,
    Segmentation,
    describe,
    fit,
)
from clustering_assets.segmentation.hybrid import OUTLIER, HybridSegmenter
from clustering_assets.segmentation.map import CustomerMap, landmark_rows
from clustering_assets.segmentation.sub_segments import fit_within
from clustering_assets.spark.assignment import Fitted, assigned, reasoned, stratified_sample
from clustering_assets.spark.session import Cluster, connected, passing_folder
from clustering_assets.warehouse import Warehouse, literal

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend
    from pyspark.sql import SparkSession

_log = logging.getLogger(__name__)

FILE_SIZE = "64MB"
"""About what a file of the customers holds: a task of Spark reads one."""


def write_customers(backend: Backend, folder: Path) -> None:
    """Write silver's customers, with the names of their imputed features, as Parquet files that Spark reads."""
    columns = ", ".join(f'f."{name}"' for name in ("customer_id", "quality_flags", *FEATURES))
    folder.mkdir(parents=True)
    backend.con.execute(
        f"""copy (select {columns}, coalesce(i.imputed, '') as imputed from {CUSTOMER_FEATURES.qualified_name} as f
                  left join {IMPUTED_FEATURES.qualified_name} as i using (customer_id))
            to {literal(str(folder))} (format parquet, file_size_bytes '{FILE_SIZE}')"""
    )


@contextmanager
def computed_gold(
    cluster: Cluster, warehouse: Warehouse, asked: Request, earlier: EarlierFit | None
) -> Iterator[Segmentation]:
    """Segment the customers of silver; the tables are in files that are there until the end.

    Parameters
    ----------
    warehouse
        Where the customers are; it is not held while Spark computes.
    asked, earlier
        As for `gold.segment`.

    Raises
    ------
    SparkUnavailable
        If the cluster gives no session.
    """
    with passing_folder(cluster, "gold") as folder:
        with warehouse.connect() as backend:
            write_customers(backend, folder / "customers")
        with connected(cluster) as session:
            found = segment_many(session, folder / "customers", folder, asked, earlier)
        yield found


def segment_many(
    session: SparkSession, customers: Path, folder: Path, asked: Request, earlier: EarlierFit | None
) -> Segmentation:
    """Fit the segmentation on a sample, and put every customer into a segment: `gold.segment`, for many.

    The sample has ``max_fit_rows`` customers, drawn as on one machine; the stability of the segments, their rules,
    silhouettes, sub-segments and the map come from it. Counts, means, medians, money, drift and what is typical are
    those of all customers.

    Parameters
    ----------
    session
        A session whose executors see the folders under the same paths.
    customers
        Folder that `write_customers` wrote.
    folder
        Where to write what `write_gold` reads; it has to stay until then.
    asked, earlier
        As for `gold.segment`.
    """
    rows = session.read.parquet(str(customers))
    random_state = asked.parameters["random_state"]
    sample = stratified_sample(rows, asked.parameters["max_fit_rows"], random_state)
    n = rows.count()
    _log.info("fitting %s of %s customers", f"{len(sample):,}", f"{n:,}")
    features = sample[FEATURES].astype(np.float64)
    segmenter = fit(features, sample["customer_id"], asked.parameters, earlier, is_sample=len(sample) < n)
    scaled: NDArray[np.float64] = np.asarray(segmenter.transform(features))
    _log.info("drawing the map of the sample, and looking for sub-segments")
    landmarks = landmark_rows(len(sample), asked.map_parameters.get("max_landmarks", 10_000), random_state)
    fitted = Fitted(
        segmenter,
        fit_within(segmenter, features),
        CustomerMap.fit(
            scaled[landmarks],
            are_all=len(landmarks) == n,
            random_state=random_state,
            perplexity=asked.map_parameters.get("perplexity", 30.0),
        ),
        tuple(sample["customer_id"].iloc[landmarks]),
    )
    _log.info("putting the customers into the segments")
    placed = folder / "assigned"
    assigned(rows, fitted).write.parquet(str(placed))
    everybody = _everybody(placed)
    found = describe(asked, segmenter, features, scaled, everybody, earlier)
    _log.info("looking for the reasons of each customer")
    reasons = folder / "reasons"
    reasoned(session.read.parquet(str(placed)), segmenter, found.segment_ids, found.usual).write.parquet(str(reasons))
    return Segmentation({**_queries(asked, segmenter, found, placed, reasons), **found.tables}, segmenter, found.facts)


class _Files:
    """The columns of a folder of Parquet files, in the order of the files and read when they are asked for."""

    def __init__(self, folder: Path, suffix: str = "") -> None:
        self._rows = ds.dataset(folder, format="parquet")
        self._suffix = suffix

    def __getitem__(self, name: str) -> pd.Series[float]:
        column = self._rows.to_table(columns=[name + self._suffix]).column(0)
        values: pd.Series[float] = column.cast(pa.float64()).to_pandas()
        return values


def _everybody(placed: Path) -> Everybody:
    rows = ds.dataset(placed, format="parquet")
    narrow = rows.to_table(columns=["customer_id", "label"])
    imputed = rows.to_table(columns=["imputed"]).column(0).dictionary_encode().to_pandas()
    return Everybody(
        narrow["customer_id"].to_pandas(),
        _Files(placed),
        _Files(placed, "_scaled"),
        Imputed(imputed),
        narrow["label"].to_numpy(),
    )


def _queries(
    asked: Request, segmenter: HybridSegmenter, found: Described, placed: Path, reasons: Path
) -> dict[Any, str]:
    """Return what DuckDB reads the tables of each customer by."""
    files = {folder: f"read_parquet({literal(str(folder / '*.parquet'))})" for folder in (placed, reasons)}
    now = f"timestamp {literal(asked.now.isoformat(sep=' '))}"
    by_label = {**found.segment_ids, OUTLIER: OUTLIER}
    segments = ", ".join(
        f"({label}, {segment}, {literal(found.names[segment])})"
        for label, segment in by_label.items()
        if segment in found.names
    )
    complete = f"1 - len(list_filter(string_split(imputed, ';'), lambda name: name <> '')) / {len(FEATURES)}"
    return {
        SCALED_FEATURES: f"""
            select customer_id, {", ".join(f'"{name}_scaled"' for name in FEATURES)}, outlier_score,
                   {complete} as feature_completeness, {literal(segmenter.scaling)} as scaling_method,
                   quality_flags, {now} as processed_at
            from {files[placed]}""",
        CUSTOMER_SEGMENTS: f"""
            select customer_id, segment_id, segment_name, nullif(sub_segment, -1) as sub_segment_id, confidence,
                   map_x, map_y, {literal(asked.model_run_id)} as model_run_id, {now} as assigned_at
            from {files[placed]} join (values {segments}) as named(label, segment_id, segment_name) using (label)""",
        CUSTOMER_REASONS: f"select * from {files[reasons]}",
    }
