"""A model file gives back the model to the bit, holds nobody's id, and is refused when anything is wrong with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import skops.io
from sklearn.cluster import KMeans

from clustering_assets.segmentation.drift import distribution
from clustering_assets.segmentation.hybrid import HybridSegmenter
from clustering_assets.segmentation.model_file import (
    ModelFacts,
    UnusableModel,
    load_model,
    model_path,
    read_facts,
    save_model,
    versions_here,
)
from clustering_assets_tests.segmentation.planted import shoppers

CUSTOMERS = 300
FACTS = "clustering_assets.json"


@pytest.fixture(scope="module")
def fitted():
    features, _ = shoppers(CUSTOMERS)
    return HybridSegmenter(random_state=0, max_clusters=4).fit(features), features


@pytest.fixture(scope="module")
def facts(fitted) -> ModelFacts:
    return ModelFacts(
        model_run_id="0123456789abcdef",
        input_version="fedcba9876543210",
        parameters={"n_clusters": None, "map": {"perplexity": 30.0}},
        versions=versions_here(),
        segment_ids={0: 4, 1: 0, 2: 9, 3: 11},
        segment_names={4: "Never returns", 0: "Rückläufer", 9: "c", 11: "d", -1: "Outliers"},
        references={name: distribution(fitted[1][name]) for name in fitted[1].columns},
    )


@pytest.fixture
def path(fitted, facts, tmp_path) -> Path:
    path = model_path(tmp_path, facts.model_run_id)
    save_model(path, fitted[0], facts)
    return path


def rewrite(path: Path, name: str, change) -> None:
    """Change one member of a model file, the rest of it being valid."""
    with ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members[name] = change(members[name])
    with ZipFile(path, "w") as archive:
        for member, content in members.items():
            if content is not None:
                archive.writestr(member, content)


@pytest.mark.parametrize(
    ("scaling", "reduction"), [("yeo-johnson", "discriminant"), ("robust", "pca"), ("standard", None)]
)
def test_a_loaded_model_predicts_the_same_to_the_bit(facts, tmp_path, scaling, reduction):
    features, _ = shoppers(120, seed=1)
    others, _ = shoppers(200, seed=2)
    saved = HybridSegmenter(random_state=0, n_clusters=3, scaling=scaling, reduction=reduction).fit(features)
    save_model(tmp_path / "m.skops", saved, facts)
    loaded, _ = load_model(tmp_path / "m.skops")
    for rows in (features, others):
        for method in ("predict", "transform", "project", "confidence", "outlier_score"):
            np.testing.assert_array_equal(getattr(loaded, method)(rows), getattr(saved, method)(rows))
    np.testing.assert_array_equal(loaded.predict(features), saved.labels_)
    assert loaded.get_params() == saved.get_params()


def test_the_facts_come_back_with_and_without_the_model(path, facts):
    assert read_facts(path) == facts
    assert load_model(path)[1] == facts


def test_saving_leaves_the_estimator_as_it_was(fitted, path):
    assert path.exists()
    assert len(fitted[0].labels_) == CUSTOMERS
    assert len(fitted[0].confidence_) == CUSTOMERS


def arrays(value: object, seen: set[int]):
    """Every array that an object holds, at whatever depth."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        yield value
        return
    if isinstance(value, dict):
        inside = list(value.values())
    elif isinstance(value, list | tuple):
        inside = list(value)
    else:
        slots = [getattr(value, name, None) for name in getattr(type(value), "__slots__", ())]
        inside = [*slots, *vars(value).values()] if hasattr(value, "__dict__") else slots
    for part in inside:
        yield from arrays(part, seen)


def test_of_the_fitted_customers_only_what_density_needs_is_in_the_file(path):
    loaded, _ = load_model(path)
    by_customer = [array.shape for array in arrays(loaded, set()) if len(array) > CUSTOMERS / 2]
    assert sorted(by_customer, key=len) == [(CUSTOMERS,), (CUSTOMERS, 35)]


