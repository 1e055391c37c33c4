"""Disks, files and clocks that fail: one sentence says what happened and what to do, and doing it helps."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from clustering_assets.contracts import IMPUTED_FEATURES
from clustering_assets.durable import CannotWrite, remove_leftovers, written_beside
from clustering_assets.reports.workbook import newest_export, next_export, write_workbook
from clustering_assets.run import _instance
from clustering_assets.saved_models import find_model
from clustering_assets.synthetic import generate, write
from clustering_assets.warehouse import Warehouse, WarehouseUnavailable, utc_now
from clustering_assets_tests.conftest import Shop
from clustering_assets_tests.runs import Runs
from clustering_assets_tests.test_kill_points import files, tables

MEGABYTE = 1 << 20
AWAY = r"{path} is damaged \(.*\): put a copy from a backup in its place, or move it and warehouse.duckdb.wal away"


class Disk:
    """A small disk of its own, which can be made larger and read-only."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs")

    def _mount(self, *arguments: str) -> None:
        done = subprocess.run(["mount", *arguments, str(self.folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")

    def change(self, options: str) -> None:
        self._mount("-o", f"remount,{options}")

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=False)


MakeDisk = Callable[[Path, int], Disk]


@pytest.fixture
def disk() -> Iterator[MakeDisk]:
    made: list[Disk] = []

    def make(folder: Path, size: int) -> Disk:
        made.append(Disk(folder, size))
        return made[-1]

    yield make
    for each in reversed(made):
        each.close()


# --------------------------------------------------------------------------------------------------------- full disks


def test_a_disk_that_is_full_stops_bronze_and_a_larger_one_helps(
    disk: MakeDisk, runs: Runs, finished: Shop, tmp_path: Path
) -> None:
    full = disk(tmp_path / "disk", MEGABYTE)
    shop = replace(finished, home=full.folder / "home")
    ended = runs.run(shop)
    assert ended.status == 1
    assert f"The disk of {shop.home} is full" in ended.failures[0]
    assert "free some space and run again" in ended.failures[0]
    full.change(f"size={64 * MEGABYTE}")
    assert runs.run(shop).status == 0
    assert tables(shop.home)["bronze.order_lines"].equals(tables(finished.home)["bronze.order_lines"])
    assert files(shop.home) == files(finished.home)


@pytest.mark.parametrize("before", [None, b"what was there"], ids=["new", "replacing"])
def test_a_disk_that_is_full_leaves_no_half_of_a_workbook(disk: MakeDisk, tmp_path: Path, before: bytes | None) -> None:
    folder = disk(tmp_path / "disk", MEGABYTE // 8).folder
    path = folder / "x.xlsx"
    if before:
        path.write_bytes(before)
    rows = pd.DataFrame(
        {"customer_id": [os.urandom(40).hex() for _ in range(20_000)], "imputed_count": 35, "imputed": "all"}
    )
    with pytest.raises(CannotWrite, match=rf"{path} could not be written \(No space left on device\): free some space"):
        write_workbook(path, IMPUTED_FEATURES, pa.Table.from_pandas(rows, preserve_index=False))
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == ({"x.xlsx": before} if before else {})


def test_a_disk_that_is_full_leaves_no_half_of_a_model(
    disk: MakeDisk, runs: Runs, finished: Shop, tmp_path: Path
) -> None:
    shop = replace(finished, home=shutil.copytree(finished.home, tmp_path / "home"))
    shutil.rmtree(shop.home / "models")
    full = disk(shop.home / "models", 8_192)
    ended = runs.run(shop)
    assert ended.status == 1
    assert ".skops could not be written (No space left on device): free some space" in ended.failures[0]
    assert not list(full.folder.iterdir())
    full.change(f"size={MEGABYTE}")
    assert runs.run(shop).status == 0
    assert files(shop.home) == files(finished.home)


def test_a_home_that_is_read_only_is_named(disk: MakeDisk, runs: Runs, finished: Shop, tmp_path: Path) -> None:
    closed = disk(tmp_path / "disk", 64 * MEGABYTE)
    shop = replace(finished, home=shutil.copytree(finished.home, closed.folder / "home"))
    closed.change("ro")
    ended = runs.run(shop)
    assert ended.status == 1
    assert f"The warehouse {shop.warehouse.path} cannot be opened" in ended.failures[0]
    assert "Read-only file system" in ended.failures[0]
    nowhere = runs.run(replace(finished, home=closed.folder / "new"))
    assert f"The home folder {closed.folder / 'new'} cannot be written (Read-only file system)" in nowhere.failures[0]
    closed.change("rw")
    assert runs.run(shop).status == 0


# -------------------------------------------------------------------------------------------------- damaged warehouses


def _written_over(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"garbage!" * 512)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "the first header": lambda path: _written_over(path, 0),
    "the other headers": lambda path: (_written_over(path, 4096), _written_over(path, 8192))[0],
    "a block": lambda path: _written_over(path, path.stat().st_size // 2 // 4096 * 4096),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "next to nothing left": lambda path: os.truncate(path, 100),
    "empty": lambda path: os.truncate(path, 0),
    "the log": lambda path: _written_over(path.with_name(f"{path.name}.wal"), 20_000),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_warehouse_is_named_with_what_to_do_and_stays_as_it_is(tmp_path: Path, what: str) -> None:
    warehouse = Warehouse(tmp_path)
    with warehouse.connect() as backend:
        backend.con.execute(
            "create table main.numbers as select range as number, hash(range) as hash from range(400000)"
        )
    if what == "the log":
        with warehouse.connect() as backend:
            backend.con.execute("create table main.more as select hash(range) as number from range(20000)")
            log = warehouse.path.with_name("warehouse.duckdb.wal").read_bytes()
            left = warehouse.path.read_bytes()
        warehouse.path.write_bytes(left)
        warehouse.path.with_name("warehouse.duckdb.wal").write_bytes(log)
    DAMAGE[what](warehouse.path)
    content = warehouse.path.read_bytes()
    expected = AWAY.format(path=warehouse.path)
    with pytest.raises(WarehouseUnavailable, match=expected), warehouse.connect() as backend:
        backend.con.execute("select sum(number), max(hash) from main.numbers").fetchall()
    assert warehouse.path.read_bytes() == content
    assert not list(tmp_path.glob(".*"))


def test_a_log_that_ends_in_the_middle_costs_what_was_not_written_and_nothing_else(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    with warehouse.connect() as backend:
        backend.con.execute("create table main.numbers as select 1 as number")
    with warehouse.connect() as backend:
        backend.con.execute("create table main.more as select hash(range) as number from range(20000)")
        log, left = (path.read_bytes() for path in (tmp_path / "warehouse.duckdb.wal", warehouse.path))
    warehouse.path.write_bytes(left)
    (tmp_path / "warehouse.duckdb.wal").write_bytes(log[: len(log) // 2])
    with warehouse.connect() as backend:
        assert backend.con.execute("select number from main.numbers").fetchall() == [(1,)]
        assert "more" not in backend.list_tables(database="main")


@pytest.mark.long
def test_moved_away_a_damaged_warehouse_is_made_anew(runs: Runs, finished: Shop, tmp_path: Path) -> None:
    shop = replace(finished, home=shutil.copytree(finished.home, tmp_path / "home"))
    os.truncate(shop.warehouse.path, 100_000)
    [failure] = runs.run(shop).failures
    assert f"The warehouse {shop.warehouse.path} is damaged" in failure
    assert "Traceback" not in failure
    shop.warehouse.path.rename(tmp_path / "damaged.duckdb")
    assert runs.run(shop).status == 0
    expected = tables(finished.home)
    for name, rows in tables(shop.home).items():
        pd.testing.assert_frame_equal(rows, expected[name], obj=name)


# -------------------------------------------------------------------------------------------------------------- clocks


def test_a_clock_that_was_set_back_mixes_nothing_up(runs: Runs, finished: Shop, tmp_path: Path) -> None:
    shop = finished.copied_to(tmp_path)
    first = newest_export(shop.home / "exports", "silver_customer_features")
    write(generate(20, 400, seed=12), tmp_path / "more", "returns_export", "csv")
    for path in (tmp_path / "more").iterdir():
        path.rename(shop.source / f"more_{path.name}")
    assert runs.run(shop, clock="2020-02-02 02:02:02").status == 0
    second = newest_export(shop.home / "exports", "silver_customer_features")
    assert first
    assert second
    assert second.name > first.name
    with shop.warehouse.connect() as backend:
        assert f"{find_model(backend)['fitted_at']:%Y}" == "2020", "the newest model is the one that was fitted last"
        assert backend.con.execute("select count(*) from gold.segment_model").fetchall() == [(2,)]
    there = files(shop.home)
    assert len(list((shop.home / "models").iterdir())) == 2
    assert runs.run(shop).status == 0
    assert files(shop.home) == there
    assert newest_export(shop.home / "exports", "silver_customer_features") == second


def test_two_exports_in_one_second_have_names_of_their_own(tmp_path: Path) -> None:
    now = utc_now()
    names = []
    for _ in range(3):
        path = next_export(tmp_path, "stem", now)
        path.touch()
        names.append(path.name)
    assert len({*names}) == 3
    assert names == sorted(names)
    assert newest_export(tmp_path, "stem") == tmp_path / names[-1]


# --------------------------------------------------------------------------------------------------- files and folders


def test_what_killed_runs_were_writing_goes_and_nothing_else(tmp_path: Path) -> None:
    gone = ["exports/.x.xlsx.1a.part", "models/.m.skops.2b.part", ".warehouse.duckdb.3c.part", "spill/block.tmp"]
    kept = ["exports/x.xlsx", "models/m.skops", "warehouse.duckdb", "exports/.hidden", "other/.x.part"]
    for name in (*gone, *kept):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == {*kept}
    remove_leftovers(tmp_path / "there is none")


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    with written_beside(path) as beside:
        beside.write_text("first")
        assert not path.exists()
    with suppress(ZeroDivisionError), written_beside(path) as beside:
        beside.write_text("half")
        raise ZeroDivisionError
    assert {each.name: each.read_text() for each in path.parent.iterdir()} == {"file": "first"}


def test_a_storage_of_dagster_that_is_lost_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "lost" / "dagster"))
    with _instance() as instance:
        assert instance.get_runs() == []
    shutil.rmtree(tmp_path / "lost")
    with _instance() as instance:
        assert instance.get_runs() == []
