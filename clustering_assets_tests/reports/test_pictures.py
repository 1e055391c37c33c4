"""Pictures are small, deterministic, free of global state and keep the colour of a segment."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from io import BytesIO

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clustering_assets.reports.colours import COLOURS, OUTLIER_COLOUR, OUTLIERS, segment_colour
from clustering_assets.reports.pictures import (
    cluster_choice_curve,
    customer_map,
    k_distance_curve,
    segment_marker,
    segment_shares,
    segment_sizes,
    variance_explained,
)

NAMES = {0: "Loyal, few returns", 1: "From $5 to $10 & <more>", 2: "x" * 200, OUTLIERS: "Outliers"}
RECORDS = [
    {"k": 3, "prediction_strength": 0.9, "silhouette": 0.3},
    {"k": 2, "prediction_strength": 1.0, "silhouette": 0.2},
    {"k": 4, "prediction_strength": None, "silhouette": float("nan")},
]
EXPLAINED = [
    {
        "as_of": datetime(2025, 6, 30),
        "horizon_days": 180,
        "target": target,
        "scale": scale,
        "method": method,
        "epsilon_squared": epsilon,
        "standard_error": None if method == "rfm_score" else 0.02,
    }
    for target in ("future_return_rate", "future_return_value", "future_order_value")
    for scale in ("values", "ranks")
    for method, epsilon in {"segments": 0.2, "rfm_cells": -0.01, "rfm_score": 0.1}.items()
]


def many_customers() -> bytes:
    random = np.random.default_rng(1)
    return customer_map(random.standard_normal((50_000, 2)), random.integers(-1, 12, 50_000), NAMES)


PICTURES: dict[str, Callable[[], bytes]] = {
    "k distances": lambda: k_distance_curve(np.random.default_rng(1).gamma(5, 1, 30_000), 9.0),
    "k distances with a long tail": lambda: k_distance_curve(np.random.default_rng(1).lognormal(0, 2, 30_000), 9.0),
    "k distances of one customer, zero": lambda: k_distance_curve([0.0], 0.1),
    "choice": lambda: cluster_choice_curve(RECORDS, 3, {"prediction_strength": 0.8}),
    "choice of a number not tried": lambda: cluster_choice_curve(RECORDS[:1], 7),
    "map of many": many_customers,
    "map of one": lambda: customer_map([[0.0, 0.0]], [OUTLIERS], {}),
    "map with a place missing": lambda: customer_map([[0.0, 0.0], [np.nan, 1.0]], [0, 1], NAMES),
    "map of nobody": lambda: customer_map(np.empty((0, 2)), [], NAMES),
    "sizes": lambda: segment_sizes({**dict.fromkeys(range(20), 1000), OUTLIERS: 3}, NAMES),
    "variance explained": lambda: variance_explained(EXPLAINED),
    "variance explained of one target": lambda: variance_explained(EXPLAINED[:3]),
    "variance not defined": lambda: variance_explained([{**row, "epsilon_squared": None} for row in EXPLAINED]),
    "shares of two years": lambda: segment_shares(
        [datetime(2023 + month // 12, month % 12 + 1, 28) for month in range(24)],
        {0: np.linspace(0.3, 0.6, 24).tolist(), 2: np.linspace(0.68, 0.38, 24).tolist(), OUTLIERS: [0.02] * 24},
        NAMES,
    ),
    "shares of one month": lambda: segment_shares([datetime(2025, 3, 31)], {0: [1.0]}, {}),
    "sizes of nobody": lambda: segment_sizes({}, NAMES),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES.keys())
def test_a_picture_is_a_small_opaque_png_on_white_and_the_same_every_time(picture: Callable[[], bytes]) -> None:
    content = picture()
    assert len(content) < 60_000
    image = Image.open(BytesIO(content))
    assert image.format == "PNG"
    assert "transparency" not in image.info
    assert image.convert("RGB").getpixel((0, image.height - 1)) == (255, 255, 255)
    assert np.asarray(image.convert("L")).min() < 100  # there is ink on it
    assert picture() == content


def test_a_segment_keeps_its_colour_whatever_else_is_on_the_map() -> None:
    def colours(segment_ids: list[int]) -> set[tuple[int, ...]]:
        image = Image.open(BytesIO(customer_map([[i % 30, i // 30] for i in range(len(segment_ids))], segment_ids, {})))
        return {tuple(colour) for colour in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}

    third = tuple(int(segment_colour(3)[i : i + 2], 16) for i in (1, 3, 5))
    for segment_ids in ([3] * 300, [0, 1, 3] * 100, [OUTLIERS, 3, 12] * 100):
        assert any(np.abs(np.subtract(colour, third)).max() <= 6 for colour in colours(segment_ids))


def test_colour_and_marker_together_tell_64_segments_and_the_outliers_apart() -> None:
    looks = {(segment_colour(segment), segment_marker(segment)) for segment in range(OUTLIERS, 64)}
    assert len(looks) == 65
    assert all(segment_colour(segment) != OUTLIER_COLOUR for segment in range(64))


# Severity 1.0 matrices of Machado, Oliveira & Fernandes (2009), for linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}


def linear(colour: str) -> NDArray[np.float64]:
    srgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089])
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_differ_under_each_colour_deficiency(deficiency: str) -> None:
    seen = [lab(DEFICIENCIES[deficiency] @ linear(colour)) for colour in (*COLOURS, OUTLIER_COLOUR)]
    # CIE76: 2.3 is just noticeable, 10 is seen at a glance.
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 14


def test_drawing_touches_no_global_state() -> None:
    before = dict(mpl.rcParams)
    many_customers()
    assert dict(mpl.rcParams) == before


def test_pyplot_is_not_imported() -> None:
    code = "import sys, clustering_assets.reports.pictures; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_inputs_are_not_modified() -> None:
    distances, places, segments = np.array([3.0, 1.0, 2.0]), np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([1, 0])
    copies = [array.copy() for array in (distances, places, segments)]
    k_distance_curve(distances, 2.0)
    customer_map(places, segments, {})
    assert all((a == b).all() for a, b in zip((distances, places, segments), copies, strict=True))


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="no distances"):
        k_distance_curve([], 1.0)
    with pytest.raises(ValueError, match="no records"):
        cluster_choice_curve([], 2)
    with pytest.raises(ValueError, match="no rows"):
        variance_explained([])
    with pytest.raises(ValueError, match="no days"):
        segment_shares([], {}, {})
