"""How much of the variance of a figure a grouping explains. Making groups does not belong here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_ROUNDING = 1e-9
_FIGURES = ("groups", "eta_squared", "epsilon_squared", "standard_error", "lead", "lead_standard_error")


class VarianceExplained(NamedTuple):
    """Effect sizes of a grouping on a figure.

    Parameters
    ----------
    eta_squared
        Share of the sum of squares that lies between the groups, 0 to 1. It grows with the number of groups, even of
        groups that were drawn by lot.
    epsilon_squared
        The same corrected for the number of groups: 0 on average for groups drawn by lot, so it can be below 0.
    leaving_one_out
        Epsilon squared without the first row, without the second, and so on, of shape (n,). NaN where that leaves no
        variance.
    """

    eta_squared: float
    epsilon_squared: float
    leaving_one_out: FloatArray


def variance_explained(values: ArrayLike, groups: ArrayLike) -> VarianceExplained | None:
    """Return how much of the variance of the values lies between the groups.

    Parameters
    ----------
    values : array-like of shape (n,)
        Finite numbers.
    groups : array-like of shape (n,)
        The group of each.

    Returns
    -------
    VarianceExplained or None
        None where it is not defined: without variance, or with fewer than two rows more than groups.

    Notes
    -----
    With the sums of squares within groups W and in total T, of n rows in k groups: eta squared is 1 - W / T (Fisher
    1925, "Statistical methods for research workers", as the correlation ratio), epsilon squared is
    1 - (W / (n - k)) / (T / (n - 1)) (Kelley 1935, "An unbiased correlation ratio measure"). On midranks eta squared is
    H / (n - 1) with the H of Kruskal and Wallis (Tomczak and Tomczak 2014, "The need to report effect size estimates
    revisited").
    """
    x = np.asarray(values, dtype=np.float64)
    codes, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)[1:]
    n, k = len(x), len(sizes)
    if n - k < 2 or x.min() == x.max():
        return None
    own_size = sizes[codes]
    from_mean = (x - x.mean()) ** 2
    from_group = (x - (np.bincount(codes, x) / sizes)[codes]) ** 2
    total, within = from_mean.sum(), from_group.sum()

    total_without = total - n / (n - 1) * from_mean
    total_without[total_without <= _ROUNDING * total] = np.nan
    alone = own_size == 1
    within_without = within - own_size / np.where(alone, 1, own_size - 1) * from_group
    degrees_without = n - 1 - (k - alone)
    return VarianceExplained(
        eta_squared=float(np.clip(1 - within / total, 0, 1)),
        epsilon_squared=float(1 - within / (n - k) / (total / (n - 1))),
        leaving_one_out=1 - within_without / degrees_without / (total_without / (n - 2)),
    )


def jackknife_error(leaving_one_out: FloatArray) -> float | None:
    """Return the standard error of a statistic from its values without one row each, of shape (n,).

    None where one of them is not defined.

    Notes
    -----
    Efron and Tibshirani 1993, "An introduction to the bootstrap", eq. 11.5.
    """
    n = len(leaving_one_out)
    error = float(np.sqrt((n - 1) * leaving_one_out.var()))
    return error if np.isfinite(error) else None


def compare(
    values: ArrayLike, groupings: Mapping[str, ArrayLike], reference: str
) -> dict[str, dict[str, int | float | None]]:
    """Compare groupings of the same rows by the variance that they explain.

    Parameters
    ----------
    values : array-like of shape (n,)
        Finite numbers.
    groupings : mapping
        The group of each, of shape (n,), by the name of the method.
    reference : str
        The method that the others are compared with.

    Returns
    -------
    dict
        By method: ``groups``, ``eta_squared``, ``epsilon_squared`` and its ``standard_error``, ``lead`` (the epsilon
        squared of the reference minus that of the method) and ``lead_standard_error``. The errors are jackknifed, that
        of the lead from both methods without the same row. None where it is not defined.
    """
    explained = {method: variance_explained(values, groups) for method, groups in groupings.items()}
    best = explained[reference]
    figures: dict[str, dict[str, int | float | None]] = {}
    for method, own in explained.items():
        figures[method] = dict.fromkeys(_FIGURES)
        figures[method]["groups"] = len(np.unique(np.asarray(groupings[method])))
        if own is not None:
            error = jackknife_error(own.leaving_one_out)
            figures[method] |= {
                "eta_squared": own.eta_squared,
                "epsilon_squared": own.epsilon_squared,
                "standard_error": error,
            }
        if own is not None and best is not None and method != reference:
            figures[method] |= {
                "lead": best.epsilon_squared - own.epsilon_squared,
                "lead_standard_error": jackknife_error(best.leaving_one_out - own.leaving_one_out),
            }
    return figures
