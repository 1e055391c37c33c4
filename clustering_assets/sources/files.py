"""What lies in the source folder: which files, and a fingerprint of each."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

MAPPING_FILE = "source.yaml"
FORMATS = {".csv": "csv", ".csv.gz": "csv", ".parquet": "parquet", ".xlsx": "xlsx"}

_CHUNK = 1 << 20


class UnusableFile(Exception):
    """A source file, or a sheet of one, that cannot be loaded; the message tells a person what to do."""


class UnreadableNow(UnusableFile):
    """A file that could not be read this time, whatever its content is: the next load tries again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the source folder may ask of the machine.

    Parameters
    ----------
    max_expanded
        Bytes that a compressed file may expand to.
    allow_links
        Whether a link may lead out of the folder.
    """

    max_expanded: int = 50_000_000_000
    allow_links: bool = False


DEFAULT_LIMITS = Limits()


_QUOTED = re.compile(r"""(?s)(?<!\w)(?:b?'.*'(?!\w)|b?".*"|`.*`|<.*>|\[.*\]|\{.*\})""")
_LONGEST_SHORT = 200


def in_short(error: BaseException) -> str:
    """First line of what a library says of a fault, or its name where it says nothing.

    Libraries quote what they stumble over, which may be somebody's data: what is quoted is left out.
    """
    said = _QUOTED.sub("…", (str(error).strip().splitlines() or [""])[0])[:_LONGEST_SHORT]
    return said if re.search(r"\w", said) else type(error).__name__


def too_large(limit: int) -> UnreadableNow:
    """Say that a file holds more than it may."""
    return UnreadableNow(
        f"expands to more than {limit / 1e9:,.3g} GB: split it, or raise CLUSTERING_MAX_EXPANDED_SIZE if that is right"
    )


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of the source folder, before its content is looked at.

    While ``stamp`` stays the same, so does the content. ``problem`` says why there is no use in opening the file.
    """

    name: str
    path: Path
    stamp: tuple[int, int, int] = (0, 0, 0)
    problem: str = ""

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.stamp[0]

    @property
    def ending(self) -> str | None:
        """The key of ``FORMATS`` that the name ends in; None for anything else."""
        return next((ending for ending in FORMATS if self.name.lower().endswith(ending)), None)


def folder_problem(folder: Path) -> str:
    """Say why a source folder cannot be looked into, and what to do; empty when it can."""
    if not os.access(folder, os.F_OK) or not folder.is_dir():
        return f"The source folder {folder} does not exist: create it or set CLUSTERING_SOURCE_DIR."
    if not os.access(folder, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return f"The source folder {folder} cannot be opened: check its permissions."
    return ""


def find_files(folder: Path) -> list[FoundFile]:
    """List the files below a folder by name, hidden ones and the mapping file aside.

    The order is that in which files supersede each other: of two files that have the same order line, the one
    whose name sorts later wins. A folder that cannot be opened stands in the list for what is in it.
    """
    return sorted(_found(folder), key=lambda file: file.name)


def _found(folder: Path) -> Iterator[FoundFile]:
    closed: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        links = [name for name in folders if Path(place, name).is_symlink()]
        for path in (Path(place, name) for name in [*names, *links] if not _is_hidden(name)):
            if path != folder / MAPPING_FILE:
                yield _described(path, folder)
    for error in closed:
        problem = f"is a folder that cannot be opened ({error.strerror}): check its permissions"
        yield FoundFile(Path(error.filename).relative_to(folder).as_posix(), Path(error.filename), problem=problem)


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "~$"))


def _described(path: Path, folder: Path) -> FoundFile:
    name = path.relative_to(folder).as_posix()
    shown = os.fsencode(name).decode(errors="backslashreplace")
    problem = "" if shown == name else "has a name that is not UTF-8: rename it"
    return FoundFile(shown, path, stamp(path), problem)


def stamp(path: Path) -> tuple[int, int, int]:
    """Size in bytes, modification and change time in nanoseconds; zeros where the file cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def check_place(file: FoundFile, folder: Path, limits: Limits = DEFAULT_LIMITS) -> None:
    """Refuse what is not to be opened, or not from here.

    Raises
    ------
    UnusableFile
        If the file is no regular file, or a link that leads out of the folder or nowhere.
    """
    if file.problem:
        raise UnusableFile(file.problem)
    try:
        place = file.path.resolve(strict=True)
    except OSError as error:
        raise _unreadable(error) from error
    except RuntimeError as error:
        raise UnusableFile("is a link that leads nowhere: replace it by a file") from error
    if not limits.allow_links and not place.is_relative_to(folder.resolve()):
        raise UnusableFile(
            "is a link to a place outside the source folder: copy the file into the folder, or set "
            "CLUSTERING_ALLOW_LINKS=1 if whoever writes into the folder may have any file read"
        )
    if place.is_dir():
        raise UnusableFile("is a link to a folder, and those are not followed: replace it by the folder")
    if not place.is_file():
        raise UnusableFile("is no regular file: replace it by a file")


def _unreadable(error: OSError) -> UnusableFile:
    return UnusableFile(f"cannot be read ({error.strerror}): check that it exists and its permissions")


def content_hash(file: FoundFile, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return the SHA-256 of a file's bytes; a compressed file is expanded meanwhile, to be sure that it is whole.

    Raises
    ------
    UnusableFile
        If the file cannot be read, is damaged or expands to too much.
    """
    try:
        with file.path.open("rb") as stream:
            return _digest_of_gzip(stream, limits.max_expanded) if file.ending == ".csv.gz" else _digest(stream)
    except gzip.BadGzipFile as error:
        raise UnusableFile(f"is no intact gzip file ({in_short(error)}): export or copy it again") from error
    except (EOFError, zlib.error) as error:
        reason = in_short(error)
        raise UnusableFile(f"is a damaged or truncated gzip file ({reason}): export or copy it again") from error
    except OSError as error:
        raise _unreadable(error) from error


def _digest(stream: BufferedReader) -> str:
    return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest_of_gzip(stream: BufferedReader, max_expanded: int) -> str:
    """DuckDB does not check the checksum of a gzip file and reads a truncated one as if it were whole."""
    digest = _digest(stream)
    if stream.tell():
        stream.seek(0)
        with gzip.open(stream) as expanded:
            while expanded.read(_CHUNK):
                if expanded.tell() > max_expanded:
                    raise too_large(max_expanded)
    return digest
