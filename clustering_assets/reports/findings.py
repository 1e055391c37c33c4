"""What a run found out, as plain numbers, for every report that tells people of it.

Nothing here is rounded, formatted or put into words of a language; the names, sentences and actions of segments are
those of gold. A figure that is not known is None. Shares are 0..1, money is in the currency of the order lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from clustering_assets.contracts import (
    CLUSTERING_FEATURES,
)

if TYPE_CHECKING:
    pass

OUTLIERS = -1
"""Segment id of the outliers."""

FEATURES = tuple(column.name for column in CLUSTERING_FEATURES)


class NothingToReport(Exception):
    """There are no segments to report on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A figure of the whole shop, now and in the run before.

    Parameters
    ----------
    name
        ``customers``, ``orders``, ``order_value``, ``returned_value``, ``retained_value`` (the difference of the two),
        ``return_rate`` (returned lines / lines), ``returned_value_share`` (returned value / order value),
        ``outlier_share``, ``segments``, ``possible_saving``, ``silhouette`` or ``stability``.
    unit
        As in the contracts: ``customers``, ``orders``, ``money``, ``share``, ``segments`` or empty.
    before
        None where there is no run before, or where it did not record the figure.
    """

    name: str
    unit: str
    value: float | None
    before: float | None

    @property
    def change(self) -> float | None:
        """Now minus before; None where one of them is not known."""
        return None if self.value is None or self.before is None else self.value - self.before


@dataclass(frozen=True, slots=True)
class Difference:
    """A feature that sets a segment apart.

    Parameters
    ----------
    feature
        Column of ``silver.customer_features``.
    effect
        Difference of means against all other customers, in standard deviations of the scaled feature.
    mean, median
        Of the segment's customers, in the unit of the feature.
    shop_mean, shop_median
        Of all customers.
    """

    feature: str
    unit: str
    effect: float
    mean: float | None
    median: float | None
    shop_mean: float | None
    shop_median: float | None


@dataclass(frozen=True, slots=True)
class Saving:
    """What a segment's returns cost beside the refunds, over the span of the data, and what an action could save.

    Parameters
    ----------
    return_cost, possible_saving
        Money; None where order lines have no value.
    returned_lines, returned_value
        What the cost is reckoned from; the value without negative ones.
    handling_per_line, value_lost_share
        Assumed costs: money per returned line, and the share of the returned value that is lost on resale.
    handling_averted, value_loss_averted
        Assumed shares of the two costs that the action averts; 0 where it is no measure against returns.
    assumption
        The same as one English sentence.
    """

    return_cost: float | None
    possible_saving: float | None
    returned_lines: float
    returned_value: float | None
    handling_per_line: float
    value_lost_share: float
    handling_averted: float
    value_loss_averted: float
    assumption: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment, or the outliers.

    Parameters
    ----------
    segment_id
        Stays from run to run; -1 is the outliers.
    name
        Unique within a run, such as ``Serial returners, big baskets``.
    kind
        The entry of the vocabulary that the name comes from (``Serial returners``); None if no entry has that name.
    customers_before
        Customers in the run before; 0 for a segment that is new, None where nothing can be compared.
    share, order_share, value_share, returned_value_share
        The segment's part of the shop's customers, orders, order value, returned value.
    order_value, returned_value
        Sums over its customers; None where order lines have no value.
    order_count, return_rate
        Orders of its customers, and their returned lines divided by their lines.
    differences
        What sets it apart, the strongest first.
    means, medians
        Of the 35 features, in their own units; None where a feature is null for everybody.
    rule, rule_precision, rule_recall, silhouette, stability, description, action
        As in ``gold.segment_profiles``.
    """

    segment_id: int
    name: str
    kind: str | None
    description: str
    customers: int
    customers_before: int | None
    share: float
    order_share: float | None
    value_share: float | None
    returned_value_share: float | None
    order_count: int
    order_value: float | None
    returned_value: float | None
    return_rate: float | None
    differences: tuple[Difference, ...]
    means: Mapping[str, float | None]
    medians: Mapping[str, float | None]
    rule: str | None
    rule_precision: float | None
    rule_recall: float | None
    silhouette: float | None
    stability: float | None
    action: str
    saving: Saving

    @property
    def is_outliers(self) -> bool:
        """Whether these are the customers without a segment."""
        return self.segment_id == OUTLIERS

    @property
    def retained_value(self) -> float | None:
        """Order value that was not paid back; None where it is not known."""
        return (
            None if self.order_value is None or self.returned_value is None else self.order_value - self.returned_value
        )


