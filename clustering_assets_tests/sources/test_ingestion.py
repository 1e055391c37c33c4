"""Loading a folder: bad files, nothing usable, and what changes from one load to the next."""

from __future__ import annotations

import gzip
import io
import os
import pwd
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter

from clustering_assets.sources import ingestion
from clustering_assets.sources.files import content_hash
from clustering_assets.sources.ingestion import NoUsableRows, bronze_version, ingest
from clustering_assets_tests.sources import bad_folder
from clustering_assets_tests.sources.bronze import NOW, TABLES, Bronze, Content, csv_text, opened, order_lines


def loaded_rows(bronze: Bronze) -> dict[str, int]:
    return dict(bronze.rows("select source_file, rows_read from bronze.source_files where status = 'loaded'"))


def names_with(bronze: Bronze, status: str) -> set[str]:
    return {name for name, found in bronze.statuses() if found == status}


# ---------------------------------------------------------------------------------------------------------- bad files


def test_good_files_load_and_each_bad_one_has_a_reason(bronze: Bronze) -> None:
    bad_folder.write(bronze.folder)
    assert bronze.load()
    bronze.assert_sound()
    assert loaded_rows(bronze) == bad_folder.LOADED
    assert names_with(bronze, "unusable") == set(bad_folder.UNUSABLE)
    assert names_with(bronze, "duplicate") == set(bad_folder.DUPLICATES)
    assert names_with(bronze, "ignored") == {"notes.txt"}
    for name, words in {**bad_folder.UNUSABLE, **bad_folder.DUPLICATES}.items():
        assert words in bronze.reason(name)
    assert bronze.rows("select count(*) from bronze.order_lines")[0][0] == sum(bad_folder.LOADED.values())
    assert bronze.rows("select order_id, sku from bronze.order_lines where source_file = 'latin_1.csv' limit 1") == [
        ("L0", "Größe S0")
    ]
    assert bronze.rows("select distinct line_value from bronze.order_lines where source_file = 'semicolon.csv'") == [
        (1009.5,)
    ]
    assert bronze.rows("select order_id from bronze.order_lines where source_file like 'crlf%' order by 1 limit 1") == [
        ('C"C0\r\nline',)
    ]


def test_a_second_load_of_unchanged_files_changes_nothing(bronze: Bronze) -> None:
    bad_folder.write(bronze.folder)
    bronze.load()
    before = [bronze.rows(f"from {table.qualified_name} order by all") for table in TABLES]
    assert not ingest(bronze.backend, bronze.folder, NOW + timedelta(days=1))
    assert [bronze.rows(f"from {table.qualified_name} order by all") for table in TABLES] == before


