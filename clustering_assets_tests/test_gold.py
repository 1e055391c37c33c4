"""A fit goes on from the one before: ids, names, changes, drift and model files, in a real warehouse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clustering_assets.conformance import violations
from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    CUSTOMER_SEGMENTS,
    IMPUTED_FEATURES,
    SCALED_FEATURES,
    SEGMENT_CHANGES,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    TableContract,
)
from clustering_assets.gold import (
    EarlierFit,
    Request,
    Segmentation,
    apply_model,
    drift_since,
    read_earlier_fit,
    segment,
    write_gold,
)
from clustering_assets.saved_models import find_model, remove_orphans
from clustering_assets.segmentation.drift import LITTLE
from clustering_assets.segmentation.identity import segments_before
from clustering_assets.segmentation.model_file import UnusableModel, model_path
from clustering_assets.silver import write_silver
from clustering_assets.sources.ingestion import ingest
from clustering_assets.synthetic import generate
from clustering_assets.warehouse import Warehouse, table
from clustering_assets_tests.segmentation.planted import shoppers

START = datetime(2025, 1, 1)
PARAMETERS = {"n_clusters": 4, "scaling": "standard", "random_state": 0}
CUSTOMERS = 160


@dataclass
class Gold:
    """A home folder in which one fit follows the other, a day apart."""

    home: Path
    fits: int = 0

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.home)

    def prepare(
        self, customers: pd.DataFrame, imputed: pd.Series[str] | None = None, **parameters: Any
    ) -> tuple[Segmentation, EarlierFit | None]:
        """Fit, and write nothing."""
        self.fits += 1
        with self.warehouse.connect() as backend:
            earlier = read_earlier_fit(backend, self.home)
        found = segment(
            customers,
            pd.Series("", index=customers["customer_id"]) if imputed is None else imputed,
            Request(
                parameters={**PARAMETERS, **parameters},
                map_parameters={"perplexity": 5, "max_landmarks": 100},
                stability_resamples=0,
                input_version=f"input {self.fits}",
                model_run_id=f"{self.fits:016x}",
                now=START + timedelta(days=self.fits),
            ),
            earlier,
        )
        return found, earlier

    def fit(self, customers: pd.DataFrame, imputed: pd.Series[str] | None = None, **parameters: Any) -> None:
        found, earlier = self.prepare(customers, imputed, **parameters)
        with self.warehouse.connect() as backend:
            write_gold(backend, self.home, found, earlier, version=found.facts.model_run_id)

    def read(self, contract: TableContract) -> pd.DataFrame:
        with self.warehouse.connect() as backend:
            return table(backend, contract).to_pandas().set_index(contract.key[0]).sort_index()

    @property
    def model(self) -> dict[str, Any]:
        with self.warehouse.connect() as backend:
            return find_model(backend)

    @property
    def segments(self) -> pd.DataFrame:
        return self.read(CUSTOMER_SEGMENTS)[["segment_id", "segment_name"]]


def planted(
    kinds: tuple[int, ...] = (0, 1, 2, 3), n: int = CUSTOMERS, seed: int = 0, prefix: str = "c"
) -> pd.DataFrame:
    """Customers of some of four kinds far apart, as silver has them."""
    features, kind = shoppers(n, seed)
    ids = [f"{prefix}{position:05}@example.com" for position in range(n)]
    customers = features.assign(customer_id=ids, quality_flags="")
    return customers[np.isin(kind, kinds)].reset_index(drop=True)


@pytest.fixture
def gold(tmp_path: Path) -> Gold:
    return Gold(tmp_path)


@pytest.fixture(scope="module")
def one_fit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder after a first fit."""
    gold = Gold(tmp_path_factory.mktemp("one_fit"))
    gold.fit(planted())
    return gold.home


@pytest.fixture
def fitted(one_fit: Path, tmp_path: Path) -> Gold:
    """A home folder with one fit of its own."""
    shutil.copytree(one_fit, tmp_path / "home")
    return Gold(tmp_path / "home", fits=1)


def kinds_of(segments: pd.DataFrame) -> Mapping[int, int]:
    """Commonest kind of each segment, the outliers aside."""
    _, kind = shoppers(CUSTOMERS)
    kinds = pd.Series(kind, index=[f"c{position:05}@example.com" for position in range(CUSTOMERS)])
    inside = segments[segments["segment_id"] >= 0]
    return kinds[inside.index].groupby(inside["segment_id"]).agg(lambda values: int(values.mode()[0])).to_dict()


