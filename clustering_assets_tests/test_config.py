"""The settings of a run against what they set."""

from __future__ import annotations

import inspect

from clustering_assets.config import SegmentationConfig
from clustering_assets.segmentation.hybrid import HybridSegmenter


def test_every_parameter_of_the_segmentation_can_be_set_and_has_its_default() -> None:
    parameters = inspect.signature(HybridSegmenter).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    del defaults["init"]  # What a run goes on from is in the tables.
    # A run repeats unless it is told otherwise; the estimator follows the custom of scikit-learn.
    assert SegmentationConfig().model_dump() == {**defaults, "random_state": 0}
