"""A search for words in every byte below a folder: in files, and in what is packed, encoded or stored within them."""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import io
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import duckdb
from PIL import Image

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{32,}={0,2}")
_SQLITE, _DUCKDB, _PNG, _ZIP, _GZIP = b"SQLite format 3\0", b"DUCK", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"\x1f\x8b"
_DEEPEST = 6


class Search:
    """Looks for words, whatever their case; counts what it read."""

    def __init__(self, *words: str) -> None:
        self.words = [word.lower() for word in words]
        self.files = self.bytes = 0

    def below(self, folder: Path) -> list[str]:
        """Every word found, as ``path: word``."""
        found = []
        for path in sorted(folder.rglob("*")):
            found += [f"{path.name}: {word}" for word in self.words if word in path.name.lower()]
            if path.is_file():
                self.files += 1
                self.bytes += path.stat().st_size
                data = path.read_bytes()
                found += [f"{path.relative_to(folder)}: {word}" for word in sorted(self.within(data))]
                if data.startswith(_SQLITE):
                    with contextlib.closing(sqlite3.connect(path)) as connection:  # with what is in its write-ahead log
                        values = b"\n".join(_values(connection))
                        found += [f"{path.relative_to(folder)}: {word}" for word in self.within(values)]
                if data[8:12] == _DUCKDB:
                    found += [f"{path.relative_to(folder)}, {place}" for place in self.in_tables(path)]
        return found

    def within(self, data: bytes, depth: int = 0) -> set[str]:
        """Every word that is in the bytes, or in what they hold."""
        lower = data.lower()
        found = {word for word in self.words if word.encode() in lower or word.encode("utf-16-le") in lower}
        if depth < _DEEPEST:
            for inner in _inner(data):
                found |= self.within(inner, depth + 1)
        return found

    def in_tables(self, path: Path, *layers: str) -> list[str]:
        """Every word in the tables of a DuckDB file, which may store texts compressed, as ``table: word``."""
        found = []
        with duckdb.connect(str(path), read_only=True) as connection:
            tables = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
            for schema, name in tables:
                if not layers or schema in layers:
                    rows = str(connection.execute(f'from "{schema}"."{name}"').fetchall()).lower()
                    found += [f"{schema}.{name}: {word}" for word in self.words if word in rows]
        return found


def _inner(data: bytes) -> Iterator[bytes]:
    if data.startswith(_SQLITE):
        yield from _sqlite_values(data)
    elif data.startswith(_ZIP):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif data.startswith(_GZIP):
        yield gzip.decompress(data)
    elif data.startswith(_PNG):
        with Image.open(io.BytesIO(data)) as picture:
            yield str({**picture.info, **getattr(picture, "text", {})}).encode()
    else:
        try:
            yield zlib.decompress(data)
        except zlib.error:
            for run in _BASE64.findall(data):
                try:
                    yield base64.b64decode(run[: len(run) // 4 * 4])
                except binascii.Error:
                    continue


def _sqlite_values(data: bytes) -> Iterator[bytes]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        # a file with a write-ahead log cannot be opened without one, unless it says that it has none
        connection.deserialize(data[:18] + b"\1\1" + data[20:])
        yield from _values(connection)


def _values(connection: sqlite3.Connection) -> Iterator[bytes]:
    for (name,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
        for row in connection.execute(f'select * from "{name}"'):
            for value in row:
                if isinstance(value, str | bytes):
                    yield value if isinstance(value, bytes) else value.encode()
