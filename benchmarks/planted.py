"""Customers whose kinds are known, in families that differ in what makes segments hard to find.

Each family is a function of a seed and returns the features, of shape (customers, features), and the kind of each
customer. `EXTREME` kinds are no segments: they are to be outliers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.shops import FEATURES as NAMES
from benchmarks.shops import customers_of
from clustering_assets.synthetic import EXTREMES, KINDS, generate

FloatArray = NDArray[np.float64]
Planted = tuple[FloatArray, NDArray[np.str_]]

CUSTOMERS = 1_500
LINES_EACH = 50
FEATURES = len(NAMES)
WILD = "wild"
NAMED_EXTREMES = ("thousandfold reseller", "returns everything", "one giant order")
EACH = 4
"""Customers of each of them."""
EXTREME = frozenset({*EXTREMES, WILD, *NAMED_EXTREMES})


def shop(seed: int, mix: Mapping[str, float] | None = None, customers: int = CUSTOMERS) -> Planted:
    """Order lines of a made-up shop, 50 a customer, through the project's own features and imputation."""
    orders = generate(customers, LINES_EACH * customers, seed, mix=mix)
    backend = ibis.duckdb.connect(threads=1)
    lines = backend.create_table("order_lines", orders.lines).mutate(
        source_customer_id=ibis._.customer_id,
        source_file=ibis.literal("synthetic"),
        source_row=ibis.row_number(),
        quality_flags=ibis.literal(""),
    )
    silver = customers_of(backend, lines)
    kind = orders.truth.loc[silver.table["customer_id"]].to_numpy(dtype=str)
    return silver.features.to_numpy(), kind


def copula(seed: int, apart: float, ratio: float = 1.0) -> Planted:
    """Groups in six correlated Gaussian factors, seen through skewed, counted, censored and bounded margins.

    ``apart`` is the least distance between two centres in standard deviations within a group.
    """
    random = np.random.default_rng([seed, 1])
    n_kinds = int(random.integers(4, 9))
    kind = _kinds(n_kinds, ratio)
    while True:
        centres = random.normal(size=(n_kinds, 6))
        gaps = np.linalg.norm(centres[:, None] - centres, axis=2)[np.triu_indices(n_kinds, 1)]
        if gaps.min() > 1.8:
            break
    factors = apart / gaps.min() * centres[kind] + random.normal(size=(len(kind), 6))
    latent = factors @ (random.normal(size=(6, FEATURES)) * (random.random((6, FEATURES)) < 0.4))
    latent = (latent - latent.mean(axis=0)) / np.where(latent.std(axis=0) > 0, latent.std(axis=0), 1)
    latent = 0.9 * latent + 0.45 * random.normal(size=latent.shape)
    margins: list[Callable[[FloatArray], FloatArray]] = [
        lambda values: 10 * np.exp(values * random.uniform(0.5, 1.5)),
        lambda values: np.floor(np.exp(1 + values)),
        lambda values: np.maximum(values - random.normal(0, 0.5), 0),
        lambda values: 1 / (1 + np.exp(-1.5 * values)),
        lambda values: values,
    ]
    rows = np.stack([margins[j % len(margins)](latent[:, j]) for j in range(FEATURES)], axis=1)
    return rows, kind.astype(str)


def behaviour(
    seed: int, strength: float = 1.0, ratio: float = 1.0, wild_share: float = 0.0, customers: int = CUSTOMERS
) -> Planted:
    """Kinds that each differ from the usual customer in a third of the features: counts, rates, amounts, zeros.

    Counts are negative binomial, rates beta, amounts gamma, the rest lognormal or zero; activity couples the first
    and the third. ``strength`` scales the differences. Wild customers get values that belong to nobody.
    """
    random = np.random.default_rng([seed, 2])
    n_kinds = int(random.integers(4, 9))
    kind = _kinds(n_kinds, ratio, customers)
    n = len(kind)
    shift = strength * random.normal(size=(n_kinds, FEATURES)) * (random.random((n_kinds, FEATURES)) < 0.35)
    shift[0] = 0
    activity = random.normal(0, 0.4, n)
    rows = np.empty((n, FEATURES))
    for j in range(FEATURES):
        level = shift[kind, j]
        match j % 4:
            case 0:
                rows[:, j] = random.poisson(random.gamma(4, 1 / 4, n) * np.exp(1.5 + level + activity))
            case 1:
                rate = 1 / (1 + np.exp(1.2 - 1.3 * level))
                rows[:, j] = random.beta(12 * rate, 12 * (1 - rate))
            case 2:
                rows[:, j] = random.gamma(4, np.exp(3 + level + 0.5 * activity) / 4)
            case _:
                some = random.random(n) < 1 / (1 + np.exp(-0.3 - 1.5 * level))
                rows[:, j] = np.where(some, random.lognormal(0.8 * level, 0.5, n), 0)
    names = kind.astype("<U4")
    wild = random.permutation(n)[: int(wild_share * n)]
    rows[wild] *= np.exp(1.5 * random.standard_t(2, (len(wild), FEATURES)))
    names[wild] = WILD
    return rows, names


