"""Whether the source folder holds something new to load: one look at the folder, compared with the look before.

What counts is the set of contents: a file that was renamed or copied brings nothing new. A file is looked into when
it has stopped growing, and once for each version of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

from clustering_assets.sources.files import (
    DEFAULT_LIMITS,
    MAPPING_FILE,
    FoundFile,
    Limits,
    UnreadableNow,
    UnusableFile,
    check_place,
    content_hash,
    find_files,
    folder_problem,
    stamp,
)
from clustering_assets.sources.ingestion import NoUsableRows
from clustering_assets.versions import fingerprint

LONGEST_WAIT = 3600.0
"""Seconds that a file which keeps changing holds the others back."""
MOST_HASHED = 512 << 20
"""Bytes that one look reads before it leaves the rest to the next: a look has to be over before the sensor's time is.
A file that is larger is known by its size and the time when it was written."""
_MOST_EXPANDED = 8 * MOST_HASHED


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as the last look saw it.

    Parameters
    ----------
    stamp
        Size and times, as `files.stamp` has them.
    content
        Names what is in it; empty before the file was looked into.
    of_stamp
        Whether `content` is that of `stamp`, and not that of an earlier version.
    changing_since
        When it was first seen changing (seconds since 1970); None when the look before saw it as it is.
    """

    stamp: tuple[int, int, int]
    content: str = ""
    of_stamp: bool = False
    changing_since: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of the folder.

    Parameters
    ----------
    request
        Names the latest run that was asked for; before the first one, something that no other beginning has.
    requested
        The contents which that run found.
    files
        By name.
    """

    request: str
    requested: tuple[str, ...] = ()
    files: dict[str, Seen] = field(default_factory=dict)

    def to_json(self) -> str:
        """Write the look as a sensor's cursor, for `last_look` to read."""
        files = {name: astuple(seen) for name, seen in self.files.items()}
        return json.dumps([self.request, self.requested, files], separators=(",", ":"))

    @property
    def contents(self) -> tuple[str, ...]:
        """The contents of the folder, each once; of a file that is still changing, the version before."""
        return tuple(sorted({seen.content for seen in self.files.values() if seen.content}))

    @property
    def unread(self) -> list[str]:
        """Names of the files that stopped changing and were not looked into yet."""
        return [name for name, seen in self.files.items() if seen.changing_since is None and not seen.of_stamp]

    def awaited(self, now: float) -> list[str]:
        """Names of the files that are changing, and not for longer than the others have to wait."""
        changing = {name: seen.changing_since for name, seen in self.files.items() if seen.changing_since is not None}
        return [name for name, since in changing.items() if now - since < LONGEST_WAIT]

    def with_request(self) -> Look:
        """Ask for a run. Its name depends on the one before: the same contents at another time are another request."""
        contents = self.contents
        return Look(fingerprint(self.request, *contents), contents, self.files)


def last_look(cursor: str | None, now: float) -> Look:
    """Read a cursor; where there is none, or one of another version of the project, everything is new."""
    try:
        request, requested, files = json.loads(cursor or "")
        seen = {name: Seen(tuple(stamp), *known) for name, (stamp, *known) in files.items()}
        return Look(request, tuple(requested), seen)
    except (AttributeError, TypeError, ValueError):
        return Look(request=f"first look at {now}")


def look(folder: Path, before: Look, now: float, limits: Limits = DEFAULT_LIMITS) -> Look:
    """Look at the folder again.

    Parameters
    ----------
    folder
        The source folder.
    before
        The look before.
    now
        Seconds since 1970.
    limits
        What the folder may ask of the machine.

    Raises
    ------
    NoUsableRows
        If the folder is missing or closed: that is not the same as empty.
    """
    if problem := folder_problem(folder):
        raise NoUsableRows(problem)
    files: dict[str, Seen] = {}
    may_read = MOST_HASHED
    for file in _sources(folder):
        seen = before.files.get(file.name, Seen((-1, -1, -1)))
        if seen.stamp != file.stamp:
            files[file.name] = Seen(file.stamp, seen.content, changing_since=seen.changing_since or now)
        elif seen.of_stamp or may_read <= 0:
            files[file.name] = Seen(file.stamp, seen.content, seen.of_stamp)
        else:
            files[file.name] = Seen(file.stamp, _content(file, folder, limits), of_stamp=True)
            may_read -= file.size if file.size <= MOST_HASHED else 0
    return Look(before.request, before.requested, files)


def _sources(folder: Path) -> Iterator[FoundFile]:
    """List the files that bronze depends on: those that it reads, and the one that says how."""
    mapping = folder / MAPPING_FILE
    if mapping.exists():
        yield FoundFile(MAPPING_FILE, mapping, stamp(mapping))
    yield from (file for file in find_files(folder) if file.ending or file.problem)


def _content(file: FoundFile, folder: Path, limits: Limits) -> str:
    """Name what is in a file. What cannot be loaded counts as well, since a run says what to do about it."""
    if file.size > MOST_HASHED:
        return fingerprint(file.ending, file.stamp[:2])
    try:
        check_place(file, folder, limits)
        return fingerprint(file.ending, content_hash(file, replace(limits, max_expanded=_MOST_EXPANDED)))
    except UnreadableNow:
        return fingerprint(file.ending, file.stamp[:2])
    except UnusableFile as problem:
        return fingerprint(file.name, str(problem))
