"""What one would take instead, on the same data: ``python -m benchmarks.alternatives NAME ARG...`` prints JSON.

Features, from the order lines of bronze in a Parquet file:

lines SOURCE WORK      writes ``lines.parquet`` and ``silver.parquet`` to WORK, for the others and for `other_projects`
ibis LINES             this project's expressions on DuckDB
pandas LINES           `benchmarks.in_pandas`: groupby without a loop
polars LINES           `benchmarks.in_polars`: lazy expressions
agreement LINES        how many columns each gives, and in how many of them it differs by more than 1e-9

All three give every column of silver.customer_features but ``computed_at``, before imputation. pandas and Polars leave
out what this project's expressions do beside: another day to look from, and the flag of dates that bronze repaired.

Segments, from the 35 features of customers of a made-up shop:

hybrid CUSTOMERS SEED  HybridSegmenter
plain CUSTOMERS SEED   scikit-learn as it comes: standardise, DBSCAN with the knee as eps, K-means for k = 2 to 13

The silhouettes are in the standardised space, the same for both, and in the space in which each made its segments. The
agreement is that of the customers in a segment with the kinds that the shop was made of (adjusted Rand index).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

Figures = dict[str, float]

MOST_SEGMENTS, STARTS, MIN_SAMPLES = 13, 10, 10


def write_lines(source: str, work: str) -> Figures:
    """Make bronze and silver of a source folder and write both as Parquet."""
    from clustering_assets.contracts import CUSTOMER_FEATURES, ORDER_LINES
    from clustering_assets.silver import write_silver
    from clustering_assets.sources.ingestion import ingest
    from clustering_assets.warehouse import Warehouse, table, utc_now

    with Warehouse(Path(work) / "home").connect() as backend:
        ingest(backend, Path(source), utc_now())
        write_silver(backend, None, "benchmark", utc_now())
        lines = table(backend, ORDER_LINES)
        lines.to_parquet(Path(work) / "lines.parquet")
        table(backend, CUSTOMER_FEATURES).to_parquet(Path(work) / "silver.parquet")
        return {"lines": float(lines.count().execute())}


def in_ibis(lines: str) -> pd.DataFrame:
    """Compute the features by the project's expressions."""
    import ibis

    from clustering_assets.features.customer_features import customer_features

    backend = ibis.duckdb.connect()

    def keep(rows: ibis.Table, name: str) -> ibis.Table:
        return backend.create_table(f"kept_{name}", rows, temp=True, overwrite=True)

    features: pd.DataFrame = customer_features(backend.read_parquet(lines), None, keep).to_pandas()
    return features


def in_pandas(lines: str) -> pd.DataFrame:
    """Compute the features by pandas."""
    from benchmarks.in_pandas import features

    return features(Path(lines))


def in_polars(lines: str) -> pd.DataFrame:
    """Compute the features by Polars."""
    from benchmarks.in_polars import features

    return features(Path(lines)).to_pandas()


WAYS: dict[str, Callable[[str], pd.DataFrame]] = {"ibis": in_ibis, "pandas": in_pandas, "polars": in_polars}


def timed(way: str, lines: str) -> Figures:
    """Seconds from the file to the features in memory; the libraries are loaded before."""
    __import__("ibis" if way == "ibis" else way)
    started = time.perf_counter()
    customers = len(WAYS[way](lines))
    return {way: time.perf_counter() - started, "customers": float(customers)}


def agreement(lines: str) -> Figures:
    """Compare the values of the ways, column by column."""
    from benchmarks.agreement import differing_columns
    from clustering_assets.contracts import CUSTOMER_FEATURES

    columns = CUSTOMER_FEATURES.column_names[1:-1]
    found: Figures = {}
    ours = in_ibis(lines)
    for way in ("pandas", "polars"):
        theirs = WAYS[way](lines)
        given = [name for name in columns if name in theirs]
        differing = differing_columns(ours, theirs, given)
        if differing:
            print(f"{way} differs in {', '.join(differing)}", file=sys.stderr)
        found |= {f"columns in {way}": float(1 + len(given)), f"columns that differ in {way}": float(len(differing))}
    return found


def plain(rows: NDArray[np.float64], seed: int) -> tuple[NDArray[np.intp], NDArray[np.float64], Figures]:
    """Segment as textbooks do; return labels, the space in which they were made, and seconds by part."""
    from sklearn.cluster import DBSCAN, KMeans
    from sklearn.metrics import silhouette_score
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    started = time.perf_counter()
    scaled = StandardScaler().fit_transform(rows)
    distances = np.sort(NearestNeighbors(n_neighbors=MIN_SAMPLES).fit(scaled).kneighbors(scaled)[0][:, -1])
    below = np.linspace(0, 1, len(distances)) - (distances - distances[0]) / (distances[-1] - distances[0])
    labels = DBSCAN(eps=distances[np.argmax(below)], min_samples=MIN_SAMPLES).fit_predict(scaled)
    inside = labels != -1
    noise = time.perf_counter()
    fits = [
        KMeans(k, n_init=STARTS, random_state=seed).fit_predict(scaled[inside]) for k in range(2, MOST_SEGMENTS + 1)
    ]
    fitted = time.perf_counter()
    scores = [silhouette_score(scaled[inside], fit) for fit in fits]
    labels[inside] = fits[int(np.argmax(scores))]
    done = time.perf_counter()
    parts = {"noise": noise - started, "K-means": fitted - noise, "choice by silhouette": done - fitted}
    return labels, scaled, {**parts, "seconds": done - started}


def hybrid(rows: NDArray[np.float64], seed: int) -> tuple[NDArray[np.intp], NDArray[np.float64], Figures]:
    """Segment by the project's estimator; return the same."""
    from clustering_assets.segmentation.hybrid import HybridSegmenter

    started = time.perf_counter()
    segmenter = HybridSegmenter(random_state=seed).fit(rows)
    seconds = time.perf_counter() - started
    return segmenter.labels_, segmenter.transform(rows) @ segmenter.projection_, {"seconds": seconds}


SEGMENTERS = {"plain": plain, "hybrid": hybrid}


def segments(way: str, customers: str, seed: str) -> Figures:
    """Segment the customers of a made-up shop; seconds, what the segments are like, agreement with the truth."""
    from sklearn.metrics import adjusted_rand_score, silhouette_score
    from sklearn.preprocessing import StandardScaler

    from benchmarks.planted import EXTREME, shop

    rows, kind = shop(int(seed), customers=int(customers))
    labels, space, seconds = SEGMENTERS[way](rows, int(seed))
    inside = labels != -1
    extreme = np.isin(kind, list(EXTREME))
    sample = np.random.default_rng(0).permutation(np.flatnonzero(inside))[:5_000]
    standardised = StandardScaler().fit_transform(rows)
    return seconds | {
        "segments": float(len(set(labels[inside]))),
        "share of noise": float(np.mean(~inside)),
        "largest segment": float(np.bincount(labels[inside]).max() / len(labels)),
        "silhouette, standardised": float(silhouette_score(standardised[sample], labels[sample])),
        "silhouette, own space": float(silhouette_score(space[sample], labels[sample])),
        "kinds": float(len(set(kind[~extreme]))),
        "agreement": float(adjusted_rand_score(kind[inside & ~extreme], labels[inside & ~extreme])),
    }


PARTS: dict[str, Callable[..., Figures]] = {
    "lines": write_lines,
    **{way: lambda lines, way=way: timed(way, lines) for way in WAYS},
    "agreement": agreement,
    **{way: lambda customers, seed, way=way: segments(way, customers, seed) for way in SEGMENTERS},
}

if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]](*sys.argv[2:])))
