"""Whether the figures of a segmentation are within limits, and what to do where not. The limits are set elsewhere."""

from __future__ import annotations

from dataclasses import dataclass


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
