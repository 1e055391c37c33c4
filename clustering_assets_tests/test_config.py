"""The settings of a run against what they set."""

from __future__ import annotations

import inspect
import re

import pytest

from clustering_assets.config import BadSetting, read_environment
from clustering_assets.run_config import SegmentationConfig
from clustering_assets.segmentation.hybrid import HybridSegmenter


def test_every_parameter_of_the_segmentation_can_be_set_and_has_its_default() -> None:
    parameters = inspect.signature(HybridSegmenter).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    del defaults["init"]  # What a run goes on from is in the tables.
    # A run repeats unless it is told otherwise; the estimator follows the custom of scikit-learn.
    assert SegmentationConfig().parameters() == {**defaults, "random_state": 0}


@pytest.mark.parametrize(("text", "size"), [("", 50 * 10**9), ("3GB", 3 * 10**9), ("1 GiB", 2**30), ("1000", 1000)])
def test_the_size_that_files_may_expand_to_has_a_unit(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("CLUSTERING_MAX_EXPANDED_SIZE", text)
    assert read_environment().max_expanded_size == size


@pytest.mark.parametrize("text", ["much", "-1", "5 bananas", "nan", "inf"])
def test_what_is_no_size_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CLUSTERING_MAX_EXPANDED_SIZE", text)
    with pytest.raises(BadSetting, match="it has to be a size such as 50GB"):
        read_environment()


@pytest.mark.parametrize(("text", "allowed"), [("", False), ("0", False), ("no", False), ("1", True)])
def test_links_lead_out_of_the_folder_only_where_that_is_said(
    monkeypatch: pytest.MonkeyPatch, text: str, allowed: bool
) -> None:
    monkeypatch.setenv("CLUSTERING_ALLOW_LINKS", text)
    assert read_environment().allow_links is allowed


def test_the_language_and_the_currency_of_the_report_are_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (read_environment().language, read_environment().currency) == ("en", "EUR")
    monkeypatch.setenv("CLUSTERING_LANGUAGE", "de")
    monkeypatch.setenv("CLUSTERING_CURRENCY", "CHF")
    assert (read_environment().language, read_environment().currency) == ("de", "CHF")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CLUSTERING_LANGUAGE", "xx", "CLUSTERING_LANGUAGE is 'xx'; it can be de or en"),
        ("CLUSTERING_LANGUAGE", "../en", "it can be de or en"),
        ("CLUSTERING_CURRENCY", "euro", "it has to be a code of ISO 4217, such as EUR"),
    ],
)
def test_a_language_or_currency_that_there_is_not_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting, match=re.escape(sentence)):
        read_environment()
