"""Runs that are killed: the next one needs no help, and ends where a run that nobody killed ends."""

from __future__ import annotations

import pkgutil
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import openpyxl
import pandas as pd
import pytest

from clustering_assets.contracts import ALL_TABLES
from clustering_assets.synthetic import generate, write
from clustering_assets_tests.conftest import Shop
from clustering_assets_tests.runs import KILLED, Runs, Step

MOMENTS = {
    *("ingested_at", "loaded_at", "computed_at", "processed_at", "fitted_at", "assigned_at", "changed_at"),
    "validated_at",
}
RANDOM_KILLS = 40
REPLACE = "pathlib:Path.replace"
STEPS = [
    Step("clustering_assets.sources.ingestion:record_files", after=True),
    Step("clustering_assets.silver:record_versions"),
    Step("skops.io:dump", after=True),
    Step("clustering_assets.gold:save_model", after=True),
    Step("clustering_assets.gold:record_versions"),
    Step("clustering_assets.reports.workbook:_rows_as_xml"),
    Step(REPLACE, ending=".xlsx"),
]
"""In the order of a run, so that each run gets farther than the one before it. Transactions end after each of them."""

MORE_STEPS = [
    Step("clustering_assets.sources.ingestion:_load", after=True),
    Step("clustering_assets.sources.ingestion:_move_in", after=True, call=2),
    Step("clustering_assets.assets.bronze:ingest", after=True),
    Step("clustering_assets.silver:replace_table", after=True, call=2),
    Step("clustering_assets.assets.silver:write_silver", after=True),
    Step(REPLACE, after=True, ending=".xlsx"),
    Step(REPLACE, ending=".skops"),
    Step(REPLACE, after=True, ending=".skops"),
    Step("clustering_assets.gold:replace_table", after=True, call=3),
    Step("clustering_assets.gold:write_gold", after=True),
    Step(REPLACE, call=2, ending=".xlsx"),
    Step(REPLACE, call=3, ending=".xlsx"),
]

Tables = Mapping[str, pd.DataFrame]