@dataclass(frozen=True, slots=True)
class Flow:
    """Customers who went one way since the run before; from None: joined, to None: left, the same: stayed."""

    from_id: int | None
    from_name: str | None
    to_id: int | None
    to_name: str | None
    customers: int


@dataclass(frozen=True, slots=True)
class Movement:
    """Who moved between segments since the run before.

    Parameters
    ----------
    previous_run_id, previous_fitted_at
        The fit before; None where there is none, or where it is kept no more.
    comparable
        Whether customers can be followed: not at the first fit, nor after another pseudonym key.
    flows
        Every way that somebody went, those who stayed included, the largest first; empty where not comparable.
    moved, joined, left, stayed
        Customers.
    """

    previous_run_id: str | None
    previous_fitted_at: datetime | None
    comparable: bool
    flows: tuple[Flow, ...]
    moved: int
    joined: int
    left: int
    stayed: int

    @property
    def kept_share(self) -> float | None:
        """Customers of both runs who kept their segment; None where there are none."""
        both = self.moved + self.stayed
        return self.stayed / both if self.comparable and both else None


@dataclass(frozen=True, slots=True)
class Customers:
    """Customers one by one, as columns of equal length, in the order of their ids.

    Parameters
    ----------
    total
        All customers; more than are listed where a sample is.
    ids
        As gold has them: pseudonyms where a key is set.
    segment_ids, map_x, map_y, confidence
        As in ``gold.customer_segments``.
    order_value, returned_value
        Sums; None where the source has no values.
    features
        The 35 features by name, in their own units.
    reasons
        Up to three reasons each, as in ``gold.customer_reasons``.
    """

    total: int
    ids: Sequence[str]
    segment_ids: Sequence[int]
    map_x: Sequence[float]
    map_y: Sequence[float]
    confidence: Sequence[float]
    order_value: Sequence[float | None]
    returned_value: Sequence[float | None]
    features: Mapping[str, Sequence[float | None]]
    reasons: Sequence[tuple[str, ...]]

    def __len__(self) -> int:
        """Return how many customers are listed."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class CategoryMonth:
    """Order lines of a category that were ordered in a month, and what of them came back by the day looked from.

    Parameters
    ----------
    category
        None for lines without a category, or for all categories that are not told apart (then ``others`` is true).
    month
        Its first day.
    returned_lines
        Lines that came back, as far as it is known.
    returned_lines_a_year_ago
        Those of them that had come back a year before: what a month of last year is to be compared by, since returns
        of the latest months are still to come.
    order_value, returned_value
        Sums over lines whose value is known; None where none is.
    """

    category: str | None
    others: bool
    month: date
    lines: int
    returned_lines: int
    returned_lines_a_year_ago: int
    order_value: float | None
    returned_value: float | None


@dataclass(frozen=True, slots=True)
class MonthShare:
    """Customers of a segment at the end of a past month, as ``gold.segment_history`` has them."""

    as_of: date
    segment_id: int
    segment_name: str
    customers: int


@dataclass(frozen=True, slots=True)
class OutOfTime:
    """How much of the customers' later behaviour a way of grouping explains: a row of ``out_of_time_validation``."""

    as_of: date
    horizon_days: int
    target: str
    scale: str
    method: str
    customers: int
    groups: int
    eta_squared: float | None
    epsilon_squared: float | None
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class FileAccount:
    """What became of the rows of a source file: read = kept + rejected + superseded + merged."""

    source_file: str
    status: str
    reason: str
    rows_read: int
    rows_kept: int
    rows_rejected: int
    rows_superseded: int
    rows_merged: int


@dataclass(frozen=True, slots=True)
class Imputed:
    """What was filled in for a feature; `share` is of the customers that were kept."""

    feature: str
    rule: str
    nulls_found: int
    values_filled: int
    fill_value: float | None
    share: float


