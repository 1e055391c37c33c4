"""What the returns of a segment cost, and what an action could save of it. The figures assumed are the vocabulary's."""

from __future__ import annotations

from typing import NamedTuple

from clustering_assets.segmentation.vocabulary import Costs, Measure

NO_MEASURE = "No measure is proposed, so nothing is saved."
NO_MONEY = "Not known: the order lines have no value."


class Saving(NamedTuple):
    """Money over the span of the data, in the currency of the order lines; None where the lines have no value."""

    return_cost: float | None
    possible_saving: float | None
    assumption: str


def saving(returned_lines: float, returned_value: float | None, costs: Costs, measure: Measure | None) -> Saving:
    """Return what returns cost and what a measure could save.

    Parameters
    ----------
    returned_lines
        Lines of the segment that came back, wholly or in part.
    returned_value
        Money that was paid back for them; None if it is not known.
    costs
        What a return costs beside the refund.
    measure
        What shares of the costs the action averts; None if there is none.

    Notes
    -----
    handling = returned lines * handling cost per line; value loss = returned value * share lost on resale;
    return cost = handling + value loss; saving = handling * share averted + value loss * share averted.
    Sales are taken to stay as they are: neither the margin of goods that are kept instead of sent back, nor that of
    sales lost to a stricter policy is counted.
    """
    if returned_value is None:
        return Saving(None, 0.0 if measure is None else None, NO_MEASURE if measure is None else NO_MONEY)
    handling = returned_lines * costs.handling_per_line.value
    value_loss = returned_value * costs.value_lost_share.value
    if measure is None:
        return Saving(handling + value_loss, 0.0, NO_MEASURE)
    parts = [
        (measure.handling, f"handling ({returned_lines:,.0f} returned lines at {costs.handling_per_line.value:g})"),
        (
            measure.value_loss,
            f"the loss on resale ({costs.value_lost_share.value:.0%} of {returned_value:,.0f} returned value)",
        ),
    ]
    averted = " and ".join(f"{share:.0%} of {cost}" for share, cost in parts if share)
    return Saving(
        handling + value_loss,
        handling * measure.handling + value_loss * measure.value_loss,
        f"Averts {averted or 'nothing'}; {measure.source}.",
    )