def test_the_first_fit_compares_with_nothing(fitted: Gold) -> None:
    with fitted.warehouse.connect() as backend:
        for contract in (SCALED_FEATURES, SEGMENT_MODEL, CUSTOMER_SEGMENTS, SEGMENT_CHANGES):
            assert violations(backend, contract) == []
    assert fitted.read(SEGMENT_CHANGES).empty
    model = fitted.model
    assert sorted(set(fitted.segments["segment_id"]) - {-1}) == [0, 1, 2, 3]
    assert model["next_segment_id"] == 4
    for unknown in ("feature_drift", "largest_feature_drift", "segment_size_drift", "kept_segment_share"):
        assert model[unknown] is None
    smallest = fitted.segments.query("segment_id >= 0").groupby("segment_id").size().min()
    assert model["smallest_segment_share"] == pytest.approx(smallest / CUSTOMERS)


def test_a_model_that_is_applied_gives_what_its_fit_gave(fitted: Gold) -> None:
    largest = kinds_of(fitted.segments)[0]
    customers = planted(kinds=tuple({0, 1, 2, 3} - {largest}))
    fitted.fit(customers, n_clusters=3)
    assert set(labels_to_ids(fitted).values()) == {1, 2, 3}
    applied = apply_model(fitted.home, f"{2:016x}", customers, START).set_index("customer_id")
    expected = fitted.read(CUSTOMER_SEGMENTS)
    for column in ("segment_id", "segment_name", "confidence", "model_run_id"):
        pd.testing.assert_series_equal(applied[column], expected[column], check_dtype=False)
    np.testing.assert_array_equal(applied["outlier_score"], fitted.read(SCALED_FEATURES)["outlier_score"])


def labels_to_ids(gold: Gold) -> dict[int, int]:
    return {int(label): segment for label, segment in json.loads(gold.model["segment_ids"]).items()}


def test_an_earlier_model_puts_new_customers_into_its_own_segments(gold: Gold) -> None:
    gold.fit(planted(kinds=(0, 1, 2)), n_clusters=3)
    first, names = gold.segments, gold.read(SEGMENT_PROFILES)["segment_name"].to_dict()
    gold.fit(planted(kinds=(1, 2, 3)), n_clusters=3)
    newcomers = planted(kinds=(0, 1, 2), seed=5, prefix="n")
    applied = apply_model(gold.home, f"{1:016x}", newcomers, START)
    _, kind = shoppers(CUSTOMERS, seed=5)
    by_kind = {kind_: segment for segment, kind_ in kinds_of(first).items()}
    inside = applied["segment_id"] >= 0
    right = applied["segment_id"] == pd.Series(kind[np.isin(kind, (0, 1, 2))]).map(by_kind)
    assert inside.mean() > 0.9
    assert right[inside].mean() > 0.99
    assert set(applied["segment_name"]) <= {*names.values(), "Outliers"}
    assert set(gold.read(CUSTOMER_SEGMENTS)["model_run_id"]) == {f"{2:016x}"}


def test_the_models_are_listed_and_an_unknown_one_is_answered_with_the_list(gold: Gold) -> None:
    with gold.warehouse.connect() as backend, pytest.raises(UnusableModel, match="There is no model yet"):
        find_model(backend)
    for _ in range(2):
        gold.fit(planted())
    assert gold.model["model_run_id"] == f"{2:016x}"
    with gold.warehouse.connect() as backend:
        assert find_model(backend, f"{1:016x}")["input_version"] == "input 1"
        with pytest.raises(
            UnusableModel, match=rf"no model 'x'; there is {2:016x} \(2025-01-03.*{1:016x} \(2025-01-02"
        ):
            find_model(backend, "x")


def test_a_fit_that_is_repeated_takes_its_own_place_in_the_list(fitted: Gold) -> None:
    fitted.fits -= 1
    fitted.fit(planted())
    assert fitted.read(SEGMENT_MODEL).index.tolist() == [f"{1:016x}"]


