"""The vocabulary of the package is sound, and one that is not is refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from clustering_assets.segmentation.vocabulary import Vocabulary, load_vocabulary


def test_the_one_of_the_package_is_sound():
    vocabulary = load_vocabulary()
    words = [word for entry in vocabulary.words.values() for word in (entry.high, entry.low)]
    assert {"Serial returners", "Slow returners", "Occasional returners", "Efficient returners", "Never returns"} <= {
        entry.name for entry in vocabulary.names
    }
    assert all(words)
    assert all(entry.action for entry in [vocabulary.outliers, *vocabulary.names])
    assert all(entry.saves.source for entry in vocabulary.names if entry.saves)


def test_a_file_of_ones_own_is_read(tmp_path):
    plain = load_vocabulary().model_dump()
    plain["costs"]["handling_per_line"]["value"] = 3
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(plain))
    assert load_vocabulary(tmp_path / "own.yaml").costs.handling_per_line.value == 3


def _without(entry: dict[str, Any], key: str) -> None:
    del entry[key]


FAULTS = {
    "fact": (lambda v: v["names"][0].update(when={"colour": {"at_least": 1}}), "not known: colour"),
    "placeholder": (lambda v: v["outliers"].update(summary=["{colour} hair"]), "not known: colour"),
    "word of no feature": (lambda v: v["words"].update(colour={"high": "red"}), "not known: colour"),
    "bound": (lambda v: v["names"][0].update(when={"return_rate": {"above": 1}}), "above"),
    "share above one": (lambda v: v["names"][0].update(saves={"handling": 1.5, "source": "x"}), "less than or equal"),
    "saving without a source": (lambda v: v["names"][0].update(saves={"handling": 0.5}), "source"),
    "name with a comma": (lambda v: v["names"][0].update(name="Serial, returners"), "name"),
    "name with a number": (lambda v: v["names"][0].update(name="Group 2"), "name"),
    "same name twice": (lambda v: v["names"][0].update(name=v["names"][1]["name"]), "same name"),
    "no last resort": (lambda v: v["names"].pop(), "without conditions"),
    "last resort too early": (lambda v: v["names"].reverse(), "without conditions"),
    "no names": (lambda v: v.update(names=[]), "without conditions"),
    "no action": (lambda v: _without(v["names"][0], "action"), "action"),
    "negative cost": (lambda v: v["costs"]["handling_per_line"].update(value=-1), "greater than or equal"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault):
    spoil, reason = FAULTS[fault]
    plain = load_vocabulary().model_dump()
    Vocabulary.model_validate(plain)
    spoil(plain)
    with pytest.raises(ValidationError, match=reason):
        Vocabulary.model_validate(plain)
