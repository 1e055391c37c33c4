"""What is found in a folder, and fingerprints."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from clustering_assets.sources.files import FoundFile, Limits, UnusableFile, check_place, content_hash, find_files
from clustering_assets_tests.sources.bronze import Bronze, order_lines


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_files_are_listed_by_name_without_hidden_ones_and_the_mapping(tmp_path: Path) -> None:
    fill(tmp_path, "b.csv", "a/z.CSV", "a/.x/y.csv", ".h.csv", "~$book.xlsx", "source.yaml", "a/source.yaml", "B.txt")
    assert [file.name for file in find_files(tmp_path)] == ["B.txt", "a/source.yaml", "a/z.CSV", "b.csv"]


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.csv", ".csv"), ("a.CSV.GZ", ".csv.gz"), ("a.Parquet", ".parquet"), ("a.xlsx", ".xlsx"), ("a.gz", None)],
)
def test_the_ending_tells_the_format(name: str, ending: str | None) -> None:
    assert FoundFile(name, Path(name)).ending == ending


def test_the_stamp_changes_with_the_content_and_only_then(tmp_path: Path) -> None:
    fill(tmp_path, "a.csv")
    before = find_files(tmp_path)
    assert find_files(tmp_path) == before
    os.utime(tmp_path / "a.csv", ns=(0, before[0].stamp[1] + 1))
    assert find_files(tmp_path) != before


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    fill(tmp_path, "a.csv")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"x") + gzip.compress(b"y"))
    for file in find_files(tmp_path):
        assert content_hash(file) == hashlib.sha256(file.path.read_bytes()).hexdigest()


def test_links_are_followed_inside_the_folder_only(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    fill(tmp_path, "in/a.csv", "out.csv", "outer/c.csv")
    (inside / "b.csv").symlink_to("a.csv")
    (inside / "c.csv").symlink_to(tmp_path / "out.csv")
    (inside / "d.csv").symlink_to("d.csv")
    (inside / "e.csv").symlink_to(tmp_path / "outer")
    files = {file.name: file for file in find_files(inside)}
    assert list(files) == ["a.csv", "b.csv", "c.csv", "d.csv", "e.csv"]
    check_place(files["b.csv"], inside)
    assert content_hash(files["b.csv"]) == content_hash(files["a.csv"])
    with pytest.raises(UnusableFile, match="link to a place outside"):
        check_place(files["c.csv"], inside)
    check_place(files["c.csv"], inside, Limits(allow_links=True))
    with pytest.raises(UnusableFile, match="link that leads nowhere"):
        check_place(files["d.csv"], inside)
    with pytest.raises(UnusableFile, match="link to a folder, and those are not followed"):
        check_place(files["e.csv"], inside, Limits(allow_links=True))


ODD_NAMES = [
    "it's.csv",
    'q"q.csv',
    "a b#1.csv",
    "ünï.csv",
    "a[1].csv",
    "a*.csv",
    "a?.csv",
    "x\\y.csv",
    "sku=Z/n\nl.csv",
]


def test_files_with_odd_names_load(bronze: Bronze) -> None:
    bronze.load({name: order_lines({"order_id": str(place)}) for place, name in enumerate(ODD_NAMES)})
    assert bronze.statuses() == [(name, "loaded") for name in sorted(ODD_NAMES)]
    assert {line[0]: int(line[1]) for line in bronze.lines("source_file, order_id")} == {
        name: place for place, name in enumerate(ODD_NAMES)
    }
    bronze.assert_sound()


def test_a_name_that_is_no_text_is_named_as_well_as_can_be(bronze: Bronze) -> None:
    Path(os.fsdecode(os.fsencode(bronze.folder) + b"/caf\xe9.csv")).write_text(order_lines({"order_id": "X"}))
    bronze.load({"a.csv": order_lines({})})
    assert bronze.statuses() == [("a.csv", "loaded"), ("caf\\xe9.csv", "unusable")]
    assert bronze.reason("caf\\xe9.csv") == "has a name that is not UTF-8: rename it"
    assert not bronze.load()
