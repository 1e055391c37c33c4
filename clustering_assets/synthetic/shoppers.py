"""Who buys: the planted kinds of customers and the individuals drawn around them.

A kind is a set of typical values; each customer varies around them, so that kinds overlap a little, as people do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clustering_assets.synthetic.catalogue import CATEGORIES, Floats, Ints


@dataclass(frozen=True, slots=True)
class Kind:
    """What is typical of one kind of customer.

    Parameters
    ----------
    description
        One sentence.
    share
        Share of the customers, unless a mix says otherwise.
    orders
        Orders a year, relative to the other kinds (the number of lines asked for sets the scale).
    lines
        Mean lines per order.
    return_rate
        Chance that a line of an average category comes back.
    days_to_return
        Median days from order to return.
    spread
        Standard deviation of the logarithm of the days to return.
    bracket
        Chance that a line repeats the line before in another size.
    concentration
        How strongly the customer keeps to favourite categories: 0 not at all, 1 to few.
    price
        Preference for expensive (above 0) or cheap (below 0) styles.
    discount
        Chance that a line is bought at a reduced price, relative to the average customer.
    extra_units
        Mean units per line beyond the first.
    holiday
        Whether orders come almost only in November and December.
    leaves
        Chance of having left for good before the end.
    favourites
        Divisions bought more than others.
    """

    description: str
    share: float
    orders: float
    lines: float
    return_rate: float
    days_to_return: float
    spread: float = 0.35
    bracket: float = 0.01
    concentration: float = 0.5
    price: float = 0.0
    discount: float = 1.0
    extra_units: float = 0.08
    holiday: bool = False
    leaves: float = 0.2
    favourites: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "never_returns": Kind("Keeps practically everything.", 0.24, 4.5, 1.9, 0.002, 14, concentration=0.4, price=-0.4),
    "occasional_returner": Kind("Sends a line back now and then.", 0.29, 6, 2.7, 0.09, 13, leaves=0.25),
    "serial_returner": Kind(
        "Orders often and sends two fifths of it back, quickly.", 0.07, 9, 3.0, 0.4, 7, 0.3, price=0.2, leaves=0.1
    ),
    "slow_returner": Kind("Returns late, weeks after the order.", 0.10, 5, 2.2, 0.22, 48, 0.3, leaves=0.2),
    "bracket_buyer": Kind(
        "Buys an article in several sizes, keeps one and sends the rest back.",
        *(0.08, 4.5, 4.4, 0.12, 10),
        bracket=0.5,
        concentration=0.8,
        leaves=0.1,
        favourites=("Shoes", "Women"),
    ),
    "holiday_shopper": Kind(
        "Buys gifts in November and December, hardly otherwise.",
        *(0.12, 3, 4.0, 0.09, 22),
        concentration=0.1,
        discount=1.6,
        extra_units=0.25,
        holiday=True,
        leaves=0.1,
        favourites=("Accessories", "Home", "Kids"),
    ),
    "high_value": Kind(
        "Buys expensive articles one or two at a time, at full price, and keeps them.",
        *(0.10, 9, 1.5, 0.03, 11),
        concentration=0.9,
        price=3.2,
        discount=0.2,
        leaves=0.05,
    ),
}
"""The kinds that a mix can weigh."""

EXTREMES: Mapping[str, Kind] = {
    "reseller": Kind(
        "Buys in bulk, far more than anybody else.",
        *(0.001, 20, 12, 0.02, 20),
        concentration=0.6,
        price=-0.8,
        discount=1.8,
        extra_units=5,
        leaves=0,
    ),
    "returns_everything": Kind("Sends every single line back.", 0.001, 10, 3, 1.0, 5, 0.2, leaves=0),
}
"""Planted outliers: one of each per thousand customers, at least one."""

ALL_KINDS: Mapping[str, Kind] = {**KINDS, **EXTREMES}

_ADJECTIVES = (
    *("amber", "ashen", "bold", "brave", "bright", "brisk", "calm", "clever", "copper", "coral", "crisp", "curly"),
    *("daring", "dusty", "eager", "early", "fancy", "fleet", "gentle", "gilded", "glad", "golden", "happy", "hardy"),
    *("hazel", "humble", "icy", "ivory", "jolly", "keen", "kind", "late", "lively", "lucky", "mellow", "merry"),
    *("misty", "noble", "olive", "plucky", "proud", "quick", "quiet", "rapid", "rosy", "rusty", "shy", "silent"),
    *("silver", "snowy", "steady", "sunny", "swift", "tidy", "velvet", "violet", "warm", "wild", "wise", "young"),
)
_ANIMALS = (
    *("adder", "badger", "beaver", "bison", "camel", "cod", "crane", "crow", "deer", "dingo", "dove", "eagle", "egret"),
    *("elk", "falcon", "ferret", "finch", "fox", "gecko", "goose", "gull", "hare", "hawk", "heron", "ibex", "ibis"),
    *("jackal", "jay", "kiwi", "koala", "lark", "lemur", "lion", "llama", "lynx", "magpie", "marten", "mole", "moose"),
    *("mouse", "newt", "okapi", "osprey", "otter", "owl", "panda", "perch", "plover", "puffin", "quail", "raven"),
    *(
        "robin",
        "seal",
        "shrew",
        "sloth",
        "snipe",
        "sparrow",
        "stoat",
        "stork",
        "swan",
        "tapir",
        "teal",
        "tern",
        "tiger",
    ),
    *(
        "toad",
        "trout",
        "turtle",
        "viper",
        "vole",
        "walrus",
        "weasel",
        "whale",
        "wolf",
        "wombat",
        "wren",
        "yak",
        "zebra",
    ),
)
_DOMAINS = ("example.com", "example.org", "example.net")


@dataclass(frozen=True, slots=True)
class Shoppers:
    """The customers, an array element each.

    Days are counted from the first day of the period. ``category_weight`` has shape (customers, categories).
    """

    email: npt.NDArray[np.str_]
    kind: Ints
    """Index into ``ALL_KINDS``."""
    joined: Ints
    left: Ints
    orders: Floats
    lines: Floats
    return_rate: Floats
    days_to_return: Floats
    bracket: Floats
    price: Floats
    discount: Floats
    extra_units: Floats
    category_weight: npt.NDArray[np.float32]

    def typical(self, field: str) -> Floats:
        """Value of that field of each customer's kind."""
        return _typical(self.kind, field)


