"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4


class CannotWrite(OSError):
    """A file could not be written; the message names it and says why and what to do."""


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a place beside a file to write it to; at the end it is on the disk and takes the place of the file.

    Raises
    ------
    CannotWrite
        If the disk is full or the folder cannot be written; what was there before is there still.
    """
    beside = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        _sync(beside)
        beside.replace(path)
        _sync(path.parent)  # or the new name may be lost when the power fails
    except OSError as error:
        raise CannotWrite(
            f"{path} could not be written ({error.strerror or error}): free some space or check the permissions of its "
            "folder, and run again; what was there before is as it was."
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink()


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def remove_leftovers(home: Path) -> None:
    """Remove what killed runs were writing to; no other run may be at work in the home folder."""
    with suppress(OSError):  # who cannot remove cannot write either, and what is written next says so
        for folder in (home, home / "exports", home / "models"):
            for path in folder.glob(".*.part*"):
                path.unlink()
        for path in (home / "spill").glob("*"):
            path.unlink()