def test_a_save_that_fails_leaves_the_file_that_was_there(fitted, facts, path):
    before = path.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_model(path, fitted[0], replace(facts, parameters={"n_clusters": object()}))
    assert path.read_bytes() == before


class Intruder:
    def __init__(self) -> None:
        self.harm = "done"


def replace_estimator(path: Path, estimator: object) -> None:
    """Put another object into a model file, beside its facts."""
    with ZipFile(path) as archive:
        facts = archive.read(FACTS)
    skops.io.dump(estimator, path)
    with ZipFile(path, "a") as archive:
        archive.writestr(FACTS, facts)


def test_a_type_that_does_not_belong_there_is_refused_by_name(path):
    tampered, _ = load_model(path)
    tampered.notes_ = [Intruder()]
    replace_estimator(path, tampered)
    with pytest.raises(UnusableModel, match=r"\.skops is refused.*test_model_file\.Intruder"):
        load_model(path)


def test_a_function_is_not_called(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("there")

    def call_remove(schema: bytes) -> bytes:
        state = json.loads(schema)
        state["content"]["content"]["notes_"] = {
            "__class__": "unlink",
            "__module__": "os",
            "__loader__": "FunctionNode",
        }
        return json.dumps(state).encode()

    rewrite(path, "schema.json", call_remove)
    with pytest.raises(UnusableModel, match=r"os\.unlink"):
        load_model(path)
    assert victim.exists()


def test_another_estimator_in_its_place_is_refused(path):
    replace_estimator(path, KMeans())
    with pytest.raises(UnusableModel, match="it holds a KMeans"):
        load_model(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnusableModel, match=r"gone\.skops is missing: put back a copy"):
        load_model(tmp_path / "gone.skops")


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_cut_file_is_damaged(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UnusableModel, match="is damaged"):
        load_model(path)


def test_a_flipped_byte_is_found_or_changes_nothing(path, fitted):
    content, (saved, features) = path.read_bytes(), fitted
    refused = 0
    for place in np.random.default_rng(0).integers(len(content), size=30).tolist():
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            loaded, _ = load_model(path)
        except UnusableModel:
            refused += 1
        else:  # a byte that nothing reads, such as a time stamp
            np.testing.assert_array_equal(loaded.predict(features), saved.labels_)
    assert refused > 20


def test_a_file_of_somebody_else_is_none_of_ours(path):
    path.write_text("a spreadsheet")
    with pytest.raises(UnusableModel, match="is damaged"):
        load_model(path)
    with ZipFile(path, "w") as archive:
        archive.writestr("schema.json", "{}")
    with pytest.raises(UnusableModel, match="is no model file of this project"):
        load_model(path)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"segment_ids": 3}', b"\xff", b"not JSON"])
def test_facts_that_are_no_facts_are_refused(path, content):
    rewrite(path, FACTS, lambda _: content)
    with pytest.raises(UnusableModel, match="is no model file of this project"):
        load_model(path)


@pytest.mark.parametrize(
    ("name", "version"), [("scikit-learn", "0.1.2"), ("features", "-1"), ("segmentation", "0"), ("scikit-learn", None)]
)
def test_versions_that_do_not_fit_are_said(path, name, version):
    def change(content: bytes) -> bytes:
        found = json.loads(content)
        found["versions"].pop(name)
        if version is not None:
            found["versions"][name] = version
        return json.dumps(found).encode()

    rewrite(path, FACTS, change)
    with pytest.raises(UnusableModel, match=rf"other versions: {name} {version or 'unknown'} \(here "):
        load_model(path)


def test_a_newer_patch_of_a_library_is_no_obstacle(path):
    def change(content: bytes) -> bytes:
        found = json.loads(content)
        found["versions"]["scikit-learn"] += ".99"
        found["versions"]["numpy"] = "1.0"
        return json.dumps(found).encode()

    rewrite(path, FACTS, change)
    assert load_model(path)[1].versions["numpy"] == "1.0"
