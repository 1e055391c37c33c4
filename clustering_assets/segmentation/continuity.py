"""A fit that goes on from the one before. What chance decides stays as it was; what the data clearly say does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike

from clustering_assets.segmentation.hybrid import ChoiceOfK, HybridSegmenter

CLEARLY = 3.0
"""Standard errors by which a prediction strength has to be off what is asked for, to change the number of segments.
On the sample, 2 % more lines moved the strength of six segments by 0.12, and one standard error is 0.06."""


def fit_again(
    X: ArrayLike,
    parameters: Mapping[str, Any],
    n_clusters: int,
    shrinkage: float,
    segments: ArrayLike,
    *,
    is_sample: bool = False,
) -> HybridSegmenter:
    """Go on from the segments of the fit before, unless the data clearly ask for another number of them.

    The number of segments and the shrinkage are chosen by a measure that is itself uncertain, and K-means has more than
    one place to end: where two choices are about as good, a few more rows would make the segments of a fifth of the
    rows anew. The number changes if halves of the rows confirm the new one, and do so clearly, or clearly no longer
    confirm the old one.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    parameters
        Of `HybridSegmenter`. If they give the number of segments, there is nothing to go on from.
    n_clusters, shrinkage
        As the fit before used them.
    segments : array-like of shape (n_samples,)
        Its segments, as ``init`` of `HybridSegmenter`.
    is_sample
        As for `HybridSegmenter.fit`.

    Returns
    -------
    HybridSegmenter
        Fitted. If it keeps what it would not have chosen, ``notes_`` says so.
    """
    anew: HybridSegmenter = HybridSegmenter(**parameters).fit(X, is_sample=is_sample)
    tried = {choice.k: choice for choice in anew.choices_of_k_}
    if n_clusters not in tried:
        return anew
    if anew.n_clusters_ != n_clusters and _is_clear(anew, tried[anew.n_clusters_], tried[n_clusters]):
        return anew
    goes_on = {"n_clusters": n_clusters, "shrinkage": shrinkage, "init": segments}
    kept: HybridSegmenter = HybridSegmenter(**{**parameters, **goes_on}).fit(X, is_sample=is_sample)
    kept.choices_of_k_ = anew.choices_of_k_
    kept.confirmed_ = _reaches(anew, tried[n_clusters])
    kept.notes_ = list(dict.fromkeys([*anew.notes_, *kept.notes_]))
    if anew.n_clusters_ != n_clusters:
        kept.notes_.append(
            f"There are {n_clusters} segments as before: {anew.n_clusters_} would have been chosen, but by too little "
            "to make the segments anew."
        )
    return kept


def _is_clear(segmenter: HybridSegmenter, new: ChoiceOfK, old: ChoiceOfK) -> bool:
    confirmed, refuted = _reaches(segmenter, new), not _reaches(segmenter, old, -CLEARLY)
    return _reaches(segmenter, new, CLEARLY) or (confirmed and refuted)


def _reaches(segmenter: HybridSegmenter, choice: ChoiceOfK, standard_errors: float = 0.0) -> bool:
    """Return whether a number is confirmed even with its strength lowered by so many standard errors."""
    return choice.prediction_strength - standard_errors * choice.standard_error >= segmenter._bar(choice.k)
