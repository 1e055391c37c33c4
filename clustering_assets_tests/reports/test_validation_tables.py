"""The tables of the validation: every figure in its place, the best in bold, and what is not defined said."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from clustering_assets.reports.validation_tables import LEGEND, validation_tables

LATER, EARLIER = datetime(2025, 6, 30), datetime(2025, 3, 31)


def row(as_of: datetime, method: str, epsilon: float | None, **values: Any) -> dict[str, Any]:
    plain = {
        "as_of": as_of,
        "horizon_days": 180,
        "target": "future_return_rate",
        "scale": "values",
        "method": method,
        "known_customers": 1_234,
        "groups": 5,
        "eta_squared": None if epsilon is None else epsilon + 0.01,
        "epsilon_squared": epsilon,
        "standard_error": 0.02,
    }
    return {**plain, **values}


def test_every_figure_stands_in_its_place_and_the_best_of_a_column_is_bold() -> None:
    ranks = {"scale": "ranks"}
    rows = [
        row(EARLIER, "segments", 0.5),
        row(LATER, "segments", 0.1),
        row(LATER, "rfm_cells", 0.2, groups=113),
        row(LATER, "segments", -0.001, **ranks),
        row(LATER, "rfm_cells", -0.003, groups=99, **ranks),
    ]
    assert validation_tables(rows).splitlines() == [
        "**2025-06-30**: 1,234 customers, and the 180 days after",
        "",
        "| method | groups | return rate | return rate, ranks |",
        "| --- | --- | --- | --- |",
        "| segments | 5 | 0.110 (0.100 ± 0.020) | **0.009 (-0.001 ± 0.020)** |",
        "| rfm_cells | 113 | **0.210 (0.200 ± 0.020)** | 0.007 (-0.003 ± 0.020) |",
        "",
        "**2025-03-31**: 1,234 customers, and the 180 days after",
        "",
        "| method | groups | return rate |",
        "| --- | --- | --- |",
        "| segments | 5 | **0.510 (0.500 ± 0.020)** |",
        "",
        LEGEND,
    ]


def test_what_is_not_defined_is_said() -> None:
    rows = [row(LATER, "segments", None, standard_error=None), row(LATER, "rfm_cells", 0.2, standard_error=None)]
    text = validation_tables(rows)
    assert "| segments | 5 | not defined |" in text
    assert "| rfm_cells | 5 | **0.210 (0.200)** |" in text