@contextmanager
def without_privileges() -> Iterator[None]:
    """Act as a user who may not read everything, as root may."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(me)


def test_what_may_not_be_read_is_named_and_its_rows_of_the_last_load_stay(bronze: Bronze) -> None:
    # What Python imports on first use, it has to import while it may read its own files.
    bad_folder.write(bronze.folder)
    bronze.load()
    bronze.assert_sound()
    bronze.content()
    with tempfile.TemporaryDirectory() as place:
        folder, home = Path(place, "source"), Path(place, "home")
        Path(place).chmod(0o777)
        with without_privileges(), opened(folder, home) as bronze:
            bronze.load({name: order_lines({"order_id": name}) for name in ("a.csv", "b.csv", "closed/c.csv")})
            assert bronze.lines("order_id") == [("a.csv",), ("b.csv",), ("closed/c.csv",)]

            bronze.write({name: order_lines({"order_id": name}) for name in ("d.csv", "e.csv")})
            for name in ("a.csv", "closed", "e.csv"):
                (folder / name).chmod(0)
            bronze.load()
            bronze.assert_sound()
            assert bronze.lines("order_id") == [("a.csv",), ("b.csv",), ("closed/c.csv",), ("d.csv",)]
            assert names_with(bronze, "unusable") == {"a.csv", "closed", "e.csv"}
            assert (
                bronze.reason("e.csv") == "cannot be read (Permission denied): check that it exists and its permissions"
            )
            assert bronze.reason("a.csv") == bronze.reason("e.csv") + "; the rows of its last good version stay"
            assert bronze.reason("closed").startswith("is a folder that cannot be opened (Permission denied)")
            assert not bronze.load()

            (folder / "closed").chmod(0o777)
            bronze.load()
            assert names_with(bronze, "unusable") == {"a.csv", "e.csv"}
            folder.chmod(0)
            with pytest.raises(NoUsableRows, match="cannot be opened"):
                bronze.load()
            folder.chmod(0o777)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "The source folder .* does not exist: create it or set CLUSTERING_SOURCE_DIR"),
        ({}, "There is no file in the source folder .*: put .csv"),
        ({"a.txt": "x", ".b.csv": order_lines({})}, "no file is .csv"),
        (
            {"a.csv": "", "b.csv": "x,y\n1,2\n"},
            "a.csv is empty: export it again or delete it; b.csv has no known layout",
        ),
        ({"a.csv": order_lines({"customer_id": ""})}, "a.csv has no row that can be kept"),
    ],
)
def test_a_folder_without_a_usable_row_is_refused_in_one_sentence_and_tables_stay(
    bronze: Bronze, content: dict[str, str] | None, message: str
) -> None:
    empty = bronze.folder.parent / "other"
    if content is not None:
        empty.mkdir()
        Bronze(empty, bronze.backend).write(content)
    with pytest.raises(NoUsableRows, match=message) as refusal:
        ingest(bronze.backend, empty, NOW)
    assert "\n" not in str(refusal.value)
    assert bronze.backend.list_tables(database="bronze") == []

    bronze.load({"good.csv": order_lines({}), "bad.csv": ""})
    before = bronze.content()
    with pytest.raises(NoUsableRows, match=message):
        ingest(bronze.backend, empty, NOW)
    assert bronze.content() == before
    assert not bronze.load()


# -------------------------------------------------------------------------------------------------- from load to load


@contextmanager
def watched(folder: Path) -> Iterator[Counter[str]]:
    """Count the files below a folder that Python opens."""
    counted: Counter[str] = Counter()
    is_on = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if is_on and event == "open" and str(arguments[0]).startswith(f"{folder}/"):
            counted[Path(arguments[0]).relative_to(folder).as_posix()] += 1

    sys.addaudithook(hook)
    yield counted
    is_on = False


def test_unchanged_files_are_not_opened_again(bronze: Bronze) -> None:
    bronze.load({"a.csv": order_lines({"order_id": "A"}), "b.csv": order_lines({"order_id": "B"}), "empty.csv": ""})
    bronze.write({"c.csv": order_lines({"order_id": "C"})})
    with watched(bronze.folder) as opened_files:
        assert bronze.load()
    assert set(opened_files) == {"c.csv"}
    with watched(bronze.folder) as opened_files:
        assert not bronze.load()
    assert not opened_files


def test_a_touched_file_is_opened_but_not_read_again(bronze: Bronze) -> None:
    bronze.load({"a.csv": order_lines({"order_id": "A"})})
    os.utime(bronze.folder / "a.csv", (1, 1))
    ingest(bronze.backend, bronze.folder, NOW + timedelta(days=1))
    assert bronze.line("ingested_at") == (NOW,)
    assert not bronze.load()


def test_a_changed_file_replaces_its_own_rows_only(bronze: Bronze) -> None:
    bronze.load({"a.csv": order_lines({"order_id": "A"}), "b.csv": order_lines({"order_id": "B"}, {"sku": ""})})
    bronze.write({"b.csv": order_lines({"order_id": "B2"})})
    assert ingest(bronze.backend, bronze.folder, NOW + timedelta(days=1))
    assert bronze.lines("order_id, ingested_at") == [("A", NOW), ("B2", NOW + timedelta(days=1))]
    assert bronze.rejected() == []


def test_adding_a_file_twice_changes_no_line(bronze: Bronze) -> None:
    content = order_lines({"order_id": "A"}, {"order_id": "B"})
    bronze.load({"b.csv": content})
    before = bronze.lines("* exclude (source_file)")
    version = bronze_version(bronze.backend)
    assert bronze.load({"c.csv": content})
    assert bronze.statuses() == [("b.csv", "loaded"), ("c.csv", "duplicate")]
    assert bronze_version(bronze.backend) == version
    assert bronze.load({"a.csv": content})
    assert bronze.statuses() == [("a.csv", "loaded"), ("b.csv", "duplicate"), ("c.csv", "duplicate")]
    assert bronze.lines("* exclude (source_file)") == before
    assert not bronze.load()


def test_files_of_one_bad_content_are_unusable_and_keep_the_rows_of_their_last_good_version(bronze: Bronze) -> None:
    bronze.load({"a.csv": order_lines({"order_id": "A"}), "b.csv": order_lines({"order_id": "B"}), "c.csv": "x"})
    bronze.load({"a.csv": "", "b.csv": ""})
    bronze.assert_sound()
    assert bronze.lines("order_id") == [("A",), ("B",)]
    assert bronze.statuses() == [(name, status) for name in ("a.csv", "b.csv") for status in ("loaded", "unusable")] + [
        ("c.csv", "unusable")
    ]
    assert bronze.reason("b.csv") == "is empty: export it again or delete it; the rows of its last good version stay"
    assert not bronze.load()


def test_the_same_bytes_under_an_ending_that_does_not_fit_hide_no_file(bronze: Bronze) -> None:
    packed = gzip.compress(order_lines({}).encode())
    bronze.load({"a.csv": packed, "a.csv.gz": packed})
    assert bronze.statuses() == [("a.csv", "unusable"), ("a.csv.gz", "loaded")]


def test_another_mapping_reads_all_files_anew(bronze: Bronze) -> None:
    bronze.load({"a.csv": order_lines({"category": "red"}), "b.csv": order_lines({"order_id": "B"})})
    columns = {"order_id": "order_id", "customer_id": "customer_id", "sku": "category"}
    mapping = "columns: {" + ", ".join(f"{name}: {source}" for name, source in columns.items()) + "}"
    assert bronze.load({"source.yaml": mapping})
    assert bronze.lines("sku") == [("red",), ("shoes",)]
    assert bronze.load({"source.yaml": "layout: order_lines"})
    assert bronze.lines("sku") == [("S1",), ("S1",)]
    assert not bronze.load()


def test_a_file_that_no_longer_fits_the_mapping_loses_its_rows(bronze: Bronze) -> None:
    retail = csv_text(
        ["Invoice", "StockCode", "Quantity", "InvoiceDate", "Price", "Customer ID"],
        [["1", "A", "5", "2024-01-01", "2", "7"]],
    )
    bronze.load({"a.csv": order_lines({}), "b.csv": retail})
    bronze.load(layout="order_lines")
    bronze.assert_sound()
    assert bronze.statuses() == [("a.csv", "loaded"), ("b.csv", "unusable")]
    assert bronze.lines("order_id") == [("O1",)]


def test_a_file_that_changes_while_it_is_read_is_read_at_the_next_load(
    bronze: Bronze, monkeypatch: pytest.MonkeyPatch
) -> None:
    bronze.load({"a.csv": order_lines({"order_id": "A"}), "b.csv": order_lines({"order_id": "B"})})

    def grows(file: Any, limits: Any) -> str:
        """Fingerprint a file that somebody goes on writing to, or takes away."""
        digest = content_hash(file, limits)
        if file.name == "b.csv":
            file.path.write_text(order_lines({"order_id": "B3"}, {"order_id": "B4"}))
        if file.name == "c.csv":
            file.path.unlink()
        return digest

    bronze.write({"b.csv": order_lines({"order_id": "B2"}), "c.csv": order_lines({"order_id": "C"})})
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(ingestion, "content_hash", grows)
        bronze.load()
    bronze.assert_sound()
    assert bronze.lines("order_id") == [("A",), ("B",)]
    assert bronze.statuses() == [
        ("a.csv", "loaded"),
        ("b.csv", "loaded"),
        ("b.csv", "unusable"),
        ("c.csv", "unusable"),
    ]
    assert bronze.reason("b.csv").startswith("changed while it was read: run again when it is complete")
    assert bronze.load()
    assert bronze.lines("order_id") == [("A",), ("B3",), ("B4",)]
    assert bronze.statuses() == [("a.csv", "loaded"), ("b.csv", "loaded")]


# --------------------------------------------------------------------------------------------- incremental equals full


def some_file(random: Random, ending: str) -> bytes:
    """Content of a good file; its keys are few, so that files have lines in common."""

    def pick(*values: str) -> str:
        return random.choice(values)

    rows = [
        [
            pick("1", "2", "3"),
            pick("a", "b", ""),
            pick("X", "Y"),
            f"2024-01-{10 + i}",
            pick("1", "2", "x"),
            pick("0", "5"),
        ]
        for i in range(random.randint(1, 8))
    ]
    unique = [f"U{random.randrange(10**9)}", "u", "X", "2024-01-01", "1", "0"]
    header = ["order_id", "customer_id", "sku", "order_date", "quantity", "return_quantity"]
    kind = pick("lines", "export", "retail") if ending == ".csv" else ending
    if kind == "export":
        names = ["SALES_ORDER_NO", "CUSTOMER_EMAILID", "Q_SKU_ID", "ORDER_DATE", "SALES_QTY", "RETURN_QTY"]
        more = ["SKU", "GROSS", "Q_CLS_ID"]
        return csv_text([*names, *more], [[*row, "s", "9", "shoes"] for row in [*rows, unique]]).encode()
    if kind == "retail":
        names = ["Invoice", "Customer ID", "StockCode", "InvoiceDate", "Quantity", "Price"]
        booked = [[*row[:5], "2.5"] for row in [*rows, unique]]
        cancelled = [["C" + row[0], *row[1:4], "-2", "2.5"] for row in rows if random.random() < 0.5]
        return csv_text(names, booked + cancelled).encode()
    if kind == ".parquet":
        out = pa.BufferOutputStream()
        columns = zip(*rows, unique, strict=True)
        pq.write_table(pa.table({name: list(values) for name, values in zip(header, columns, strict=True)}), out)
        return bytes(out.getvalue().to_pybytes())
    if kind == ".xlsx":
        return workbook({"A notes": [["remark"], ["none"]], "B": [header, *rows], "C": [header, unique]})
    return csv_text(header, [*rows, unique], pick(",", ";")).encode()


def workbook(sheets: dict[str, list[list[str]]]) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for place, row in enumerate(rows):
                sheet.write_row(place, 0, row)
    return out.getvalue()


def settled(content: Content) -> Content:
    """What has to be the same whether a file is good or its last good version is kept."""
    tables = dict(content)
    del tables["file_state"]
    tables["source_files"] = Counter(row for row in content["source_files"].elements() if "unusable" not in row)
    return tables


@dataclass
class Folder:
    """Files that come, change, go and break; ``good`` is what counts, ``bad`` what stands there instead."""

    path: Path
    random: Random
    good: dict[str, bytes] = field(default_factory=dict)
    bad: dict[str, bytes] = field(default_factory=dict)

    def step(self) -> None:
        intact = sorted(self.good.keys() - self.bad.keys())
        if intact:
            name, change = (
                self.random.choice(intact),
                self.random.choice(["copy", "rename", "break", "remove", "change"]),
            )
            if change in ("rename", "remove", "break") and len(intact) == 1:
                change = "copy"
            content = self.good[name]
            if change == "break" and list(self.good.values()).count(content) == 1:
                self.bad[name] = self.random.randbytes(20)
            if change in ("rename", "remove"):
                del self.good[name]
            if change in ("rename", "copy"):
                self.good[self._free_name(Path(name).suffix)] = content
            if change == "change":
                self.good[name] = some_file(self.random, Path(name).suffix)
        if self.bad and self.random.random() < 0.3:
            self.bad.pop(self.random.choice(sorted(self.bad)))
        for _ in range(self.random.randint(0 if self.good else 1, 2)):
            ending = self.random.choice([".csv", ".csv", ".csv", ".xlsx", ".parquet"])
            self.good[self._free_name(ending)] = some_file(self.random, ending)
        for path in self.path.iterdir():
            if path.name not in self.good:
                path.unlink()
        for name, content in {**self.good, **self.bad}.items():
            path = self.path / name
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)

    def _free_name(self, ending: str) -> str:
        return f"{self.random.choice('abcdefgh')}{self.random.randrange(10**6)}{ending}"


@pytest.mark.parametrize("seed", range(3))
def test_loading_step_by_step_comes_to_what_loading_at_once_comes_to(tmp_path: Path, seed: int) -> None:
    with opened(tmp_path / "source", tmp_path / "home") as bronze:
        folder = Folder(bronze.folder, Random(seed))  # noqa: S311
        for number in range(6):
            folder.step()
            bronze.load()
            bronze.assert_sound()
            with opened(tmp_path / f"good_{number}", tmp_path / f"home_{number}") as fresh:
                fresh.load(folder.good)
                assert settled(bronze.content()) == settled(fresh.content())
                if not folder.bad:
                    assert bronze.content() == fresh.content()
            assert names_with(bronze, "unusable") == set(folder.bad)
            assert not bronze.load()


def test_a_workbook_changes_sheet_by_sheet(bronze: Bronze) -> None:
    header = ["order_id", "customer_id", "sku"]
    sheets = {"1": [header, ["A", "a", "X"]], "2": [header, ["B", "b", "X"]], "0 notes": [["no", "data"]]}
    bronze.load({"book.xlsx": workbook(sheets)})
    assert bronze.statuses() == [("book.xlsx#0 notes", "ignored"), ("book.xlsx#1", "loaded"), ("book.xlsx#2", "loaded")]
    assert not bronze.load()
    del sheets["1"]
    good = workbook(sheets)
    bronze.load({"book.xlsx": good})
    assert bronze.lines("order_id") == [("B",)]
    assert bronze.statuses() == [("book.xlsx#0 notes", "ignored"), ("book.xlsx#2", "loaded")]
    with zipfile.ZipFile(bronze.folder / "book.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    bronze.load()
    bronze.assert_sound()
    assert bronze.lines("order_id") == [("B",)]
    statuses = [("book.xlsx#0 notes", "ignored"), ("book.xlsx#2", "loaded")]
    assert bronze.statuses() == [("book.xlsx", "unusable"), *statuses]
    bronze.load({"book.xlsx": good})
    assert bronze.statuses() == statuses


def test_a_load_of_many_files_says_how_far_it_is_in_a_few_lines_without_their_names(
    bronze: Bronze, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "clustering_assets"):
        bronze.load({f"somebody{place}.csv": order_lines({"order_id": f"O{place}"}) for place in range(100)})
    assert len(caplog.messages) <= 12
    assert caplog.messages[0].startswith("100 of 100 files are to be read")
    assert "read 100 of 100 files, 100 rows" in caplog.messages
    assert not [said for said in caplog.messages if "somebody" in said]
    caplog.clear()
    with caplog.at_level("INFO", "clustering_assets"):
        bronze.load()
    assert caplog.messages == [], "nothing is to be done"
