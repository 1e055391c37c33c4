"""A made-up shop: customers of planted kinds, their orders and returns, written the way real sources look.

``generate`` draws it, ``write`` puts it into files, ``python -m clustering_assets.synthetic`` does both.
"""

from clustering_assets.synthetic.dirt import DIRT
from clustering_assets.synthetic.files import FORMATS, Written, write
from clustering_assets.synthetic.layouts import LAYOUTS
from clustering_assets.synthetic.orders import SyntheticOrders, generate
from clustering_assets.synthetic.shoppers import ALL_KINDS, EXTREMES, KINDS

__all__ = [
    "ALL_KINDS",
    "DIRT",
    "EXTREMES",
    "FORMATS",
    "KINDS",
    "LAYOUTS",
    "SyntheticOrders",
    "Written",
    "generate",
    "write",
]