def test_other_seeds_and_another_order_of_sizes_change_no_id_and_no_name(fitted: Gold) -> None:
    customers = planted()
    kinds, names = kinds_of(fitted.segments), fitted.read(SEGMENT_PROFILES)["segment_name"]
    # the largest kind becomes the smallest, so that every label of the fit is another
    largest = customers["customer_id"].isin(fitted.segments.query("segment_id == 0").index)
    fitted.fit(customers[~largest | (np.arange(len(customers)) % 3 == 0)].reset_index(drop=True), random_state=7)
    assert labels_to_ids(fitted) != {label: label for label in range(4)}
    assert kinds_of(fitted.segments) == kinds
    assert fitted.read(SEGMENT_PROFILES)["segment_name"].to_dict() == names.to_dict()
    assert "is called" not in fitted.model["notes"]
    assert fitted.model["kept_segment_share"] > 0.95
    changes = fitted.read(SEGMENT_CHANGES)
    assert (changes["change"] == "left").sum() == largest.sum() - np.count_nonzero(largest[::3])


def test_a_segment_that_vanishes_and_returns_gets_a_new_id(fitted: Gold) -> None:
    first = kinds_of(fitted.segments)
    gone = next(segment for segment, kind in first.items() if kind == 3)
    fitted.fit(planted(kinds=(0, 1, 2)), n_clusters=3)
    assert gone not in set(fitted.segments["segment_id"])
    assert fitted.model["next_segment_id"] == 4
    fitted.fit(planted())
    last = kinds_of(fitted.segments)
    assert last.pop(4) == 3
    assert fitted.model["next_segment_id"] == 5
    assert last == {segment: kind for segment, kind in first.items() if segment != gone}


def test_without_shared_customers_profiles_keep_the_ids(fitted: Gold) -> None:
    fitted.fit(planted(prefix="d", seed=3))
    names = fitted.read(SEGMENT_PROFILES)["segment_name"]
    before = fitted.read(SEGMENT_CHANGES).query("change == 'left'")
    assert fitted.model["kept_segment_share"] is None
    assert fitted.model["segment_size_drift"] < LITTLE
    assert set(labels_to_ids(fitted).values()) == {0, 1, 2, 3}
    left = before[["from_segment_id", "from_segment_name"]].drop_duplicates().set_index("from_segment_id").squeeze()
    assert left.drop(-1, errors="ignore").to_dict() == names.drop(-1, errors="ignore").to_dict()


def test_a_name_that_the_facts_contradict_is_not_kept(fitted: Gold) -> None:
    first = fitted.read(SEGMENT_PROFILES)["segment_name"]
    serial = next(segment for segment, name in first.items() if name.startswith("Serial"))
    never = next(segment for segment, name in first.items() if name.startswith("Never"))
    with fitted.warehouse.connect() as backend:  # the names of two segments change places
        for segment_id, name in ((serial, first[never]), (never, first[serial])):
            for contract in (CUSTOMER_SEGMENTS, SEGMENT_PROFILES):
                backend.con.execute(
                    f"update {contract.qualified_name} set segment_name = $1 where segment_id = $2", [name, segment_id]
                )
    fitted.fit(planted())
    assert fitted.read(SEGMENT_PROFILES)["segment_name"].to_dict() == first.to_dict()
    assert f"Segment {serial} is called '{first[serial]}' now: '{first[never]}' no longer fits" in fitted.model["notes"]


def test_drift_names_the_feature_that_moved(fitted: Gold) -> None:
    customers = planted()
    fitted.fit(customers)
    assert fitted.model["largest_feature_drift"] == fitted.model["segment_size_drift"] == 0
    fitted.fit(customers.assign(mean_order_value=customers["mean_order_value"] * 1.5))
    drift = json.loads(fitted.model["feature_drift"])
    assert max(drift, key=lambda name: drift[name]) == "mean_order_value"
    assert fitted.model["largest_feature_drift"] == drift["mean_order_value"] > LITTLE
    assert sorted(drift.values())[-2] == 0


def test_another_mean_that_fills_what_is_missing_is_no_drift(gold: Gold) -> None:
    customers = planted()
    filled = np.arange(len(customers)) % 2 == 0
    imputed = pd.Series(np.where(filled, "lines_per_order", ""), index=customers["customer_id"])

    def with_mean(mean: float) -> pd.DataFrame:
        return customers.assign(lines_per_order=customers["lines_per_order"].where(~filled, mean))

    gold.fit(with_mean(3.0), imputed)
    assert (gold.read(SCALED_FEATURES)["feature_completeness"].to_numpy()[filled] == 1 - 1 / 35).all()
    gold.fit(with_mean(3.1), imputed)
    assert gold.model["largest_feature_drift"] == 0
    assert drift_since(gold.home, f"{1:016x}", with_mean(9.0), imputed)["lines_per_order"] == 0


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_model_file_that_is_gone_costs_the_drift_and_nothing_else(fitted: Gold, damage: str) -> None:
    path = model_path(fitted.home, f"{1:016x}")
    path.unlink() if damage == "missing" else path.write_text("nonsense")
    fitted.fit(planted())
    assert fitted.model["largest_feature_drift"] is None
    assert fitted.model["kept_segment_share"] == 1
    assert "How far the features drifted is not known" in fitted.model["notes"]
    assert damage in fitted.model["notes"]


