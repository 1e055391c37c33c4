"""The figures that segments are described by: shares, means of the features and what follows from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clustering_assets.contracts import CLUSTERING_FEATURES

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]

FEATURES = [column.name for column in CLUSTERING_FEATURES]

DERIVED = ("returner_share", "one_order_share", "inactive_share", "new_share", "days_to_return", "customer_value")
"""Facts about a segment beyond the means of the features; see `segment_facts`."""
TOTAL_SHARES = ("share", "order_share", "value_share", "returned_value_share")
"""What part of the shop a segment is."""
SHARES = frozenset(
    {column.name for column in CLUSTERING_FEATURES if column.unit == "share"}
    | {name for name in (*DERIVED, *TOTAL_SHARES) if name.endswith("share")}
)
"""Facts that are shares, and are told in per cent."""

NO_DEVIATION = 1e-9


class Columns(Protocol):
    """A frame, or whatever else has a column by name, such as files that it is read from when somebody asks for it."""

    def __getitem__(self, name: str) -> pd.Series[float]: ...


def segment_facts(features: Columns, labels: NDArray[Any]) -> pd.DataFrame:
    """Return the facts about each segment.

    Parameters
    ----------
    features : columns of n rows
        The 35 clustering features, in their own units. They are looked at one after the other.
    labels : ndarray of shape (n,)

    Returns
    -------
    DataFrame
        One row per segment, indexed by it: the means of the 35 features under their names; ``returner_share``
        (customers with a returned line), ``one_order_share`` (with a single order), ``inactive_share`` (without a
        recent order) and ``new_share`` (all of whose orders are recent), each as a share of the segment's customers;
        ``days_to_return`` (mean over the customers who returned something and whose days are known, where the
        feature has 0 for those who did not); ``customer_value`` (mean of order value times orders);
        ``customers``; and the segment's ``share`` of the customers, ``order_share``, ``value_share`` and
        ``returned_value_share`` of the totals, all null where the total is not known or not positive.
    """
    import pandas as pd

    facts = pd.DataFrame({name: column.groupby(labels).mean() for name, column in _per_customer(features)})
    facts["customers"] = pd.Series(labels).groupby(labels).size()
    facts["share"] = facts["customers"] / max(len(labels), 1)
    orders = features["order_count"]
    facts["order_share"] = _part_of_total(orders, labels)
    facts["value_share"] = _part_of_total(features["mean_order_value"] * orders, labels)
    facts["returned_value_share"] = _part_of_total(returned_value(features), labels)
    return facts


def _per_customer(features: Columns) -> Iterator[tuple[str, pd.Series[float]]]:
    """Return, one at a time, the columns whose means are facts."""
    for name in FEATURES:
        yield name, features[name]
    orders, recent = features["order_count"], features["recent_order_count"]
    returned, days = features["returned_line_count"], features["mean_days_to_return"]
    yield "returner_share", _share_of(returned > 0, returned)
    yield "one_order_share", _share_of(orders <= 1, orders)
    yield "inactive_share", _share_of(recent <= 0, recent)
    yield "new_share", _share_of(recent >= orders, recent)
    yield "days_to_return", days.where((returned > 0) & (days > 0))
    yield "customer_value", features["mean_order_value"] * orders


def returned_value(features: Columns) -> pd.Series[float]:
    """Return the money that each customer's returns were paid back with: mean per returned line times those lines."""
    value: pd.Series[float] = features["mean_return_value"] * features["returned_line_count"]
    return value


def _share_of(holds: pd.Series[bool], known: pd.Series[float]) -> pd.Series[float]:
    share: pd.Series[float] = holds.astype(np.float64).where(known.notna())
    return share


def _part_of_total(values: pd.Series[float], labels: NDArray[Any]) -> pd.Series[float]:
    total = values.sum()
    parts: pd.Series[float] = values.groupby(labels).sum() / (total if total > 0 else np.nan)
    return parts


@dataclass(frozen=True, slots=True)
class Moments:
    """Sizes, means and variances of the scaled features per segment: all that effect sizes need.

    Parameters
    ----------
    segments : list of int
    sizes : ndarray of shape (n_segments,)
        Customers per segment.
    means, variances : ndarray of shape (n_segments, 35)
    """

    segments: list[int]
    sizes: FloatArray
    means: FloatArray
    variances: FloatArray

    @classmethod
    def of(cls, scaled: FloatArray, labels: NDArray[Any]) -> Moments:
        """Return the moments of scaled rows, of shape (n, 35), by their segment."""
        return cls.of_columns(scaled.T, labels)

    @classmethod
    def of_columns(cls, scaled: Iterable[FloatArray], labels: NDArray[Any]) -> Moments:
        """Return the same of the 35 columns, each of shape (n,), which are looked at one after the other."""
        segments, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        means, variances = [], []
        for column in scaled:
            means.append(np.bincount(places, column) / sizes)
            variances.append(np.bincount(places, (column - means[-1][places]) ** 2) / sizes)
        return cls(segments.tolist(), sizes.astype(np.float64), np.stack(means, axis=1), np.stack(variances, axis=1))

    def size(self, segment: int) -> int:
        """Return the number of customers of a segment."""
        return int(self.sizes[self.segments.index(segment)])

    def others(self, segment: int) -> list[int]:
        """Return all segments but one."""
        return [other for other in self.segments if other != segment]

    def effect(self, segment: int, others: Collection[int]) -> FloatArray:
        """Return the standardised mean difference of each feature between a segment and others taken together.

        The standard deviation is the root of the mean of both variances; where neither side varies it is taken as 1,
        the unit of a scaled feature. 0 where there are no others.
        """
        if not others:
            return np.zeros(self.means.shape[1])
        own, rest = self.segments.index(segment), [self.segments.index(other) for other in others]
        weights = self.sizes[rest] / self.sizes[rest].sum()
        mean = weights @ self.means[rest]
        variance = weights @ (self.variances[rest] + (self.means[rest] - mean) ** 2)
        deviation = np.sqrt((self.variances[own] + variance) / 2)
        effect: FloatArray = (self.means[own] - mean) / np.where(deviation > NO_DEVIATION, deviation, 1.0)
        return effect


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is said of the customers of each segment beyond what a sample of them tells.

    Parameters
    ----------
    facts : DataFrame
        As `segment_facts` gives them, indexed by segment.
    shop : Series
        The same facts of all customers.
    medians : DataFrame
        Median of each of the 35 features.
    moments
        Of the scaled features.
    returned : DataFrame
        Returned ``lines``, and the ``value`` that was paid back for them; null where no order line has a value.
    """

    facts: pd.DataFrame
    shop: pd.Series[float]
    medians: pd.DataFrame
    moments: Moments
    returned: pd.DataFrame

    @classmethod
    def of(cls, features: Columns, scaled: Iterable[FloatArray], labels: NDArray[Any]) -> Figures:
        """Look at the columns of n customers, one after the other, by their segments, of shape (n,)."""
        import pandas as pd

        lines, value = features["returned_line_count"], returned_value(features).clip(lower=0)
        has_money = bool(features["mean_order_value"].notna().any())
        returned = {"lines": lines.groupby(labels).sum(), "value": value.groupby(labels).sum()}
        return cls(
            segment_facts(features, labels),
            segment_facts(features, np.zeros(len(labels))).mean(),
            pd.DataFrame({name: features[name].groupby(labels).median() for name in FEATURES}),
            Moments.of_columns(scaled, labels),
            pd.DataFrame(returned).assign(**({} if has_money else {"value": np.nan})),
        )
