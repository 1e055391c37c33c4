"""The number of segments changes when the data say so, and not by chance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from clustering_assets.segmentation.continuity import fit_again
from clustering_assets.segmentation.hybrid import HybridSegmenter
from clustering_assets_tests.segmentation.planted import blobs

PARAMETERS = {"scaling": "standard", "max_clusters": 5, "n_splits": 3, "n_init": 5, "random_state": 0}


@pytest.fixture(scope="module")
def continuum() -> np.ndarray:
    """One cloud, in which no number of segments is confirmed."""
    return np.random.default_rng(0).normal(size=(400, 6))


@pytest.mark.parametrize(("before", "sizes"), [(3, (120, 100, 80, 60)), (4, (120, 100, 80))])
def test_a_group_that_comes_or_goes_changes_the_number(before, sizes):
    X, _ = blobs(sizes)
    found = fit_again(X, PARAMETERS, before, 0.9, np.arange(len(X)) % before)
    assert found.n_clusters_ == len(sizes)
    assert not any("as before" in note for note in found.notes_)


@pytest.mark.parametrize("before", [2, 3, 4, 5])
def test_in_a_continuum_the_number_stays_what_it_was(continuum, before):
    anew = HybridSegmenter(**PARAMETERS).fit(continuum)
    found = fit_again(continuum, PARAMETERS, before, 0.3, np.arange(len(continuum)) % before)
    assert (found.n_clusters_, found.shrinkage_) == (before, 0.3)
    assert found.choices_of_k_ == anew.choices_of_k_
    assert not found.confirmed_
    said = any(f"There are {before} segments as before: {anew.n_clusters_} would" in note for note in found.notes_)
    assert said == (before != anew.n_clusters_)


def test_groups_that_are_still_there_stay_as_they_are():
    X, _ = blobs()
    anew = HybridSegmenter(**PARAMETERS).fit(X)
    found = fit_again(X, PARAMETERS, anew.n_clusters_, anew.shrinkage_, anew.labels_)
    np.testing.assert_array_equal(found.labels_, anew.labels_)
    assert found.notes_ == anew.notes_
    assert found.confirmed_


def test_where_k_means_could_end_anywhere_it_ends_where_it_was(continuum):
    # As seen with another seed and without a tenth of the customers.
    before = HybridSegmenter(**{**PARAMETERS, "n_clusters": 4, "shrinkage": 0.9, "random_state": 5}).fit(continuum[40:])
    known = np.concatenate([np.full(40, -1), before.labels_])
    found = fit_again(continuum, PARAMETERS, 4, 0.9, known)
    elsewhere = HybridSegmenter(**{**PARAMETERS, "n_clusters": 4, "shrinkage": 0.9}).fit(continuum)
    both = (known >= 0) & (found.labels_ >= 0) & (elsewhere.labels_ >= 0)
    stayed, moved = (adjusted_rand_score(known[both], fit.labels_[both]) for fit in (found, elsewhere))
    assert stayed > 0.7 > 0.5 > moved


def test_what_to_go_on_from_has_to_fit_the_rows(continuum):
    with pytest.raises(ValueError, match="init has the shape"):
        HybridSegmenter(n_clusters=2, init=[0, 1]).fit(continuum)
    with pytest.raises(ValueError, match="init needs n_clusters"):
        HybridSegmenter(init=np.zeros(len(continuum))).fit(continuum)


@pytest.mark.parametrize(("changed", "before"), [({"n_clusters": 3}, 4), ({"max_clusters": 3}, 5), ({}, 40)])
def test_a_number_that_may_not_or_cannot_be_kept_is_not(continuum, changed, before):
    parameters = {**PARAMETERS, **changed}
    found = fit_again(continuum, parameters, before, 0.3, np.arange(len(continuum)) % before)
    assert found.n_clusters_ == HybridSegmenter(**parameters).fit(continuum).n_clusters_
