"""What the made-up shop sells: categories, styles, colours, sizes and prices.

Holds no customer and no order. Brands and style names are invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Category:
    """A product category.

    Parameters
    ----------
    name, division, manager
        As the export prints them; ``manager`` is the merchandise manager in charge.
    price
        Median list price of its styles, money.
    return_odds
        Odds that a line comes back, relative to the average category.
    popularity
        Weight among the categories.
    sizes
        Key of ``SIZES``.
    peak_month, season
        Month (1-12) of the highest demand, and by how much demand swings around its mean (0: not at all).
    nouns
        What a style of it is called.
    """

    name: str
    division: str
    manager: str
    price: float
    return_odds: float
    popularity: float
    sizes: str
    peak_month: int
    season: float
    nouns: tuple[str, ...]


CATEGORIES = (
    Category("Dresses", "Women", "W1", 70, 2.4, 0.09, "letters", 5, 0.4, ("Dress", "Maxi Dress")),
    Category("Tops", "Women", "W1", 30, 0.9, 0.10, "letters", 6, 0.1, ("Blouse", "Top")),
    Category("Jeans", "Women", "W2", 75, 1.6, 0.05, "waist", 9, 0.1, ("Jeans",)),
    Category("Skirts", "Women", "W1", 45, 1.3, 0.03, "letters", 5, 0.4, ("Skirt",)),
    Category("Knitwear", "Women", "W2", 60, 1.0, 0.05, "letters", 11, 0.6, ("Cardigan", "Sweater")),
    Category("Coats", "Women", "W2", 150, 1.5, 0.03, "letters", 11, 0.8, ("Coat",)),
    Category("Lingerie", "Women", "W1", 35, 0.5, 0.04, "letters", 2, 0.2, ("Bra", "Briefs, 2-pack")),
    Category("Swimwear", "Women", "W1", 40, 1.5, 0.02, "letters", 6, 0.9, ("Swimsuit", "Bikini")),
    Category("Shirts", "Men", "M1", 50, 0.8, 0.06, "letters", 4, 0.1, ("Shirt",)),
    Category("T-Shirts", "Men", "M1", 22, 0.5, 0.07, "letters", 6, 0.3, ("T-Shirt", "Polo")),
    Category("Trousers", "Men", "M1", 65, 1.3, 0.05, "waist", 9, 0.1, ("Chinos", "Trousers")),
    Category("Jackets", "Men", "M1", 120, 1.2, 0.03, "letters", 10, 0.6, ("Jacket",)),
    Category("Sneakers", "Shoes", "S1", 90, 1.7, 0.08, "shoes", 4, 0.1, ("Sneaker",)),
    Category("Boots", "Shoes", "S1", 130, 2.1, 0.04, "shoes", 11, 0.8, ("Boot", "Chelsea Boot")),
    Category("Pumps", "Shoes", "S1", 85, 2.5, 0.03, "shoes", 3, 0.2, ("Pump",)),
    Category("Sandals", "Shoes", "S1", 60, 1.8, 0.03, "shoes", 6, 0.8, ("Sandal",)),
    Category("Bags", "Accessories", "A1", 80, 0.6, 0.04, "none", 12, 0.2, ("Tote", "Backpack")),
    Category("Jewellery", "Accessories", "A1", 40, 0.3, 0.04, "none", 12, 0.5, ("Earrings", "Necklace")),
    Category("Scarves", "Accessories", "A1", 28, 0.3, 0.03, "none", 12, 0.7, ("Scarf, woven", "Scarf")),
    Category("Kidswear", "Kids", "K1", 25, 0.7, 0.06, "kids", 8, 0.2, ("Romper", "Leggings")),
    Category("Home Textiles", "Home", "H1", 35, 0.3, 0.05, "none", 12, 0.3, ("Cushion", "Bed Linen, 2 pieces")),
)

SIZES = {
    "letters": ("XS", "S", "M", "L", "XL", "XXL"),
    "waist": ("26", "28", "30", "32", "34", "36"),
    "shoes": ("37", "38", "39", "40", "41", "42", "43"),
    "kids": ("92", "104", "116", "128", "140"),
    "none": ("OS",),
}
COLOURS = (
    ("001", "Black"),
    ("100", "White"),
    ("410", "Navy"),
    ("020", "Grey"),
    ("250", "Camel"),
    ("600", "Red"),
    ("310", "Green"),
    ("450", "Blue"),
)
BRANDS = (
    *("Alderway", "Brindle & Co", "Corvane", "Dunmere", "Elmhollow", "Farrowby", "Glenmoss", "Hartvale", "Innisk"),
    *("Juniper Row", "Kestrane", "Lowmarsh", "Mistral Lane", "Norvik Bay", "Oakhurst Nine", "Pellworth", "Quillon"),
    *("Ravensby", "Solvane", "Thistledown"),
)
_ADJECTIVES = ("Linen", "Wrap", "Slim", "Classic", "Soft", "Ribbed", "Printed", "Cropped", "Relaxed", "Quilted")
REASONS = {
    "fit": ("Too small", "Too large", "Does not suit", "Ordered several sizes", "Quality", "Arrived too late"),
    "plain": ("Not as described", "Changed mind", "Damaged", "Quality", "Arrived too late", "Unwanted gift"),
}
_REASON_WEIGHTS = {"fit": (0.31, 0.21, 0.22, 0.12, 0.08, 0.06), "plain": (0.28, 0.27, 0.15, 0.12, 0.08, 0.10)}
ALL_REASONS = tuple(dict.fromkeys((*REASONS["fit"], *REASONS["plain"])))
SEVERAL_SIZES = ALL_REASONS.index("Ordered several sizes")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The styles of the shop and the SKUs (style, colour, size) made of them.

    Arrays named ``style_*`` have an element per style, arrays named ``sku_*`` one per SKU. SKUs of a style are numbered
    one after the other, colour by colour, size by size; styles of a category stand together, cheapest first.
    """

    style_category: Ints
    style_brand: Ints
    style_price: Floats
    style_name: tuple[str, ...]
    style_sizes: Ints
    style_colours: Ints
    style_first_sku: Ints
    style_choice: Floats
    """Cumulative popularity within the category plus the category's index: a search key over all styles."""
    sku_style: Ints
    sku_colour: Ints
    sku_size: tuple[str, ...]

    @property
    def sku_number(self) -> tuple[str, ...]:
        """Number of each SKU: style, colour and size in one."""
        first = self.style_first_sku[self.sku_style]
        within = np.arange(len(self.sku_style)) - first
        return tuple((10_000_000 + self.sku_style * 100 + within).astype(str))


