"""Fitted models as files that cannot run code: skops holds the estimator, JSON beside it what else a reader needs.

A file holds no customer id. Of the customers that a model was fitted on it holds what outlier scores are measured
against: their features, standardised and compressed, and their k-distances. Labels and scores of the fit are left out.
"""

from __future__ import annotations

import json
import platform
import re
import socket
import zlib
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from clustering_assets.durable import written_beside
from clustering_assets.segmentation.drift import Distribution
from clustering_assets.versions import FEATURES_VERSION, SEGMENTATION_VERSION

if TYPE_CHECKING:
    from clustering_assets.segmentation.hybrid import HybridSegmenter

_FACTS = "clustering_assets.json"
_WHAT_TO_DO = (
    "put back a copy of the right one, apply another model, or remove it and materialize gold, which fits one anew"
)


class UnusableModel(Exception):
    """A model file cannot be used; the message names it and says why and what to do."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What belongs to a fitted model besides the estimator.

    Parameters
    ----------
    model_run_id, input_version
        Fingerprints of the fit and of the data that it was made on.
    parameters
        Configured parameters.
    versions
        As `versions_here` gave them.
    segment_ids
        Segment id of each label of the estimator.
    segment_names
        Name of each segment id, the outliers included.
    references
        How the values of each feature were spread.
    """

    model_run_id: str
    input_version: str
    parameters: dict[str, Any]
    versions: dict[str, str]
    segment_ids: dict[int, int]
    segment_names: dict[int, str]
    references: dict[str, Distribution]


def versions_here() -> dict[str, str]:
    """Return the versions of what fits models here: Python, libraries, and what this project's features mean."""
    libraries = ("numpy", "scipy", "scikit-learn", "skops", "clustering-assets")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in libraries},
        "features": FEATURES_VERSION,
        "segmentation": SEGMENTATION_VERSION,
    }


def model_path(home: Path, model_run_id: str) -> Path:
    """Return where the model of a fit is, in the home folder.

    Raises
    ------
    UnusableModel
        If that is no name of a fit, but of a place elsewhere.
    """
    if not re.fullmatch(r"\w+", model_run_id):
        raise UnusableModel(f"There is no model {model_run_id!r}: a model_run_id has letters and digits only.")
    return home / "models" / f"{model_run_id}.skops"


def save_model(path: Path, segmenter: HybridSegmenter, facts: ModelFacts) -> None:
    """Write a fitted model beside its place and move it there, so that no half of a file is ever found.

    Raises
    ------
    CannotWrite
        If the disk is full or the folder cannot be written.
    """
    import skops.io

    with written_beside(path) as beside:
        skops.io.dump(_without_rows(segmenter), beside, compression=ZIP_DEFLATED)
        with ZipFile(beside, "a", ZIP_DEFLATED) as archive:
            archive.writestr(_FACTS, json.dumps(asdict(facts)))


def read_facts(path: Path) -> ModelFacts:
    """Read what belongs to the model, without the model.

    Raises
    ------
    UnusableModel
        If the file is missing, damaged or none of ours.
    """
    try:
        with ZipFile(path) as archive:
            found = json.loads(archive.read(_FACTS))
        return ModelFacts(
            **{
                **found,
                "segment_ids": {int(label): segment for label, segment in found["segment_ids"].items()},
                "segment_names": {int(segment): name for segment, name in found["segment_names"].items()},
                "references": {
                    name: Distribution(**{part: tuple(values) for part, values in reference.items()})
                    for name, reference in found["references"].items()
                },
            }
        )
    except FileNotFoundError as error:
        raise UnusableModel(f"The model file {path} is missing: {_WHAT_TO_DO}.") from error
    except (BadZipFile, OSError, EOFError, RuntimeError, zlib.error) as error:  # RuntimeError: what looks encrypted
        raise _damaged(path, error) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusableModel(f"{path} is no model file of this project ({error}): {_WHAT_TO_DO}.") from error


def load_model(path: Path) -> tuple[HybridSegmenter, ModelFacts]:
    """Load a fitted model; it predicts the same as when it was saved, to the bit.

    Nothing in the file is run. Of types, skops makes those that it holds harmless (of numpy, scikit-learn and Python)
    and those of this package's estimator; a file with any other is refused before anything is made.

    Raises
    ------
    UnusableModel
        If the file is missing, damaged, none of ours, of versions that do not fit together, or has types in it that
        do not belong there.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    from clustering_assets.segmentation.hybrid import HybridSegmenter

    facts = read_facts(path)
    _check_versions(path, facts.versions)
    try:
        segmenter = skops.io.load(path, trusted=_own_types())
    except UntrustedTypesFoundException as error:
        raise UnusableModel(
            f"The model file {path} is refused, since somebody else made it or changed it. {error} Find out who, and "
            f"{_WHAT_TO_DO}."
        ) from error
    except Exception as error:  # whatever skops stumbles over in a file that somebody wrote into
        raise _damaged(path, error) from error
    if not isinstance(segmenter, HybridSegmenter):
        raise _damaged(path, f"it holds a {type(segmenter).__name__}")
    return segmenter, facts


def packed(segmenters: Sequence[HybridSegmenter]) -> bytes:
    """Return fitted estimators as the bytes that `unpacked` makes them of again, in another process."""
    import skops.io

    content: bytes = skops.io.dumps([_without_rows(each) for each in segmenters], compression=ZIP_DEFLATED)
    return content


def unpacked(content: bytes, versions: dict[str, str]) -> list[HybridSegmenter]:
    """Load fitted estimators, with the types and the versions that `load_model` allows.

    Parameters
    ----------
    content
        From `packed`.
    versions
        Those of the process that packed them, as `versions_here` gave them.

    Raises
    ------
    UnusableModel
        If they are damaged, have types in them that do not belong there, or come from versions that do not fit.
    """
    import skops.io

    here = f"that {socket.gethostname()} was sent"
    _check_versions(here, versions)
    try:
        segmenters: list[HybridSegmenter] = skops.io.loads(content, trusted=_own_types())
    except Exception as error:  # whatever skops stumbles over, types that are not trusted included
        raise UnusableModel(f"The model {here} cannot be used ({error}): run again.") from error
    return segmenters


def _damaged(path: Path, reason: object) -> UnusableModel:
    return UnusableModel(f"The model file {path} is damaged ({reason}): {_WHAT_TO_DO}.")


def _check_versions(path: Path | str, saved: dict[str, str]) -> None:
    """Refuse a model that would mean something else here.

    scikit-learn keeps what it fits the same within a minor release; what the other libraries write is kept for longer.
    """
    here = versions_here()
    differing = [
        f"{name} {saved.get(name, 'unknown')} (here {here[name]})"
        for name, parts in {"scikit-learn": 2, "features": 1, "segmentation": 1}.items()
        if saved.get(name, "").split(".")[:parts] != here[name].split(".")[:parts]
    ]
    if differing:
        raise UnusableModel(
            f"The model file {path} was fitted with other versions: {', '.join(differing)}. Apply it where they are "
            "the same, or apply a newer model."
        )


def _without_rows(segmenter: HybridSegmenter) -> HybridSegmenter:
    """Return the estimator without what the fit says of its own rows, which no prediction needs."""
    bare = copy(segmenter)
    for name in ("labels_", "confidence_", "outlier_score_", "k_distances_", "core_sample_mask_", "fitted_rows_"):
        delattr(bare, name)
    bare.init = None
    return bare


def _own_types() -> list[type]:
    from clustering_assets.segmentation import density, hybrid, partition, scaling

    return [
        value
        for module in (density, hybrid, partition, scaling)
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