def draw_shoppers(customers: int, days: int, mix: Mapping[str, float] | None, rng: np.random.Generator) -> Shoppers:
    """Draw customers around their kinds.

    Parameters
    ----------
    customers
        How many, at least 10.
    days
        Length of the period.
    mix
        Weight per kind of ``KINDS``; None takes each kind's own share. Kinds left out do not occur.
    rng
        Source of randomness.

    Raises
    ------
    ValueError
        If the mix names an unknown kind, or its weights are negative or all zero.
    """
    kind = rng.permutation(_kind_counts(customers, mix))
    extreme = kind >= len(KINDS)

    def around(typical: Floats, sigma: float) -> Floats:
        return np.asarray(typical * np.exp(sigma * rng.standard_normal(customers)))

    # Two in five have been there from the start; the others join evenly over the first four fifths.
    joined = np.where(extreme | (rng.random(customers) < 0.4), 0, rng.integers(0, max(1, days * 4 // 5), customers))
    leaves = rng.random(customers) < _typical(kind, "leaves")
    stay = 0.3 + 0.6 * rng.random(customers)
    left = np.where(leaves, joined + np.floor((days - joined) * stay), days).astype(np.int64)
    # A logit-normal around the kind keeps individual rates between 0 and 1.
    rate = np.clip(_typical(kind, "return_rate"), 1e-4, 1 - 1e-9)
    logit = np.log(rate / (1 - rate)) + 0.3 * rng.standard_normal(customers)

    favourite = np.array(
        [[category.division in value.favourites for category in CATEGORIES] for value in ALL_KINDS.values()]
    )
    popularity = np.array([category.popularity for category in CATEGORIES])
    taste = rng.standard_normal((customers, len(CATEGORIES)))
    weight = popularity * np.exp(2.2 * _typical(kind, "concentration")[:, None] * taste + 1.2 * favourite[kind])
    return Shoppers(
        email=_emails(customers, rng),
        kind=kind,
        joined=joined,
        left=left,
        orders=around(_typical(kind, "orders"), 0.35),
        lines=1 + around(_typical(kind, "lines") - 1, 0.2),
        return_rate=1 / (1 + np.exp(-logit)),
        days_to_return=around(_typical(kind, "days_to_return"), 0.15),
        bracket=np.minimum(around(_typical(kind, "bracket"), 0.15), 0.8),
        price=_typical(kind, "price") + 0.3 * rng.standard_normal(customers),
        discount=around(_typical(kind, "discount"), 0.2),
        extra_units=around(_typical(kind, "extra_units"), 0.3),
        category_weight=(weight / weight.sum(axis=1, keepdims=True)).astype(np.float32),
    )


def _typical(kind: Ints, field: str) -> Floats:
    return np.array([getattr(value, field) for value in ALL_KINDS.values()], dtype=float)[kind]


def _kind_counts(customers: int, mix: Mapping[str, float] | None) -> Ints:
    weights = {name: kind.share for name, kind in KINDS.items()} if mix is None else dict(mix)
    unknown = sorted(set(weights) - set(KINDS))
    if unknown:
        raise ValueError(f"unknown kind of customer {unknown[0]!r}; known: {', '.join(KINDS)}")
    share = np.array([weights.get(name, 0.0) for name in KINDS])
    if (share < 0).any() or share.sum() == 0:
        raise ValueError("the weights of a mix must not be negative and not all zero")
    extremes = np.repeat(np.arange(len(KINDS), len(ALL_KINDS)), max(1, round(customers / 1000)))
    # Rounding the cumulative shares makes the counts add up exactly.
    ends = np.rint(np.cumsum(share) / share.sum() * (customers - len(extremes))).astype(np.int64)
    ordinary = np.repeat(np.arange(len(KINDS)), np.diff(ends, prepend=0))
    return np.concatenate([ordinary, extremes])


def _emails(customers: int, rng: np.random.Generator) -> npt.NDArray[np.str_]:
    pairs = len(_ADJECTIVES) * len(_ANIMALS)
    number, pair = np.divmod(rng.permutation(customers * 2)[:customers], pairs)
    adjective, animal = np.divmod(rng.permutation(pairs)[pair], len(_ANIMALS))
    names = np.char.add(np.char.add(np.array(_ADJECTIVES)[adjective], "."), np.array(_ANIMALS)[animal])
    suffix = np.where(number > 0, number.astype(str), "")
    domain = np.array(_DOMAINS)[rng.integers(0, len(_DOMAINS), customers)]
    return np.char.add(np.char.add(np.char.add(names, suffix), "@"), domain)