def tables(home: Path) -> Tables:
    """All tables as another program reads them, without the moments at which they were made."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        found = {}
        for contract in ALL_TABLES:
            [(there,)] = connection.execute(
                "select count(*) from information_schema.tables where (table_schema, table_name) = ($1, $2)",
                [contract.layer, contract.name],
            ).fetchall()
            if there:
                names = ", ".join(name for name in contract.column_names if name not in MOMENTS)
                rows = connection.execute(f"select {names} from {contract.qualified_name} order by all")
                found[contract.qualified_name] = rows.df()
        return found


def workbooks(home: Path) -> dict[str, list[list[tuple[object, ...]]]]:
    """Cells of the workbooks in the order of their names, without the moments, by what they hold."""
    found: dict[str, list[list[tuple[object, ...]]]] = {}
    for path in sorted((home / "exports").glob("*.xlsx")):
        stem, _, _ = path.stem.rpartition("_")[0].rpartition("_")
        header, *rows = openpyxl.load_workbook(path, read_only=True).worksheets[0].iter_rows(values_only=True)
        kept = [position for position, name in enumerate(header) if name not in MOMENTS]
        found.setdefault(stem, []).append([tuple(row[position] for position in kept) for row in (header, *rows)])
    return found


def files(home: Path) -> set[str]:
    """Every file of a home folder, with the moments in names left out."""
    return {
        path.relative_to(home).as_posix().translate(str.maketrans("0123456789", "#" * 10))
        if path.parent.name == "exports"
        else path.relative_to(home).as_posix()
        for path in home.rglob("*")
        if path.is_file() and path.parent.name != "alive"  # the sign of a run is taken away by the next one
    }


def same(found: Tables, expected: Tables, prefix: str = "") -> bool:
    names = {name for name in {*found, *expected} if name.startswith(prefix)}
    return names <= {*found} & {*expected} and all(found[name].equals(expected[name]) for name in names)


@dataclass(frozen=True)
class Case:
    """A shop whose home holds a finished run, new files in its source folder, and where a run on them ends."""

    runs: Runs
    shop: Shop
    before: Tables
    undisturbed: Path

    def copy(self, home: Path) -> Shop:
        return replace(self.shop, home=shutil.copytree(self.shop.home, home))

    def assert_each_layer_is_whole(self, home: Path) -> None:
        """Each layer is as it was, or as it is to be."""
        found, after = tables(home), tables(self.undisturbed)
        for layer in ("bronze.", "silver.", "gold."):
            assert same(found, self.before, layer) or same(found, after, layer), layer

    def assert_as_if_nothing_had_happened(self, home: Path) -> None:
        found, expected = tables(home), tables(self.undisturbed)
        for name in {*found, *expected}:
            pd.testing.assert_frame_equal(found[name], expected[name], obj=name)
        assert workbooks(home) == workbooks(self.undisturbed)
        assert files(home) == files(self.undisturbed)
        with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
            there = {
                f"{layer}.{name}"
                for layer, name in connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
            }
        assert not [name for name in there if "incoming" in name]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, finished: Shop, runs: Runs) -> Case:
    folder = tmp_path_factory.mktemp("killed")
    shop = finished.copied_to(folder)
    more = folder / "more"
    write(generate(20, 400, seed=12), more, "returns_export", "csv", dirty_share=0.05)
    for path in more.iterdir():
        path.rename(shop.source / f"more_{path.name}")
    home = shutil.copytree(shop.home, folder / "undisturbed")
    assert runs.run(replace(shop, home=home)).status == 0
    return Case(runs, shop, tables(shop.home), home)


def test_killed_at_one_step_after_the_other_a_run_ends_as_if_nothing_had_happened(case: Case, tmp_path: Path) -> None:
    shop = case.copy(tmp_path / "home")
    for step in STEPS:
        ended = case.runs.run(shop, dies_at=step)
        assert ended.status == KILLED, (step, ended)
        case.assert_each_layer_is_whole(shop.home)
    assert case.runs.run(shop).status == 0
    case.assert_as_if_nothing_had_happened(shop.home)


@pytest.mark.parametrize("after", [False, True])
def test_killed_while_it_makes_the_warehouse_a_run_leaves_none_or_an_empty_one(
    case: Case, tmp_path: Path, after: bool
) -> None:
    shop = replace(case.shop, home=tmp_path / "home")
    assert case.runs.run(shop, dies_at=Step("os:link", after=after)).status == KILLED
    assert case.runs.run(shop, dies_at=Step("clustering_assets.assets.silver:bronze_version")).status == KILLED
    assert files(shop.home) == {"warehouse.duckdb", "runs/turn"} | {"warehouse.duckdb.wal"} & files(shop.home)
    expected = tables(case.undisturbed)
    del expected["bronze.fulfilled_requests"]  # the last table of a run
    assert same(tables(shop.home), expected, "bronze.")


def test_the_steps_are_functions_of_the_project() -> None:
    for step in [*STEPS, *MORE_STEPS]:
        assert callable(pkgutil.resolve_name(step.name))


@pytest.mark.long
@pytest.mark.parametrize(
    "step", [*STEPS, *MORE_STEPS], ids=lambda step: f"{'after' if step.after else 'before'} {step.name}"
)
def test_killed_at_a_step_a_run_is_followed_by_one_that_ends_well(case: Case, tmp_path: Path, step: Step) -> None:
    shop = case.copy(tmp_path / "home")
    assert case.runs.run(shop, dies_at=step).status == KILLED
    case.assert_each_layer_is_whole(shop.home)
    assert case.runs.run(shop).status == 0
    case.assert_as_if_nothing_had_happened(shop.home)


@pytest.mark.long
def test_killed_at_random_moments_runs_are_followed_by_ones_that_end_well(case: Case, tmp_path: Path) -> None:
    lasts = case.runs.run(case.copy(tmp_path / "timed")).seconds
    moments = random.Random(0)  # noqa: S311
    killed = 0
    for number in range(RANDOM_KILLS):
        shop = case.copy(tmp_path / str(number))
        killed += case.runs.run(shop, dies_after=moments.uniform(0, lasts)).status == KILLED
        case.assert_each_layer_is_whole(shop.home)
        assert case.runs.run(shop).status == 0
        case.assert_as_if_nothing_had_happened(shop.home)
        shutil.rmtree(shop.home)
    print(f"{killed} of {RANDOM_KILLS} runs were killed, the others had ended before")
    assert killed >= 30