def test_killed_between_file_and_tables_a_run_leaves_what_was_there(fitted: Gold) -> None:
    before = fitted.segments
    found, earlier = fitted.prepare(planted(seed=1))
    broken = {
        contract: rows.drop(columns="map_x") if contract is CUSTOMER_SEGMENTS else rows
        for contract, rows in found.tables.items()
    }
    with fitted.warehouse.connect() as backend, pytest.raises(Exception, match="map_x"):
        write_gold(backend, fitted.home, replace(found, tables=broken), earlier, version="2")
    orphan = model_path(fitted.home, f"{2:016x}")
    assert orphan.exists()
    pd.testing.assert_frame_equal(fitted.segments, before)
    assert fitted.read(SEGMENT_MODEL).index.tolist() == [f"{1:016x}"]
    assert len(apply_model(fitted.home, fitted.model["model_run_id"], planted(), START)) == CUSTOMERS
    (fitted.home / "models" / "lost.skops").write_text("of a warehouse that was lost")
    with fitted.warehouse.connect() as backend:
        remove_orphans(backend, fitted.home)
    assert {path.stem for path in (fitted.home / "models").iterdir()} == {f"{1:016x}", "lost"}


def test_no_model_file_holds_a_customer_id(fitted: Gold) -> None:
    with ZipFile(model_path(fitted.home, f"{1:016x}")) as archive:
        for member in archive.namelist():
            assert b"@example.com" not in archive.read(member)


@dataclass(frozen=True)
class Grown:
    """A made-up shop that was segmented, and again when 2 % more lines had come."""

    gold: Gold
    first: pd.DataFrame


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    folder = tmp_path_factory.mktemp("grown")
    lines = generate(300, 9_000, seed=4).lines
    gold = Gold(folder / "home")
    late = np.random.default_rng(0).random(len(lines)) < 0.02
    first = pd.DataFrame()
    for come in (~late, np.ones(len(lines), dtype=bool)):
        (folder / "source").mkdir(exist_ok=True)
        pq.write_table(lines.filter(pa.array(come)), folder / "source" / "lines.parquet")
        with gold.warehouse.connect() as backend:
            ingest(backend, folder / "source", START)
            write_silver(backend, None, "silver", START)
            customers = table(backend, CUSTOMER_FEATURES).order_by("customer_id").to_pandas()
            imputed = table(backend, IMPUTED_FEATURES).to_pandas().set_index("customer_id")["imputed"]
        gold.fit(customers, imputed, n_clusters=None, max_clusters=5, n_splits=2)
        first = gold.segments if first.empty else first
    return Grown(gold, first)


def test_two_per_cent_more_lines_keep_ids_and_names(grown: Grown) -> None:
    second = grown.gold.segments
    both = grown.first.add_suffix("_first").join(second, how="inner")
    assert len(both) > 280
    kept = (both["segment_id_first"] == both["segment_id"]).mean()
    assert kept >= 0.95
    assert (both["segment_name_first"] == both["segment_name"]).mean() >= 0.95
    assert grown.gold.model["kept_segment_share"] == pytest.approx(kept)
    assert grown.gold.model["largest_feature_drift"] < LITTLE
    assert grown.gold.model["segment_size_drift"] < LITTLE


def test_the_changes_lead_from_the_first_segments_to_the_second(grown: Grown) -> None:
    with grown.gold.warehouse.connect() as backend:
        assert violations(backend, SEGMENT_CHANGES) == violations(backend, SEGMENT_MODEL) == []
    changes = grown.gold.read(SEGMENT_CHANGES).reset_index()
    before = segments_before(changes, grown.gold.segments)["segment_id"].sort_index()
    pd.testing.assert_series_equal(before, grown.first["segment_id"], check_index_type=False)
    assert set(changes["from_model_run_id"]) <= {f"{1:016x}"}
