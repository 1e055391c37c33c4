"""Whether two ways of computing a table come to the same values."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd


def differing_columns(
    one: pd.DataFrame, other: pd.DataFrame, columns: Iterable[str], tolerance: float = 1e-9
) -> list[str]:
    """Name the columns in which two tables of one row per customer differ, be it only in what is missing.

    Parameters
    ----------
    one, other
        With a column ``customer_id``, in any order of the rows.
    columns
        What to compare.
    tolerance
        Of numbers, relative where they are above 1 and else absolute.

    Raises
    ------
    ValueError
        If the customers are not the same.
    """
    one, other = (each.set_index("customer_id").sort_index() for each in (one, other))
    if not one.index.equals(other.index):
        raise ValueError(f"{len(one):,} and {len(other):,} customers, who are not the same")
    return [name for name in columns if not _same(one[name], other[name], tolerance)]


def _same(one: pd.Series, other: pd.Series, tolerance: float) -> bool:
    if not (pd.api.types.is_numeric_dtype(one) and pd.api.types.is_numeric_dtype(other)):
        return bool((one.isna() == other.isna()).all() and (one.dropna() == other.dropna()).all())
    first, second = (each.astype("float64").to_numpy() for each in (one, other))
    return bool(np.allclose(first, second, rtol=tolerance, atol=tolerance, equal_nan=True))
