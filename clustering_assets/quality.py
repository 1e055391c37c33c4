"""Whether figures of tables and of a segmentation are within limits, set elsewhere, and what to do where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from clustering_assets.comparison import MISSING, Change

_SHOWN = 10
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of gold.segment_model that has limits.

    Parameters
    ----------
    name
        Column of gold.segment_model, or ``outlier_share``.
    meaning
        What the figure is, as the beginning of a sentence.
    at_least, at_most
        Settings that hold its limits; empty where there is none on that side.
    unknown
        Why there can be no figure.
    advice
        What to do where it is beyond a limit.
    """

    name: str
    meaning: str
    advice: str
    at_least: str = ""
    at_most: str = ""
    unknown: str = ""


MEASURES = (
    Measure(
        "outlier_share",
        "The share of customers who are outliers",
        "Look at them in gold/scaled_features, since broken source rows end up there; if they are sound, set eps, "
        "min_outlier_share or max_outlier_share of the gold layer.",
        at_least="min_outlier_share",
        at_most="max_outlier_share",
    ),
    Measure(
        "silhouette",
        "The silhouette of the segments in the space of the clustering",
        "The segments run into each other: set n_clusters of the gold layer to fewer, or try another scaling.",
        at_least="min_silhouette",
        unknown="There is no silhouette, since there are fewer than two segments.",
    ),
    Measure(
        "stability",
        "The mean stability of the customers' segments",
        "Other customers of the same kind would give other segments: set n_clusters of the gold layer to fewer, and do "
        "not act on a segment whose own stability in gold/segment_profiles is low.",
        at_least="min_stability",
        unknown="There is no stability: stability_resamples of the gold layer is 0.",
    ),
    Measure(
        "smallest_segment_share",
        "The share of customers in the smallest segment",
        "It is too small to act on: set n_clusters or max_clusters of the gold layer to fewer, or leave it alone.",
        at_least="min_smallest_segment_share",
    ),
    Measure(
        "largest_feature_drift",
        "The largest drift of a feature since the fit before (PSI)",
        "feature_drift of gold/segment_model names the feature: mend the source if it changed, and if the customers "
        "did, read gold/segment_changes before you act on the segments.",
        at_most="max_feature_drift",
        unknown="There is no drift of features: there is no fit before that they can be compared with.",
    ),
    Measure(
        "segment_size_drift",
        "The drift of the segments' sizes since the fit before (PSI)",
        "gold/segment_changes says who moved where: find out whether the customers changed or the segments.",
        at_most="max_segment_size_drift",
        unknown="There is no drift of sizes: there is no fit before that they can be compared with.",
    ),
)


def judge(measure: Measure, figure: float | None, lowest: float | None, highest: float | None) -> tuple[bool, str]:
    """Return whether a figure is within its limits, both ends in, and a sentence or two that say so.

    A figure that is not known is within them: there is nothing to compare.
    """
    if figure is None:
        return True, measure.unknown
    bounds = {"at least": lowest, "at most": highest}
    limits = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
    passed = (lowest is None or figure >= lowest) and (highest is None or figure <= highest)
    sentence = f"{measure.meaning} is {figure:.3g}; it should be {' and '.join(limits)}."
    return passed, sentence if passed else f"{sentence} {measure.advice}"


def lost_or_grown(rows: Change | None, at_least: float, at_most: float) -> list[str]:
    """Say so where a table has many fewer or many more rows than before it was last written."""
    if rows is None or not rows.before or rows.now is None or at_least <= rows.now / rows.before <= at_most:
        return []
    return [
        f"There are {rows.now:,.0f} rows, and there were {rows.before:,.0f}: {rows.now / rows.before:.3g} times as "
        f"many, which should be {at_least:g} to {at_most:g}. Look in bronze/source_files for files that went, "
        "came twice or were cut short."
    ]


def shifted_shares(figures: Mapping[str, Change], most: float) -> list[str]:
    """Name the columns in which many more or many fewer rows lack a value of their own than before."""
    return [
        f"{name.removeprefix(MISSING)} lacks a value in {share.now:.1%} of the rows, and did in {share.before:.1%}. If "
        "the sources did not mean to change, look at the newest files in bronze/source_files."
        for name, share in sorted(figures.items())
        if name.startswith(MISSING) and share.before is not None and share.now is not None
        if abs(share.now - share.before) > most
    ]


def many_rejected(share: Change | None, most: float) -> list[str]:
    """Say so where a large share of the rows read was rejected."""
    if share is None or share.now is None or share.now <= most:
        return []
    return [
        f"{share.now:.1%} of the rows were rejected; it should be at most {most:.1%}. bronze/rejected_rows says why, "
        "row by row, and its metadata how many for which reason."
    ]


def implausible_newest_order(newest: Change | None, today: date, most_days_old: float | None) -> list[str]:
    """Say so where the newest order is in the future, earlier than that of before, or older than it may be."""
    if newest is None or newest.now is None:
        return []
    day, problems = _EPOCH + timedelta(newest.now), []
    if day > today + timedelta(days=1):
        problems.append(f"The newest order is of {day}, which is in the future: correct its date in the source.")
    if newest.before is not None and newest.now < newest.before:
        before = _EPOCH + timedelta(newest.before)
        problems.append(
            f"The newest order is of {day}, and it was of {before} before: look for a file that went or was cut short."
        )
    if most_days_old is not None and (today - day).days > most_days_old:
        problems.append(
            f"The newest order is of {day}, more than {most_days_old:g} days ago: find out where files stay."
        )
    return problems


def never_seen(kind: str, values: Sequence[str]) -> list[str]:
    """Name values that there were none of in any load before."""
    if not values:
        return []
    more = f" and {len(values) - _SHOWN:,} more" if len(values) > _SHOWN else ""
    named = ", ".join(repr(value) for value in values[:_SHOWN])
    return [f"Never seen before as {kind}: {named}{more}. If one is misspelt, correct it in the source."]
