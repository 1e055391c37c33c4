"""The baselines of the benchmarks do the same work: what is timed comes to the same values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from benchmarks.agreement import differing_columns
from benchmarks.alternatives import SEGMENTERS, agreement
from benchmarks.earlier_way import DATABASES, earlier_way
from benchmarks.other_projects import PROJECTS
from benchmarks.workbooks import fidelity, make_tables, speed, write_each
from clustering_assets.contracts import CUSTOMER_FEATURES, ORDER_LINES, SCALED_FEATURES
from clustering_assets.silver import write_silver
from clustering_assets.sources.ingestion import ingest
from clustering_assets.synthetic import generate, write
from clustering_assets.warehouse import Warehouse, table, utc_now

COMPARED = CUSTOMER_FEATURES.column_names[1:-1]
"""All but the customer and the moment of computing."""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clean export in ``source``, its lines as ``lines.parquet`` and what silver makes of them."""
    folder = tmp_path_factory.mktemp("clean")
    write(generate(60, 1_500, seed=11), folder / "source", "returns_export", "csv")
    with Warehouse(folder / "home").connect() as backend:
        ingest(backend, folder / "source", utc_now())
        write_silver(backend, None, "test", utc_now())
        table(backend, ORDER_LINES).to_parquet(folder / "lines.parquet")
        table(backend, CUSTOMER_FEATURES).to_parquet(folder / "silver.parquet")
    return folder


@pytest.mark.parametrize("database", DATABASES)
def test_the_earlier_way_comes_to_the_values_of_silver(clean: Path, tmp_path: Path, database: str) -> None:
    seconds = earlier_way(database, clean / "source", tmp_path)
    result = DATABASES[database](str(tmp_path / f"earlier.{database}")).execute("select * from customer_features")
    found = pd.DataFrame(result.fetchall(), columns=[name for name, *_ in result.description])
    for name in ("first_order_date", "last_order_date"):
        found[name] = pd.to_datetime(found[name])
    assert tuple(found.columns) == CUSTOMER_FEATURES.column_names
    assert differing_columns(found, pd.read_parquet(clean / "silver.parquet"), COMPARED) == []
    assert seconds.pop("earlier way") == pytest.approx(sum(seconds.values()))


def test_pandas_and_polars_come_to_the_features_of_this_project(clean: Path) -> None:
    """Every column but the moment of computing, before imputation."""
    assert agreement(str(clean / "lines.parquet")) == {
        "columns in pandas": len(COMPARED) + 1,
        "columns that differ in pandas": 0,
        "columns in polars": len(COMPARED) + 1,
        "columns that differ in polars": 0,
    }


@pytest.mark.parametrize("way", SEGMENTERS)
def test_each_way_of_segmenting_labels_every_customer_in_a_space_of_its_own(way: str) -> None:
    random = np.random.default_rng(0)
    rows = np.concatenate([random.normal(centre, 1, (100, 3)) for centre in (0, 10, 20)])
    labels, space, seconds = SEGMENTERS[way](rows, 0)
    assert len(space) == len(rows)
    assert [len(set(part) - {-1}) for part in np.split(labels, 3)] == [1, 1, 1]
    assert len(set(labels) - {-1}) == 3
    assert seconds["seconds"] > 0


@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_that_cannot_be_installed_is_left_out_and_that_is_said(tmp_path: Path, name: str) -> None:
    nothing_to_install_from = {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.other_projects", name, str(tmp_path), str(tmp_path / "work")],
        env={**os.environ, **nothing_to_install_from},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, json.loads(ran.stdout)) == (0, {})
    assert ran.stderr.startswith(f"{name} is left out, since it cannot be installed here: ")


def test_columns_that_differ_are_named() -> None:
    one = pd.DataFrame({"customer_id": ["a", "b"], "x": [1.0, 2.0], "y": [1.0, None], "z": ["u", "v"]})
    other = pd.DataFrame({"customer_id": ["b", "a"], "x": [2.0, 1.0 + 1e-6], "y": [3.0, 1.0], "z": ["v", "u"]})
    assert differing_columns(one, other, "xyz") == ["x", "y"]
    assert differing_columns(one, other, "xyz", tolerance=1e-3) == ["y"]
    with pytest.raises(ValueError, match="not the same"):
        differing_columns(one, other.iloc[:1], "xyz")


def test_this_projects_workbooks_lose_nothing_and_say_what_a_cell_cannot_hold(tmp_path: Path) -> None:
    found = fidelity(tmp_path, "ours", write_each("ours", tmp_path))
    assert found.pop("float bits") == "100% equal"
    as_text = ("NaN and infinities", "more than 15 digits", "dates before 1900")
    assert [found.pop(what) for what in as_text] == ["as text"] * 3
    assert found.pop("control characters") == "made visible"
    assert found.pop("text over 32,767 characters") == "cut, marked"
    assert set(found.values()) == {"equal"}


@pytest.mark.parametrize(
    ("writer", "outcomes"),
    [
        (
            "pandas",
            {"text like a formula": "a formula, equal", "control characters": "refused (IllegalCharacterError)"},
        ),
        ("openpyxl", {"NaN and infinities": "lost", "text over 32,767 characters": "cut"}),
        ("xlsxwriter", {"more than 15 digits": "a number: Excel rounds it", "text like a formula": "a formula, equal"}),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # they warn of what they cut
def test_what_other_writers_lose_is_seen(tmp_path: Path, writer: str, outcomes: dict[str, str]) -> None:
    found = fidelity(tmp_path, writer, write_each(writer, tmp_path))
    assert {what: found[what] for what in outcomes} == outcomes
    assert found["float bits"] != "100% equal"


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layers")
    make_tables(60, folder)
    return folder


@pytest.mark.parametrize("writer", ["ours", "pandas", "openpyxl", "xlsxwriter", "polars"])
def test_every_writer_writes_both_layers(layers: Path, writer: str) -> None:
    figures = speed(writer, layers)
    assert figures["both"] == figures["silver"] + figures["gold"] > 0
    for layer, contract in (("silver", CUSTOMER_FEATURES), ("gold", SCALED_FEATURES)):
        rows = list(openpyxl.load_workbook(layers / f"{writer}_{layer}.xlsx").worksheets[0].values)
        assert (rows[0], len(rows)) == (contract.column_names, 61)