@dataclass(frozen=True, slots=True)
class DataQuality:
    """What came in and what could not be used.

    Parameters
    ----------
    files
        At most ``MOST_FILES`` of them, those that were not loaded first; ``file_count`` counts all.
    rows_read, rows_kept, rows_rejected, rows_superseded, rows_merged
        Over all files.
    rejected
        Rows that were rejected, by the code of the reason, the most frequent first.
    customers_kept, customers_dropped
        In silver.
    dropped
        Customers that were dropped, by what they lacked.
    imputed
        Features with values that were filled in, the most filled first.
    """

    files: tuple[FileAccount, ...]
    file_count: int
    rows_read: int
    rows_kept: int
    rows_rejected: int
    rows_superseded: int
    rows_merged: int
    rejected: Mapping[str, int]
    customers_kept: int
    customers_dropped: int
    dropped: Mapping[str, int]
    imputed: tuple[Imputed, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """How the segments were made: the row of ``gold.segment_model`` of the fit, as far as a reader wants to know.

    Parameters
    ----------
    parameters, versions
        Configured parameters and versions of libraries, by name.
    choices_of_k
        What each number of segments would have given.
    ids_are_pseudonyms
        Whether the customer ids of gold are pseudonyms.
    feature_drift
        PSI of each feature against the fit before, the largest first; empty where there is none.
    """

    model_run_id: str
    fitted_at: datetime
    input_version: str
    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    scaling_method: str
    ignored_features: tuple[str, ...]
    customers: int
    segments: int
    outliers: int
    eps: float | None
    min_samples: int | None
    shrinkage: float
    silhouette: float | None
    silhouette_full: float | None
    calinski_harabasz: float | None
    davies_bouldin: float | None
    stability: float | None
    smallest_segment_share: float
    feature_drift: Mapping[str, float]
    segment_size_drift: float | None
    choices_of_k: tuple[Mapping[str, Any], ...]
    notes: str
    ids_are_pseudonyms: bool

    @property
    def outlier_share(self) -> float:
        """Outliers divided by all customers."""
        return self.outliers / self.customers


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that a report tells.

    Parameters
    ----------
    as_of
        Day that customers are looked at from: the one that was configured, or that of the latest order.
    orders_from, orders_to
        Days of the first and the latest order of these customers.
    segments
        By size, the outliers last.
    category_months
        Ordered by category (as large as they are, the others and those without one last) and month; empty where no
        line has a date.
    history
        Ordered by month and segment id; empty where it was never computed.
    """

    as_of: date
    orders_from: date
    orders_to: date
    fit: Fit
    key_figures: tuple[KeyFigure, ...]
    segments: tuple[Segment, ...]
    movement: Movement
    customers: Customers
    category_months: tuple[CategoryMonth, ...]
    history: tuple[MonthShare, ...]
    out_of_time: tuple[OutOfTime, ...]
    quality: DataQuality

    @property
    def headline(self) -> Segment | None:
        """Whose share of the returned value exceeds their share of the customers most: a segment, or the outliers.

        Where order lines have no value, the segment with the highest return rate. None if nothing ever came back.
        """
        if self.has_money:
            best = max(self.segments, key=lambda each: (each.returned_value_share or 0.0) - each.share)
            return best if best.returned_value_share else None
        rated = [each for each in self.segments if each.return_rate]
        return max(rated, key=lambda each: each.return_rate or 0.0, default=None)

    @property
    def has_money(self) -> bool:
        """Whether order lines have values."""
        return self.key_figure("order_value").value is not None

    @property
    def knows_before(self) -> bool:
        """Whether anything of the fit before is known."""
        return self.movement.comparable or any(figure.before is not None for figure in self.key_figures)

    def key_figure(self, name: str) -> KeyFigure:
        """Return the key figure of that name; raise KeyError if there is none."""
        for figure in self.key_figures:
            if figure.name == name:
                return figure
        raise KeyError(name)

    def segment(self, segment_id: int) -> Segment | None:
        """Return the segment of that id; None if it is not there now."""
        return next((each for each in self.segments if each.segment_id == segment_id), None)
