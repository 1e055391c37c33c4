"""Measures the segments: planted kinds found, their number, and stability under resampling of the customers.

``python -m benchmarks.evaluate`` prints, for each family of planted customers (`benchmarks.planted`), the number of
segments found and the agreement with the planted kinds (adjusted Rand index, customers in a segment), beside plain
K-means on power-transformed features that is told the number. ``--customers FILE`` measures a silver table as Parquet.
Seeds 100 to 104 are for the final measurement only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from benchmarks.planted import EXTREME, FAMILIES, Planted
from clustering_assets.contracts import CLUSTERING_FEATURES
from clustering_assets.segmentation.hybrid import OUTLIER, HybridSegmenter
from clustering_assets.segmentation.scaling import FeatureScaler

FINAL_SEEDS = range(100, 105)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluate", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(FINAL_SEEDS), help="draws of each family")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="only this family; may be repeated")
    parser.add_argument("--customers", type=Path, action="append", default=[], help="a silver table to measure")
    parser.add_argument("--resamples", type=int, default=10, help="bootstrap fits (default: %(default)s)")
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file")
    given = parser.parse_args()
    families = given.family or ([] if given.customers else list(FAMILIES))
    planted = {name: [measure_planted(FAMILIES[name](seed)) for seed in given.seeds] for name in families}
    real = {path.stem: measure_customers(path, given.resamples) for path in given.customers}
    _print_planted(planted)
    for name, figures in real.items():
        Console().print(name, figures)
    if given.save:
        given.save.write_text(
            json.dumps({"seeds": given.seeds, "planted": planted, "customers": real}, indent=2) + "\n"
        )
    return 0


def measure_planted(planted: Planted) -> dict[str, float]:
    """Segment planted customers and compare; the extreme ones count only in ``extremes_found``."""
    features, kind = planted
    started = time.perf_counter()
    segmenter = HybridSegmenter(random_state=0).fit(features)
    seconds = time.perf_counter() - started
    extreme = np.isin(kind, list(EXTREME))
    counted = (segmenter.labels_ != OUTLIER) & ~extreme
    kinds = len(set(kind[~extreme]))
    plain = KMeans(kinds, n_init=10, random_state=0).fit_predict(FeatureScaler().fit_transform(features))
    return {
        "kinds": kinds,
        "segments": segmenter.n_clusters_,
        "agreement": float(adjusted_rand_score(kind[counted], segmenter.labels_[counted])),
        "plain_k_means": float(adjusted_rand_score(kind[counted], plain[counted])),
        "in_a_segment": float(np.mean(segmenter.labels_ != OUTLIER)),
        "extremes_found": float(np.mean(segmenter.labels_[extreme] == OUTLIER)) if extreme.any() else 1.0,
        "seconds": seconds,
    }


def measure_customers(path: Path, resamples: int) -> dict[str, object]:
    """Segment the customers of a silver table and say how well the segments are apart and survive a resample."""
    features = pd.read_parquet(path)[[column.name for column in CLUSTERING_FEATURES]].astype(np.float64)
    started = time.perf_counter()
    segmenter = HybridSegmenter(random_state=0).fit(features)
    seconds = time.perf_counter() - started
    agreement = list(bootstrap_agreement(segmenter, features, resamples))
    return {
        "customers": len(features),
        "segments": segmenter.n_clusters_,
        "sizes": np.bincount(segmenter.labels_[segmenter.labels_ != OUTLIER]).tolist(),
        "in_a_segment": float(np.mean(segmenter.labels_ != OUTLIER)),
        "silhouette": segmenter.silhouette_,
        "silhouette_full": segmenter.silhouette_full_,
        "bootstrap_agreement_mean": statistics.mean(agreement),
        "bootstrap_agreement_worst": min(agreement),
        "seconds": seconds,
        "notes": segmenter.notes_,
    }


def bootstrap_agreement(segmenter: HybridSegmenter, features: pd.DataFrame, resamples: int) -> Iterable[float]:
    """Yield the adjusted Rand index of each two fits on bootstrap samples, over the customers in a segment of both.

    The number of segments and the shrinkage are those of the fitted ``segmenter``.
    """
    random = np.random.default_rng(0)
    fits: list[NDArray[np.intp]] = []
    for resample in range(resamples):
        # Drawn with replacement, each customer used once: repeats would pass for density.
        rows = np.unique(random.integers(len(features), size=len(features)))
        resampled = clone(segmenter).set_params(
            n_clusters=segmenter.n_clusters_, shrinkage=segmenter.shrinkage_, random_state=resample
        )
        fits.append(resampled.fit(features.iloc[rows]).predict(features))
    for one, other in combinations(fits, 2):
        both = (one != OUTLIER) & (other != OUTLIER)
        yield float(adjusted_rand_score(one[both], other[both]))


def _print_planted(planted: dict[str, list[dict[str, float]]]) -> None:
    if not planted:
        return
    table = Table(title="Planted kinds: adjusted Rand index, median (worst) of the draws")
    for name in ("family", "segments/kinds", "found", "segments", "plain K-means, told k", "extremes found", "s"):
        table.add_column(name, justify="left" if name == "family" else "right")
    for family, draws in planted.items():
        table.add_row(
            family,
            " ".join(f"{draw['segments']}/{draw['kinds']}" for draw in draws),
            f"{sum(draw['segments'] == draw['kinds'] for draw in draws)} of {len(draws)}",
            *(_median_and_worst(draws, name) for name in ("agreement", "plain_k_means", "extremes_found")),
            f"{statistics.median(draw['seconds'] for draw in draws):.1f}",
        )
    Console().print(table)


def _median_and_worst(draws: list[dict[str, float]], name: str) -> str:
    values = [draw[name] for draw in draws]
    return f"{statistics.median(values):.2f} ({min(values):.2f})"


if __name__ == "__main__":
    sys.exit(main())
