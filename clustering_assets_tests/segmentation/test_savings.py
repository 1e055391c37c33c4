"""Costs and savings, computed by hand."""

from __future__ import annotations

import pytest

from clustering_assets.segmentation.savings import Saving, saving
from clustering_assets.segmentation.vocabulary import Costs, Measure

COSTS = Costs.model_validate(
    {
        "handling_per_line": {"value": 5, "source": "assumption"},
        "value_lost_share": {"value": 0.1, "source": "assumption"},
    }
)


@pytest.mark.parametrize(
    ("handling", "value_loss", "expected"),
    [(0.2, 0.5, 60), (0.2, 0, 10), (0, 0.5, 50), (1, 1, 150), (0, 0, 0)],
)
def test_ten_lines_worth_a_thousand(handling, value_loss, expected):
    # 10 lines at 5 are 50 of handling; a tenth of 1,000 is 100 lost on resale.
    found = saving(10, 1_000, COSTS, Measure(handling=handling, value_loss=value_loss, source="a trial in spring"))
    assert found.return_cost == pytest.approx(150)
    assert found.possible_saving == pytest.approx(expected)
    assert found.assumption.endswith("; a trial in spring.")


def test_the_assumption_gives_the_figures():
    found = saving(12_345, 67_890, COSTS, Measure(handling=0.15, value_loss=0.3, source="assumption"))
    assert found.assumption == (
        "Averts 15% of handling (12,345 returned lines at 5) and 30% of the loss on resale "
        "(10% of 67,890 returned value); assumption."
    )


def test_what_is_not_averted_is_not_spoken_of():
    assert "handling" not in saving(10, 1_000, COSTS, Measure(value_loss=0.3, source="assumption")).assumption


def test_without_a_measure_nothing_is_saved():
    assert saving(10, 1_000, COSTS, None)[:2] == (150, 0)
    assert "nothing is saved" in saving(10, 1_000, COSTS, None).assumption


def test_without_money_nothing_is_known():
    assert saving(10, None, COSTS, Measure(handling=1, source="assumption")) == Saving(
        None, None, "Not known: the order lines have no value."
    )
    assert saving(10, None, COSTS, None)[:2] == (None, 0)


def test_without_returns_nothing_is_lost():
    assert saving(0, 0, COSTS, Measure(handling=1, value_loss=1, source="assumption"))[:2] == (0, 0)
