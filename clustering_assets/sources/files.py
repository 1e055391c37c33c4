"""What lies in the source folder: which files, and a fingerprint of each."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAPPING_FILE = "source.yaml"
FORMATS = {".csv": "csv", ".csv.gz": "csv", ".parquet": "parquet", ".xlsx": "xlsx"}

_CHUNK = 1 << 20


class UnusableFile(Exception):
    """A source file, or a sheet of one, that cannot be loaded; the message tells a person what to do."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of the source folder, before its content is looked at.

    ``stamp`` is (size, modification time, change time), the times in nanoseconds: while it stays the same, so does the
    content. ``size`` is in bytes.
    """

    name: str
    path: Path
    stamp: tuple[int, int, int]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.stamp[0]

    @property
    def format(self) -> str | None:
        """``csv``, ``parquet`` or ``xlsx`` by the file's ending; None for anything else."""
        lowered = self.name.lower()
        return next((kind for ending, kind in FORMATS.items() if lowered.endswith(ending)), None)


def find_files(folder: Path) -> list[FoundFile]:
    """List the files below a folder by name, hidden ones and the mapping file aside.

    The order is that in which files supersede each other: of two files that have the same order line, the one
    whose name sorts later wins.
    """
    return sorted(_found(folder), key=lambda file: file.name)


def _found(folder: Path) -> Iterator[FoundFile]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith((".", "~$")) for part in name.split("/"))
        if hidden or name == MAPPING_FILE or (path.is_dir() and not path.is_symlink()):
            continue
        try:
            status = path.stat()
            stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        except OSError:
            stamp = (0, 0, 0)
        yield FoundFile(name, path, stamp)


def content_hash(file: FoundFile, folder: Path) -> str:
    """Return the SHA-256 of a file's bytes; a compressed file is expanded meanwhile, to be sure that it is whole.

    Raises
    ------
    UnusableFile
        If the file cannot be read, is no regular file, lies outside the folder or is damaged.
    """
    path = file.path
    try:
        if not path.resolve(strict=True).is_relative_to(folder.resolve()):
            raise UnusableFile("is a link to a place outside the source folder: copy the file into the folder")
        if not path.is_file():
            raise UnusableFile("is no regular file: replace it by a file")
        with path.open("rb") as stream:
            digest = _digest_of_gzip(stream) if file.name.lower().endswith(".gz") else _digest(stream)
    except (OSError, RuntimeError) as error:
        if isinstance(error, gzip.BadGzipFile):
            raise UnusableFile(f"is no intact gzip file ({error}): export or copy it again") from error
        what = getattr(error, "strerror", None) or "it is a link that leads nowhere"
        raise UnusableFile(f"cannot be read ({what}): check that it exists and its permissions") from error
    except (EOFError, zlib.error) as error:
        raise UnusableFile(f"is a damaged or truncated gzip file ({error}): export or copy it again") from error
    return digest


def _digest(stream: BinaryIO) -> str:
    return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest_of_gzip(stream: BinaryIO) -> str:
    """DuckDB does not check the checksum of a gzip file and reads a truncated one as if it were whole."""
    digest = _digest(stream)
    if stream.tell():
        stream.seek(0)
        with gzip.open(stream) as expanded:
            while expanded.read(_CHUNK):
                pass
    return digest
