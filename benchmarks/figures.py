"""The figures of the segmentation, section by section, each with its target where it has one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import ibis
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.manifold import trustworthiness
from sklearn.metrics import adjusted_rand_score

from benchmarks.measured import measured
from benchmarks.planted import EXTREME, FAMILIES, NAMED_EXTREMES, Planted, shop, with_extremes
from benchmarks.shops import Customers, bronze, customers_of
from clustering_assets.gold import Request, read_earlier_fit, segment, write_gold
from clustering_assets.saved_models import find_model
from clustering_assets.segmentation.hybrid import OUTLIER, HybridSegmenter
from clustering_assets.segmentation.map import customer_map
from clustering_assets.segmentation.scaling import FeatureScaler
from clustering_assets.warehouse import Warehouse, utc_now

QUICK_FAMILIES = {"shop, extremes": lambda seed: with_extremes(shop(seed, customers=400), seed)}
NEIGHBOURS = 12
"""Neighbours that trustworthiness is about; it is lower than with fewer."""
HELD_BACK = 0.02
"""Share of the order lines that come later."""
PREVIOUS_SILHOUETTE = 0.342
RESAMPLES = 10


@dataclass(frozen=True)
class Scope:
    """What is measured on.

    Parameters
    ----------
    seeds
        Draws, or random states of the fits where the customers are given.
    quick
        Whether to measure little: it shows that everything works.
    shops
        Folders of source files, by name.
    """

    seeds: tuple[int, ...]
    quick: bool
    shops: Mapping[str, Path]

    @property
    def keep(self) -> int:
        """One customer in so many is kept of a shop."""
        return 8 if self.quick else 1


@dataclass(frozen=True)
class Figure:
    """A figure over the seeds.

    Parameters
    ----------
    what
        What is measured.
    values
        Its value by seed.
    bound
        What the median has to reach; None where the figure is only shown.
    less_is_better
        Whether the bound is from above.
    share
        Share of the seeds that have to keep the bound, instead of the median.
    digits
        Decimals to show.
    """

    what: str
    values: list[float]
    bound: float | None = None
    less_is_better: bool = False
    share: float | None = None
    digits: int = 2

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def worst(self) -> float:
        return max(self.values) if self.less_is_better else min(self.values)

    @property
    def reached(self) -> bool | None:
        if self.bound is None:
            return None
        judged = self.values if self.share is not None else [self.median]
        kept = [value <= self.bound if self.less_is_better else value >= self.bound for value in judged]
        return statistics.mean(kept) >= (self.share or 1)

    @property
    def target(self) -> str:
        if self.bound is None:
            return ""
        bound = f"{'<=' if self.less_is_better else '>='} {self.bound:.4g}"
        return bound if self.share is None else f"{bound} in {self.share:.0%}"


def planted(scope: Scope) -> Iterator[Figure]:
    """Agreement with the planted kinds (adjusted Rand index, customers in a segment) and their number.

    Beside it plain K-means that is told the number, on power-transformed and on robustly scaled features.
    """
    for family, draw in (QUICK_FAMILIES if scope.quick else FAMILIES).items():
        draws = [_compare(draw(seed)) for seed in scope.seeds]
        of = {name: [found[name] for found in draws] for name in draws[0]}
        plain = statistics.median(of["plain"])
        bound = max(0.9, plain) if family.endswith("well apart") else plain
        yield Figure(f"{family}: agreement", of["agreement"], bound=bound)
        yield Figure("    plain K-means, told the number", of["plain"])
        yield Figure("    the same, robustly scaled", of["robust"])
        yield Figure("    segments too many or too few", of["off"], bound=0, less_is_better=True, share=0.8, digits=0)
        yield Figure("    share of customers in a segment", of["inside"])
        if "extremes" in of:
            yield Figure(
                "    share of extremes that are outliers",
                of["extremes"],
                bound=0.9 if family.endswith("extremes") else None,
            )


def _compare(drawn: Planted) -> dict[str, float]:
    rows, kind = drawn
    segmenter = HybridSegmenter(random_state=0).fit(rows)
    extreme = np.isin(kind, list(EXTREME))
    counted = (segmenter.labels_ != OUTLIER) & ~extreme
    kinds = len(set(kind[~extreme]))

    def agreement(scaling: str) -> float:
        labels = KMeans(kinds, n_init=10, random_state=0).fit_predict(FeatureScaler(scaling).fit_transform(rows))
        return float(adjusted_rand_score(kind[counted], labels[counted]))

    found = {
        "agreement": float(adjusted_rand_score(kind[counted], segmenter.labels_[counted])),
        "plain": agreement("yeo-johnson"),
        "robust": agreement("robust"),
        "off": float(abs(segmenter.n_clusters_ - kinds)),
        "inside": float(np.mean(segmenter.labels_ != OUTLIER)),
    }
    named = np.isin(kind, NAMED_EXTREMES)
    judged = named if named.any() else extreme
    return found | ({"extremes": float(np.mean(segmenter.labels_[judged] == OUTLIER))} if judged.any() else {})


def real(scope: Scope) -> Iterator[Figure]:
    """How well the segments of given customers are apart, and how stable under a resample of the customers."""
    for name, folder in scope.shops.items():
        with bronze(folder, scope.keep) as (backend, lines):
            features = customers_of(backend, lines).features
        fits = [HybridSegmenter(random_state=seed).fit(features) for seed in scope.seeds]
        sizes = [np.bincount(fit.labels_[fit.labels_ != OUTLIER]) for fit in fits]
        stability = [
            statistics.mean(bootstrap_agreement(fit, features, 2 if scope.quick else RESAMPLES)) for fit in fits
        ]
        judged = name == "UCI"
        yield Figure(
            f"{name}: share of customers in a segment",
            [float(size.sum() / len(features)) for size in sizes],
            bound=0.9 if judged else None,
        )
        yield Figure(
            "    segments of at least 1 %",
            [float(np.sum(size >= 0.01 * len(features))) for size in sizes],
            bound=4 if judged else None,
            digits=0,
        )
        yield Figure(
            "    silhouette in the space of the clustering",
            [fit.silhouette_ for fit in fits],
            bound=PREVIOUS_SILHOUETTE if judged else None,
            digits=3,
        )
        yield Figure("    silhouette in the scaled space", [fit.silhouette_full_ for fit in fits], digits=3)
        yield Figure("    agreement of bootstrap fits", stability, bound=0.85)


def bootstrap_agreement(segmenter: HybridSegmenter, features: pd.DataFrame, resamples: int) -> Iterator[float]:
    """Yield the adjusted Rand index of each two fits on bootstrap samples, over the customers in a segment of both.

    The number of segments and the shrinkage are those of the fitted ``segmenter``.
    """
    random = np.random.default_rng(segmenter.random_state)
    fits = []
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


def identity(scope: Scope) -> Iterator[Figure]:
    """Customers who keep their segment id after 2 % more order lines: any 2 %, and the latest."""
    for name, folder in scope.shops.items():
        with bronze(folder, scope.keep) as (backend, lines):
            now = customers_of(backend, lines)
            some = [customers_of(backend, lines.filter(_held_in(lines, seed))) for seed in scope.seeds]
            cut = lines.order_date.quantile(1 - HELD_BACK).as_scalar()
            until = customers_of(backend, lines.filter(lines.order_date <= cut))
        kept = [_kept(before, now, seed) for before, seed in zip(some, scope.seeds, strict=True)]
        yield Figure(f"{name}: share who keep their segment after any 2 % more lines", kept, bound=0.95)
        if not scope.quick:
            kept = [_kept(until, now, seed) for seed in scope.seeds]
            yield Figure("    after the latest 2 % of the lines", kept, bound=0.95)


def _held_in(lines: ibis.Table, seed: int) -> ibis.ir.BooleanValue:
    """Which lines are there before the last 2 %: by a hash, so that the draw is the same everywhere."""
    key = ibis.literal(f"{seed} ") + lines.source_file + " " + lines.source_row.cast(str)
    return (key.hash().abs() % 1000) / 1000 >= HELD_BACK


def _kept(before: Customers, now: Customers, seed: int) -> float:
    """Share of the customers of both who keep their segment, when gold is made of the one and then of the other."""
    with TemporaryDirectory(prefix="evaluate-") as folder, Warehouse(Path(folder)).connect() as backend:
        home = Path(folder)
        for run, customers in enumerate((before, now)):
            earlier = read_earlier_fit(backend, home)
            found = segment(
                customers.table,
                customers.imputed,
                Request(
                    parameters=HybridSegmenter(random_state=seed).get_params(),
                    map_parameters={"max_landmarks": 100},  # The map is not what is measured.
                    stability_resamples=0,
                    input_version=f"{run}",
                    model_run_id=f"{run}",
                    now=utc_now(),
                ),
                earlier,
            )
            write_gold(backend, home, found, earlier, f"{run}")
        return float(find_model(backend)["kept_segment_share"])


def mapping(scope: Scope) -> Iterator[Figure]:
    """Trustworthiness of the map, and its time."""
    customers = 1_000 if scope.quick else 15_000
    made = [FeatureScaler().fit_transform(shop(seed, customers=customers)[0]) for seed in scope.seeds]
    yield from _map_figures(f"{customers:,} customers of a made-up shop", made, scope.seeds, bound=0.97)
    for name, folder in scope.shops.items():
        with bronze(folder, scope.keep) as (backend, lines):
            scaled = FeatureScaler().fit_transform(customers_of(backend, lines).features)
        yield from _map_figures(f"{name}, {len(scaled):,} customers", [scaled] * len(scope.seeds), scope.seeds)


def _map_figures(
    what: str, draws: list[np.ndarray], seeds: tuple[int, ...], bound: float | None = None
) -> Iterator[Figure]:
    trust, seconds = [], []
    for scaled, seed in zip(draws, seeds, strict=True):
        started = time.perf_counter()
        place = customer_map(scaled, random_state=seed)
        seconds.append(time.perf_counter() - started)
        trust.append(float(trustworthiness(scaled, place, n_neighbors=NEIGHBOURS)))
    yield Figure(f"{what}: trustworthiness, {NEIGHBOURS} neighbours", trust, bound=bound, digits=3)
    yield Figure("    seconds", seconds, less_is_better=True, digits=1)


def many(scope: Scope) -> Iterator[Figure]:
    """Time and memory at a size, each part in a process of its own; what fitting a sample costs."""
    customers, fitted = (400, 400) if scope.quick else (1_000_000, 100_000)
    seed = str(scope.seeds[0])
    parts = ["fit, assign and map"] if scope.quick else ["fit, assign and map", "the whole of gold"]
    for part in parts:
        found, peak = measured("benchmarks.many", part, str(customers), seed)
        what = f"{customers:,} customers, {part}: seconds"
        yield Figure(what, [found.pop("seconds")], bound=600, less_is_better=True, digits=0)
        yield Figure("    peak memory, GB", [peak], bound=8, less_is_better=True, digits=1)
        yield from (Figure(f"    {name}", [value]) for name, value in found.items())
    losses = [measured("benchmarks.many", "loss of a sample", str(fitted), str(seed))[0] for seed in scope.seeds]
    for position, name in enumerate(losses[0]):
        what = "    " if position else f"{fitted:,} customers, half or all of them fitted: "
        yield Figure(what + name, [loss[name] for loss in losses])


SECTIONS: Mapping[str, Callable[[Scope], Iterator[Figure]]] = {
    "planted": planted,
    "real": real,
    "identity": identity,
    "map": mapping,
    "many": many,
}
