"""A search that finds nothing says something only if it would find it: a word planted in each kind of container."""

from __future__ import annotations

import base64
import gzip
import io
import sqlite3
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from PIL import Image, PngImagePlugin

from clustering_assets_tests.byte_search import Search

TEXT = b"something before PlantedWord and after " * 20


def in_sqlite(path: Path, value: object) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (value)")
        connection.execute("insert into t values (?)", [value])
    connection.close()


def in_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("entry", TEXT)


def png() -> bytes:
    words = PngImagePlugin.PngInfo()
    words.add_text("Title", TEXT.decode(), zip=True)
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "png", pnginfo=words)
    return picture.getvalue()


def in_duckdb(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table t as select 'planted' || 'word' || i % 3 as value from range(100000) r(i)")


PLANTS: dict[str, Callable[[Path], object]] = {
    "plain": lambda path: path.write_bytes(TEXT),
    "utf-16": lambda path: path.write_bytes(TEXT.decode().encode("utf-16")),
    "gzip": lambda path: path.write_bytes(gzip.compress(TEXT)),
    "zlib": lambda path: path.write_bytes(zlib.compress(TEXT)),
    "zip": in_zip,
    "base64": lambda path: path.write_bytes(b"![](data:;base64," + base64.b64encode(TEXT) + b")"),
    "png": lambda path: path.write_bytes(png()),
    "png in base64": lambda path: path.write_bytes(b"![](data:image/png;base64," + base64.b64encode(png()) + b")"),
    "sqlite": lambda path: in_sqlite(path, TEXT.decode()),
    "compressed in sqlite": lambda path: in_sqlite(path, zlib.compress(TEXT)),
    "zip in base64 in sqlite": lambda path: in_sqlite(path, base64.b64encode(gzip.compress(TEXT)).decode()),
    "duckdb": in_duckdb,
}


@pytest.mark.parametrize("container", PLANTS)
def test_a_planted_word_is_found_and_another_is_not(container: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    PLANTS[container](tmp_path / "deep" / "file")
    search = Search("plantedWORD", "absentword")
    assert {each.rpartition(": ")[2] for each in search.below(tmp_path)} == {"plantedword"}
    assert search.files == 1
    assert search.bytes > 0


def test_a_word_in_the_name_of_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "planted-word.txt").write_text("nothing")
    assert Search("planted-word").below(tmp_path)
