"""When the source folder holds something new: files that come, grow, go, are renamed, or cannot be read."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from clustering_assets import source_changes
from clustering_assets.durable import CannotWrite
from clustering_assets.source_changes import LONGEST_WAIT, Look, last_look, look
from clustering_assets.sources.ingestion import NoUsableRows

START = 1_700_000_000.0
FRESH = last_look(None, Path("nowhere"), START)


def looks(folder: Path, before: Look = FRESH, times: int = 2, now: float = START) -> Look:
    """Look several times, with the look written and read again each time, as the sensor does it."""
    home = folder.with_name(f"{folder.name} home")
    for _ in range(times):
        seen = look(folder, before, now)
        seen.remember(home)
        before = last_look(seen.cursor, home, now)
        assert before == seen
    return before


def test_a_file_counts_when_two_looks_saw_it_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    first = looks(tmp_path, times=1)
    assert first.awaited(START) == ["a.csv"]
    assert first.contents == ()
    second = looks(tmp_path, first, times=1)
    assert second.awaited(START) == second.unread == []
    assert len(second.contents) == 1


def test_a_file_that_grows_counts_with_what_it_held_before_and_is_awaited_for_a_bounded_time(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")
    held = looks(tmp_path)
    grown = held
    for minute in range(5):
        path.write_text(path.read_text() + "2\n")
        grown = looks(tmp_path, grown, times=1, now=START + 60 * minute)
        assert grown.awaited(START + 60 * minute) == ["a.csv"]
        assert grown.contents == held.contents
    assert grown.awaited(START + LONGEST_WAIT - 1) == ["a.csv"]
    assert grown.awaited(START + LONGEST_WAIT) == grown.unread == []
    assert looks(tmp_path, grown, times=1).contents != held.contents, "it counts as soon as it has stopped growing"


def test_a_file_that_is_renamed_or_copied_brings_nothing_new(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    before = looks(tmp_path)
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    assert looks(tmp_path, before).contents == before.contents
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.csv").write_bytes((tmp_path / "b.csv").read_bytes())
    assert looks(tmp_path, before).contents == before.contents


def test_a_file_that_was_only_touched_brings_nothing_new(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    before = looks(tmp_path)
    os.utime(tmp_path / "a.csv", (1, 1))
    touched = looks(tmp_path, before, times=1)
    assert touched.awaited(START) == ["a.csv"]
    assert looks(tmp_path, touched, times=1).contents == before.contents


def test_the_same_bytes_under_another_ending_are_another_content(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    before = looks(tmp_path)
    (tmp_path / "a.csv").rename(tmp_path / "a.xlsx")
    assert looks(tmp_path, before).contents != before.contents


def test_hidden_files_and_files_that_are_no_source_do_not_count(tmp_path: Path) -> None:
    for name in (".a.csv", "~$a.xlsx", "a.csv.part", "notes.txt"):
        (tmp_path / name).write_text("x\n1\n")
    assert looks(tmp_path).files == {}


def test_the_mapping_file_counts_since_it_says_how_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    contents = [looks(tmp_path).contents]
    for text in ("layout: order_lines\n", "layout: returns_export\n"):
        (tmp_path / "source.yaml").write_text(text)
        contents.append(looks(tmp_path).contents)
    (tmp_path / "source.yaml").unlink()
    assert len(set(contents)) == 3
    assert looks(tmp_path).contents == contents[0]


def test_a_damaged_file_counts_so_that_a_run_says_what_is_wrong_and_again_when_it_is_whole(tmp_path: Path) -> None:
    whole = gzip.compress(b"x\n1\n" * 1000)
    (tmp_path / "a.csv.gz").write_bytes(whole[:-10])
    damaged = looks(tmp_path)
    assert len(damaged.contents) == 1
    (tmp_path / "a.csv.gz").write_bytes(whole)
    mended = looks(tmp_path, damaged)
    assert len(mended.contents) == 1
    assert mended.contents != damaged.contents


def test_what_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    digest = source_changes.content_hash
    monkeypatch.setattr(
        source_changes, "content_hash", lambda file, folder: [read.append(file.name), digest(file, folder)][1]
    )
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(name)
    before = looks(tmp_path, times=4)
    assert read == ["a.csv", "b.csv"]
    (tmp_path / "b.csv").write_text("something else")
    looks(tmp_path, before, times=4)
    assert read == ["a.csv", "b.csv", "b.csv"]


def test_many_bytes_are_read_in_several_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_changes, "MOST_HASHED", 100)
    for number in range(5):
        (tmp_path / f"{number}.csv").write_text(f"{number}" * 60)
    (tmp_path / "large.csv").write_text("x" * 1000)
    progress = looks(tmp_path)
    assert progress.unread == ["2.csv", "3.csv", "4.csv", "large.csv"]
    progress = looks(tmp_path, progress)
    assert progress.unread == []
    assert len(progress.contents) == 6
    os.utime(tmp_path / "large.csv", (1, 1))
    assert looks(tmp_path, progress).contents != progress.contents, "a large file is known by its size and time"


def test_requests_for_the_same_contents_at_another_time_have_another_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    names, now = [], FRESH
    for text in ("A", "A and B", "A", "A and B", "A"):
        path.write_text(text)
        now = looks(tmp_path, now).with_request()
        names.append(now.request)
    assert len(set(names)) == len(names)


def test_a_look_that_is_repeated_asks_for_the_same_run(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("A")
    before = looks(tmp_path)
    assert looks(tmp_path, before, times=1).with_request() == looks(tmp_path, before, times=1).with_request()


OLDER = '["x", ["c"], {"a.csv": [[1, 2, 3], "c", true, null]}]'


@pytest.mark.parametrize("cursor", [None, "", "{}", "[]", OLDER, "[1, 2, 3]", '["x", "c", {}]', "older"])
def test_without_a_cursor_that_can_be_read_everything_is_new(cursor: str | None, tmp_path: Path) -> None:
    home = tmp_path.with_name(f"{tmp_path.name} home")
    (tmp_path / "a.csv").write_text("A")
    assert looks(tmp_path) == last_look(looks(tmp_path).cursor, home, START)
    assert last_look(cursor, home, START) == FRESH


@pytest.mark.parametrize("memory", ["", "[]", '{"a.csv": [1]}', '{"a.csv": 1}', "older", None])
def test_where_what_the_files_were_like_is_lost_they_are_looked_into_again(memory: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("A")
    before = looks(tmp_path).with_request()
    home = tmp_path.with_name(f"{tmp_path.name} home")
    path = home / "runs" / "source_folder.json"
    path.write_text(memory) if memory is not None else path.unlink()
    lost = last_look(before.cursor, home, START)
    assert lost == replace(before, files={})
    again = looks(tmp_path, lost, times=1)
    assert again.awaited(START) == ["a.csv"]
    again = looks(tmp_path, again, times=1)
    assert again == before, "which is nothing new"


def test_the_cursor_does_not_grow_with_the_files(tmp_path: Path) -> None:
    lengths = []
    for number in range(50):
        (tmp_path / f"{number}.csv").write_text(str(number))
        lengths.append(len(looks(tmp_path).with_request().cursor))
    assert max(lengths) == min(lengths) < 100


def test_files_that_keep_coming_hold_those_before_them_back_for_a_bounded_time(tmp_path: Path) -> None:
    seen, now, asked = FRESH, START, []
    for number in range(5 * 60):
        (tmp_path / f"{number}.csv").write_text(str(number))
        now += 60
        seen = looks(tmp_path, seen, times=1, now=now)
        if seen.is_new and not seen.awaited(now):
            asked.append(now)
            seen = seen.with_request()
    hours = [(after - before) / LONGEST_WAIT for before, after in pairwise([START, *asked])]
    assert len(hours) == 4
    assert max(hours) < 1.1


def test_a_home_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file in the place of the folder")
    with pytest.raises(CannotWrite, match=r"source_folder\.json could not be written"):
        FRESH.remember(tmp_path / "home")


def test_two_beginnings_never_share_the_name_of_a_request(tmp_path: Path) -> None:
    first, second = (last_look(None, tmp_path, now) for now in (START, START + 1))
    assert first.with_request() != second.with_request()


def test_a_missing_folder_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(NoUsableRows, match="does not exist: create it or set CLUSTERING_SOURCE_DIR"):
        look(tmp_path / "nowhere", FRESH, START)
    (tmp_path / "file").write_text("")
    with pytest.raises(NoUsableRows, match="does not exist"):
        look(tmp_path / "file", FRESH, START)
