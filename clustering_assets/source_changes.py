"""Whether the source folder holds something new to load: one look at the folder, compared with the look before.

What counts is the set of contents: a file that was renamed or copied brings nothing new. A file is looked into when
it has stopped growing, and once for each version of it.

What was asked for is the sensor's cursor. What each file was like is remembered in the home folder, since Dagster keeps
the cursor of every tick, 3,000 a day; where it is lost, the files are looked into again and turn out to be the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

from clustering_assets.durable import written_beside
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
"""Seconds that files which keep changing, or keep coming, hold the others back."""
MOST_HASHED = 512 << 20
"""Bytes that one look reads before it leaves the rest to the next: a look has to be over before the sensor's time is.
A file that is larger is known by its size and the time when it was written."""
_MOST_EXPANDED = 8 * MOST_HASHED
_NOTHING = fingerprint()
_MEMORY = Path("runs", "source_folder.json")


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
        Names the contents which that run found.
    held_since
        Since when every look has found new contents, and files that are changing beside them (seconds since 1970).
    files
        By name.
    """

    request: str
    requested: str = _NOTHING
    held_since: float | None = None
    files: dict[str, Seen] = field(default_factory=dict)

    @property
    def cursor(self) -> str:
        """What has to be known of the last request, for `last_look` to read."""
        return json.dumps([self.request, self.requested, self.held_since])

    def remember(self, home: Path) -> None:
        """Write what the files were like, for `last_look` to read.

        Raises
        ------
        CannotWrite
            If the home folder cannot be written: no file would ever be known to have stopped changing.
        """
        with written_beside(home / _MEMORY) as beside:
            beside.write_text(json.dumps({name: astuple(seen) for name, seen in self.files.items()}))

    @property
    def contents(self) -> tuple[str, ...]:
        """The contents of the folder, each once; of a file that is still changing, the version before."""
        return tuple(sorted({seen.content for seen in self.files.values() if seen.content}))

    @property
    def unread(self) -> list[str]:
        """Names of the files that stopped changing and were not looked into yet."""
        return [name for name, seen in self.files.items() if seen.changing_since is None and not seen.of_stamp]

    @property
    def is_new(self) -> bool:
        """Whether the contents are others than those of the latest request."""
        return fingerprint(*self.contents) != self.requested

    def awaited(self, now: float) -> list[str]:
        """Names of the files that are changing, as long as the others have to wait for them."""
        if self.held_since is not None and now - self.held_since >= LONGEST_WAIT:
            return []
        changing = {name: seen.changing_since for name, seen in self.files.items() if seen.changing_since is not None}
        return [name for name, since in changing.items() if now - since < LONGEST_WAIT]

    def with_request(self) -> Look:
        """Ask for a run. Its name depends on the one before: the same contents at another time are another request."""
        contents = self.contents
        return Look(fingerprint(self.request, *contents), fingerprint(*contents), files=self.files)


def last_look(cursor: str | None, home: Path, now: float) -> Look:
    """Read what the last look left; without a cursor, or with one of another version of the project, all is new."""
    try:
        request, requested, held_since = json.loads(cursor or "")
        if not isinstance(requested, str):
            raise TypeError("a cursor of an earlier version")
        before = Look(str(request), requested, None if held_since is None else float(held_since))
    except (AttributeError, TypeError, ValueError):
        return Look(request=f"first look at {now}")
    try:
        remembered = json.loads((home / _MEMORY).read_text())
        files = {name: Seen(tuple(stamp), *known) for name, (stamp, *known) in remembered.items()}
    except (AttributeError, OSError, TypeError, ValueError):
        return before
    return replace(before, files=files)


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
    seen_now = replace(before, files=files)
    held = seen_now.is_new and any(seen.changing_since is not None for seen in files.values())
    return replace(seen_now, held_since=(before.held_since or now) if held else None)


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