def make_catalogue(styles: int, rng: np.random.Generator) -> Catalogue:
    """Make up a catalogue of about that many styles, at least five a category."""
    shares = np.array([category.popularity for category in CATEGORIES])
    per_category = np.maximum(5, np.rint(styles * shares / shares.sum()).astype(np.int64))
    style_category = np.repeat(np.arange(len(CATEGORIES)), per_category)
    count = len(style_category)
    median = np.array([category.price for category in CATEGORIES])[style_category]
    prices = median * np.exp(0.55 * rng.standard_normal(count))
    prices = np.maximum(np.rint(prices / 5) * 5, 5) - 0.05
    order = np.lexsort((prices, style_category))
    prices = prices[order]
    # Few styles sell a lot, most sell little: weights as in Zipf's law, ranks in random order.
    weights = 1 / (1 + rng.permutation(count)) ** 0.7
    choice = np.empty(count)
    for category in range(len(CATEGORIES)):
        inside = style_category == category
        cumulative = np.cumsum(weights[inside])
        choice[inside] = category + cumulative / cumulative[-1]
    names = [
        f"{adjective} {noun}"
        for category, number in zip(CATEGORIES, per_category, strict=True)
        for adjective, noun in _cycle(tuple(product(_ADJECTIVES, category.nouns)), int(number))
    ]
    sizes = np.array([len(SIZES[category.sizes]) for category in CATEGORIES])[style_category]
    colours = rng.integers(1, 5, count)
    first_colour = rng.integers(0, len(COLOURS), count)
    skus = sizes * colours
    sku_style = np.repeat(np.arange(count), skus)
    first_sku = np.cumsum(skus) - skus
    within = np.arange(len(sku_style)) - first_sku[sku_style]
    size_index = within % sizes[sku_style]
    colour = (first_colour[sku_style] + within // sizes[sku_style]) % len(COLOURS)
    size_names = [SIZES[category.sizes] for category in CATEGORIES]
    return Catalogue(
        style_category=style_category,
        style_brand=rng.integers(0, len(BRANDS), count),
        style_price=prices,
        style_name=tuple(names),
        style_sizes=sizes,
        style_colours=colours,
        style_first_sku=first_sku,
        style_choice=choice,
        sku_style=sku_style,
        sku_colour=colour,
        sku_size=tuple(
            size_names[category][size] for category, size in zip(style_category[sku_style], size_index, strict=True)
        ),
    )


def reason_choice() -> tuple[Floats, Ints]:
    """Cumulative weights and reason indices per category, both of shape (categories, 6)."""
    kinds = ["plain" if category.sizes == "none" else "fit" for category in CATEGORIES]
    weights = np.cumsum([_REASON_WEIGHTS[kind] for kind in kinds], axis=1)
    indices = np.array([[ALL_REASONS.index(reason) for reason in REASONS[kind]] for kind in kinds])
    return weights, indices


def monthly_demand() -> Floats:
    """Demand for each category by month, mean 1 over the year, of shape (12, categories)."""
    months = np.arange(1, 13)[:, None]
    peak = np.array([category.peak_month for category in CATEGORIES])
    swing = np.array([category.season for category in CATEGORIES])
    return np.asarray(1 + swing * np.cos(2 * np.pi * (months - peak) / 12))


def _cycle(values: tuple[tuple[str, str], ...], count: int) -> list[tuple[str, str]]:
    return [values[index % len(values)] for index in range(count)]