def elongated(seed: int) -> Planted:
    """Groups that each stretch in four directions of their own, with heavy tails."""
    random = np.random.default_rng([seed, 3])
    n_kinds = int(random.integers(4, 9))
    kind = random.integers(n_kinds, size=CUSTOMERS)
    rows = 1.1 * random.normal(size=(n_kinds, FEATURES))[kind] + 0.6 * random.normal(size=(CUSTOMERS, FEATURES))
    for each in range(n_kinds):
        inside = kind == each
        rows[inside] += random.normal(size=(inside.sum(), 4)) @ (0.5 * random.normal(size=(4, FEATURES)))
    return np.sinh(0.8 * rows), kind.astype(str)


def skewed(seed: int) -> Planted:
    """Kinds by medians of lognormal features, some of which spread over three powers of ten or are mostly zero."""
    random = np.random.default_rng([seed, 4])
    n_kinds = int(random.integers(4, 9))
    kind = random.integers(n_kinds, size=CUSTOMERS)
    spread = random.uniform(0.5, 1.8, FEATURES)
    differs = random.random((n_kinds, FEATURES)) < 0.5
    medians = 1.2 * spread * random.normal(size=(n_kinds, FEATURES)) * differs
    rows = np.exp(medians[kind] + spread * random.normal(size=(CUSTOMERS, FEATURES)))
    never = (random.random(FEATURES) < 0.3) * random.uniform(0.5, 0.8, FEATURES)
    rows[random.random(rows.shape) < never] = 0
    return rows, kind.astype(str)


def with_extremes(planted: Planted, seed: int) -> Planted:
    """Turn some customers of a `shop` into the three extremes that everybody would call so; its own are left out.

    A reseller counts a thousand times the orders, SKUs and returns. Who returns everything does so line by line. One
    giant order has a thousand times the units and the value, and is the only one.
    """
    rows, kind = planted
    ordinary = ~np.isin(kind, list(EXTREMES))
    customers, kind = pd.DataFrame(rows[ordinary], columns=NAMES), kind[ordinary].astype("<U21")
    chosen = np.random.default_rng([seed, 5]).permutation(len(kind))[: EACH * len(NAMED_EXTREMES)]
    reseller, returner, giant = np.split(chosen, len(NAMED_EXTREMES))
    for name, which in zip(NAMED_EXTREMES, (reseller, returner, giant), strict=True):
        kind[which] = name

    counts = [name for name in NAMES if name.endswith("_count")]
    customers.loc[reseller, counts] = 1000 * customers.loc[reseller, counts].clip(lower=1)

    every = customers.loc[returner]
    customers.loc[returner, ["return_rate", "return_quantity_ratio", "order_return_rate", "return_intensity"]] = 1.0
    for name, whole in {
        "returned_line_count": every["order_count"] * every["lines_per_order"],
        "returned_sku_count": every["sku_count"],
        "returned_lines_per_order": every["lines_per_order"],
        "return_streak_count": (every["order_count"] > 1).astype(float),
        "mean_return_streak": every["order_count"],
        "recent_return_count": every["recent_order_count"] * every["lines_per_order"],
        "recent_return_rate_ratio": (every["recent_order_count"] > 0).astype(float),
        "mean_return_value": every["mean_order_value"] / every["lines_per_order"],
        "adjacent_return_count": every["adjacent_order_count"],
        "mean_days_between_adjacent_returns": every["mean_days_between_adjacent_orders"],
        "seasonal_return_variation": every["seasonal_order_variation"],
    }.items():
        customers.loc[returner, name] = whole

    gone = [name for name in NAMES if "return" in name]
    customers.loc[giant, [*gone, "lifetime_days", "recent_order_count", "adjacent_order_count"]] = 0.0
    customers.loc[giant, "order_count"] = 1.0
    customers.loc[giant, "sku_count"] = customers.loc[giant, "lines_per_order"]
    customers.loc[giant, ["mean_line_quantity", "mean_order_value"]] *= 1000
    return customers.to_numpy(), kind


def _kinds(n_kinds: int, ratio: float, customers: int = CUSTOMERS) -> NDArray[np.intp]:
    """Return the kind of each customer, the first ``ratio`` times as frequent as the last."""
    share = np.geomspace(ratio, 1, n_kinds)
    ends = np.rint(np.cumsum(share) / share.sum() * customers)
    return np.repeat(np.arange(n_kinds), np.diff(ends, prepend=0).astype(int))


FAMILIES: Mapping[str, Callable[[int], Planted]] = {
    "copula, well apart": lambda seed: copula(seed, apart=4.5),
    "behaviour, well apart": behaviour,
    "elongated, well apart": elongated,
    "behaviour, 3 % wild": lambda seed: behaviour(seed, wild_share=0.03),
    "copula, overlapping": lambda seed: copula(seed, apart=2.8),
    "behaviour, overlapping": lambda seed: behaviour(seed, strength=0.6),
    "copula, 50:1": lambda seed: copula(seed, apart=4.5, ratio=50),
    "behaviour, 50:1": lambda seed: behaviour(seed, ratio=50),
    "skewed": skewed,
    "shop": shop,
    "shop, 50:1": lambda seed: shop(seed, dict(zip(KINDS, np.geomspace(50, 1, len(KINDS)), strict=True))),
    "shop, extremes": lambda seed: with_extremes(shop(seed), seed),
}
