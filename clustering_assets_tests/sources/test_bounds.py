"""Files that are small and ask for more than the machine has: refused with a reason, without being expanded first."""

from __future__ import annotations

import gzip
import io
import os
import re
import resource
import socket
import zipfile
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clustering_assets.sources import bounds
from clustering_assets.sources.files import Limits
from clustering_assets.sources.ingestion import ingest
from clustering_assets.sources.mapping import BadMapping, layouts_for
from clustering_assets_tests.sources.apart import load_apart
from clustering_assets_tests.sources.bronze import NOW, Bronze, order_lines
from clustering_assets_tests.sources.mutations import originals

HEADER = b"order_id,customer_id,sku\n"
GOOD = {"a_good.csv": order_lines({}).encode()}
SMALL = Limits(max_expanded=1_000_000)


def workbook(change: Callable[[bytes], bytes] = bytes, **more: bytes) -> bytes:
    """A good workbook with something done to its sheet, and further parts."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(originals()["order_lines", "xlsx"])) as whole,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package,
    ):
        for name in whole.namelist():
            part = whole.read(name)
            package.writestr(name, change(part) if name.startswith("xl/worksheets/") else part)
        for name, part in more.items():
            package.writestr(f"xl/{name}.xml", part)
    return out.getvalue()


def with_cell(reference: str) -> Callable[[bytes], bytes]:
    cell = f'<row r="{re.sub("[A-Z]", "", reference)}"><c r="{reference}"><v>1</v></c></row></sheetData>'
    return lambda sheet: sheet.replace(b"</sheetData>", cell.encode())


def laughs(sheet: bytes) -> bytes:
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    declared = f'<!DOCTYPE x [<!ENTITY a0 "ha">{entities}]><worksheet'
    return re.sub(b"<v>[^<]*</v>", b"<v>&a9;</v>", sheet.replace(b"<worksheet", declared.encode()))


def parquet_of_nothing(rows: int) -> bytes:
    """A small file that has any number of rows, all of them null."""
    out = io.BytesIO()
    nulls = pa.nulls(rows, pa.string())
    pq.write_table(pa.table({"order_id": nulls, "customer_id": nulls, "sku": nulls}), out, row_group_size=rows)
    return out.getvalue()


BOMBS = {
    "zeros.csv.gz": (gzip.compress(HEADER + b"1,a,X\n" * 300_000), "expands to more than 0.001 GB"),
    "many.csv.gz": (b"".join([gzip.compress(HEADER + b"0" * 100_000)] * 20), "expands to more than 0.001 GB"),
    "spaces.xlsx": (workbook(extra=b" " * 3_000_000), "expands to more than 0.001 GB"),
    "corner.xlsx": (workbook(with_cell("XFD1048576")), "has a sheet with 1,048,576 rows and 16,384 columns"),
    "quoted.xlsx": (
        workbook(lambda sheet: with_cell("XFD1048576")(sheet).replace(b'r="XFD1048576"', b"r =\n'xfd1048576'")),
        "has a sheet with 1,048,576 rows and 16,384 columns",
    ),
    "long.xlsx": (workbook(with_cell("A" * 300_000 + "9" * 3_000)), "has a sheet with 999,999,999,999,999,999 rows"),
    "beyond.xlsx": (workbook(with_cell("ZZZZZZZ99999999999")), "has a sheet with 99,999,999,999 rows"),
    "laughs.xlsx": (workbook(laughs), "declares entities"),
    "parts.xlsx": (workbook(**{f"x{i}": b"" for i in range(bounds.MAX_MEMBERS)}), "parts, which none is"),
    "rows.parquet": (parquet_of_nothing(1_000_000), "expands to more than 0.001 GB"),
}


def test_bombs_are_refused_before_they_go_off_and_the_file_beside_them_is_loaded(bronze: Bronze) -> None:
    bronze.write({**GOOD, **{name: content for name, (content, _) in BOMBS.items()}})
    ingest(bronze.backend, bronze.folder, NOW, limits=SMALL)
    for name, (_, words) in BOMBS.items():
        assert words in bronze.reason(name)
    assert bronze.lines("source_file") == [("a_good.csv",)]


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_workbook_whose_compressed_bytes_are_damaged_is_refused(bronze: Bronze, compression: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as package:
        package.writestr("xl/workbook.xml", bytes(range(256)) * 100)
    damaged = bytearray(out.getvalue())
    start = 30 + len("xl/workbook.xml")
    damaged[start : start + 60] = bytes(60)
    bronze.load({**GOOD, "b.xlsx": bytes(damaged)})
    assert bronze.reason("b.xlsx").startswith("is a damaged workbook (")


def test_a_larger_limit_lets_a_file_in_that_was_too_large(bronze: Bronze) -> None:
    bronze.write({**GOOD, "large.csv.gz": BOMBS["zeros.csv.gz"][0], "large.parquet": parquet_of_nothing(200_000)})
    ingest(bronze.backend, bronze.folder, NOW, limits=SMALL)
    assert [status for _, status in bronze.statuses()] == ["loaded", "unusable", "unusable"]
    assert ingest(bronze.backend, bronze.folder, NOW)
    assert [status for _, status in bronze.statuses()] == ["loaded", "loaded", "loaded"]


def test_what_a_part_says_about_its_size_is_not_believed(bronze: Bronze) -> None:
    packed = bytearray(workbook(extra=b" " * 3_000_000))
    place = packed.rfind(b"PK\x01\x02")
    assert int.from_bytes(packed[place + 24 : place + 28], "little") == 3_000_000
    packed[place + 24 : place + 28] = (10).to_bytes(4, "little")
    bronze.write({**GOOD, "liar.xlsx": bytes(packed)})
    ingest(bronze.backend, bronze.folder, NOW, limits=SMALL)
    assert "expands to more than 0.001 GB" in bronze.reason("liar.xlsx")


def test_a_title_or_a_note_outside_the_table_is_no_bomb(bronze: Bronze) -> None:
    bronze.write({"a.xlsx": workbook(with_cell("ZZ500"))})
    bronze.load()
    assert bronze.statuses() == [("a.xlsx#Sheet1", "loaded")]


WIDE = b"order_id,customer_id,sku," + b",".join(b"c%d" % i for i in range(3000)) + b"\n"
REJECTS = {
    "commas.csv": HEADER + b"1,a,X\n" + b"," * 1_500_000 + b"\n",
    "short.csv": WIDE + b"1\n" * 500_000,
    "commas.csv.gz": gzip.compress(HEADER + (b"2,a,X" + b"," * 30_000 + b"\n") * 10),
    "turns.csv": WIDE + (b"1\n" + b"," * 6000 + b"\n") * 500,
}


def test_rows_that_are_not_those_of_the_header_cost_no_memory_without_end() -> None:
    outcome = load_apart({**GOOD, **REJECTS})
    assert outcome.problem == ""
    reasons = {account["source_file"]: account["reason"] for account in outcome.accounts}
    for name in REJECTS:
        assert reasons[name].startswith("has too many rows that have not the ")


def test_separators_in_quotes_are_no_reason_to_refuse_a_file(bronze: Bronze, monkeypatch: pytest.MonkeyPatch) -> None:
    quoted = HEADER + b"".join(b'%d,a,"%s"\n' % (i, b"x,\n" * 20) for i in range(200)) + b"bad\n" * 10
    monkeypatch.setattr(bounds, "MAX_REJECTS", 30_000)
    bronze.load({"a.csv": quoted, "b.csv": (HEADER + b"b,a,X\n").replace(b"\n", b"\r")})
    assert bronze.statuses() == [("a.csv", "loaded"), ("b.csv", "loaded")]
    assert bronze.totals() == {"kept": 201, "rejected": 10, "superseded": 0, "merged": 0}
    bronze.load({"a.csv": quoted + b"bad\n" * 20})
    assert "has too many rows that have not the 3 fields of its header" in bronze.reason("a.csv")


@pytest.mark.parametrize("size", [12_000_000, 40_000_000, pytest.param(1_000_000_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_line_of_any_length_is_a_rejected_row_or_refuses_its_file(bronze: Bronze, size: int, ending: str) -> None:
    content = HEADER + b"1,a,X\n2,a," + b"x" * size + b"\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bronze.load({**GOOD, f"b.{ending}": gzip.compress(content, 1) if ending == "csv.gz" else content})
    if size < bounds.LONGEST_LINE:
        assert bronze.rejected() == [(3, "UNPARSABLE")]
        assert bronze.lines("order_id") == [("O1",), ("1",)]
    else:
        assert "has a line of more than 16 MB" in bronze.reason(f"b.{ending}")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1_000_000 + 2 * size // 1_000, "kilobytes"


# ------------------------------------------------------------------------------------------------------ what is no file


def test_links_out_of_the_folder_count_only_where_they_are_allowed(bronze: Bronze) -> None:
    outside = bronze.folder.parent / "outside"
    outside.mkdir()
    (outside / "b.csv").write_text(order_lines({"order_id": "OUT"}))
    bronze.load(GOOD)
    (bronze.folder / "b.csv").symlink_to(outside / "b.csv")
    (bronze.folder / "c.csv").symlink_to("../outside/b.csv")
    (bronze.folder / "d.csv").symlink_to(outside)
    bronze.load()
    assert bronze.lines("order_id") == [("O1",)]
    assert "link to a place outside the source folder" in bronze.reason("b.csv")
    ingest(bronze.backend, bronze.folder, NOW, limits=Limits(allow_links=True))
    assert bronze.lines("order_id") == [("O1",), ("OUT",)]
    assert dict(bronze.statuses())["c.csv"] == "duplicate"
    assert "link to a folder, and those are not followed" in bronze.reason("d.csv")
    bronze.assert_sound()


def test_loops_pipes_sockets_and_devices_are_named_and_not_waited_for(bronze: Bronze) -> None:
    folder = bronze.folder
    os.mkfifo(folder / "pipe.csv")
    (folder / "to_pipe.csv").symlink_to("pipe.csv")
    (folder / "zero.csv").symlink_to("/dev/zero")
    (folder / "me.csv").symlink_to("me.csv")
    (folder / "one.csv").symlink_to("two.csv")
    (folder / "two.csv").symlink_to("one.csv")
    (folder / "up").symlink_to("..")
    (folder / "around.csv").symlink_to(".")
    (folder / "name.csv").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket.csv"))
        for limits in (Limits(), Limits(allow_links=True)):
            bronze.write(GOOD)
            ingest(bronze.backend, folder, NOW, limits=limits)
            assert [name for name, status in bronze.statuses() if status == "loaded"] == ["a_good.csv"]
    for name in ("pipe.csv", "to_pipe.csv", "zero.csv", "socket.csv"):
        assert "is no regular file" in bronze.reason(name)
    for name in ("me.csv", "one.csv", "two.csv"):
        assert "leads nowhere" in bronze.reason(name)


# --------------------------------------------------------------------------------------------------------- source.yaml

MAPPING = "columns: {order_id: a, customer_id: b, sku: c}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MAPPING + "# " + "x" * 70_000, "is longer than 65,536 bytes"),
        ("a: &a [x]\nb: &b [*a, *a]\ncolumns: *b\n", "refers to an anchor"),
        ("a: &a {x: y}\n" + "".join(f"{i}: &{i} {{<<: [*a, *a]}}\n" for i in "bcd"), "refers to an anchor"),
        *((opening * 20_000, "is deeper than 5 levels") for opening in ("[", "{", "- ", "? ")),
        ("columns: !!python/object/apply:os.system [touch /tmp/x]", "is no readable YAML in line 1"),
        ("columns: {order_id: ann@example.com: b", "is no readable YAML in line 1"),
        ("ann@example.com: `x`", "is no readable YAML in line 1"),
    ],
)
def test_a_mapping_can_neither_swell_nor_run_nor_show_what_is_in_it(bronze: Bronze, text: str, message: str) -> None:
    bronze.write({"source.yaml": text})
    with pytest.raises(BadMapping, match=message) as why:
        layouts_for(bronze.folder)
    assert "ann@" not in str(why.value)


def test_a_mapping_that_is_no_file_of_the_folder_is_refused(bronze: Bronze) -> None:
    path = bronze.folder / "source.yaml"
    os.mkfifo(path)
    with pytest.raises(BadMapping, match="is no regular file"):
        layouts_for(bronze.folder)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(BadMapping, match="outside the source folder"):
        layouts_for(bronze.folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(BadMapping, match=r"source\.yaml is"):
        layouts_for(bronze.folder)
