"""Segmentation at a size, in a process of its own: ``python -m benchmarks.many PART CUSTOMERS SEED`` prints JSON.

The customers are the planted behaviours of `benchmarks.planted`, well apart, of which the truth is known at every size.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.manifold import trustworthiness
from sklearn.metrics import adjusted_rand_score

from benchmarks.planted import behaviour, shop
from benchmarks.shops import FEATURES
from clustering_assets.gold import Request, segment
from clustering_assets.segmentation.hybrid import OUTLIER, HybridSegmenter
from clustering_assets.segmentation.map import customer_map
from clustering_assets.warehouse import utc_now

MAP_ROWS = 10_000
"""Customers of the sample on which trustworthiness is measured: it takes all pairs of them."""


def fit_assign_map(customers: int, seed: int) -> dict[str, float]:
    """Seconds of each part; agreement with the truth, trustworthiness on a sample."""
    rows, kind = behaviour(seed, customers=customers)
    started = time.perf_counter()
    segmenter = HybridSegmenter(random_state=seed).fit(rows)
    scaled = segmenter.transform(rows)
    fitted = time.perf_counter()
    place = customer_map(scaled, random_state=seed)
    mapped = time.perf_counter()
    inside = segmenter.labels_ != OUTLIER
    sample = np.random.default_rng(seed).permutation(customers)[:MAP_ROWS]
    return {
        "seconds": mapped - started,
        "seconds of fitting and assigning": fitted - started,
        "seconds of the map": mapped - fitted,
        "agreement": float(adjusted_rand_score(kind[inside], segmenter.labels_[inside])),
        "trustworthiness": float(trustworthiness(scaled[sample], place[sample], n_neighbors=12)),
    }


def the_map(customers: int, seed: int) -> dict[str, float]:
    """Seconds of the map of a made-up shop's customers, and its trustworthiness over all of them."""
    rows, _ = shop(seed, customers=customers)
    scaled = HybridSegmenter(random_state=seed).fit(rows).transform(rows)
    started = time.perf_counter()
    place = customer_map(scaled, random_state=seed)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "trustworthiness": float(trustworthiness(scaled, place, n_neighbors=12))}


def whole_gold(customers: int, seed: int) -> dict[str, float]:
    """Seconds of everything that the gold layer computes: segments, stability, profiles, reasons, map."""
    rows, _ = behaviour(seed, customers=customers)
    ids = pd.Series([f"c{number}" for number in range(customers)])
    table = pd.DataFrame(rows, columns=FEATURES).assign(customer_id=ids, quality_flags="")
    del rows
    started = time.perf_counter()
    segment(
        table,
        pd.Series("", index=ids),
        Request(
            parameters=HybridSegmenter(random_state=seed).get_params(),
            map_parameters={},
            stability_resamples=10,
            input_version="benchmark",
            model_run_id="benchmark",
            now=utc_now(),
        ),
        None,
    )
    return {"seconds": time.perf_counter() - started}


def sample_loss(customers: int, seed: int) -> dict[str, float]:
    """What fitting half of the customers costs against fitting all of them."""
    rows, kind = behaviour(seed, customers=customers)
    half = HybridSegmenter(random_state=seed, max_fit_rows=customers // 2).fit(rows)
    whole = HybridSegmenter(random_state=seed, max_fit_rows=customers).fit(rows)
    both = (half.labels_ != OUTLIER) & (whole.labels_ != OUTLIER)
    found = {"agreement of both": float(adjusted_rand_score(half.labels_[both], whole.labels_[both]))}
    for name, segmenter in (("half", half), ("all", whole)):
        inside = segmenter.labels_ != OUTLIER
        found |= {
            f"agreement of {name}": float(adjusted_rand_score(kind[inside], segmenter.labels_[inside])),
            f"silhouette of {name}": segmenter.silhouette_,
        }
    return found


PARTS: dict[str, Callable[[int, int], dict[str, float]]] = {
    "the map": the_map,
    "fit, assign and map": fit_assign_map,
    "the whole of gold": whole_gold,
    "loss of a sample": sample_loss,
}

if __name__ == "__main__":
    part, customers, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(PARTS[part](customers, seed)))
