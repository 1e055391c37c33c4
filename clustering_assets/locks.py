"""Who may go on and who has to wait: one run at a time in a home folder, and whom a wait is for.

Locks are those of the operating system: a process that is killed has none, and nobody has to clean up after it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_log = logging.getLogger(__name__)


class Busy(Exception):
    """Another run has the home folder; the message says which."""


def process_in_words(pid: int) -> str:
    """Name a process of this machine: its number, its program and its user; of arguments only what a Python runs.

    Other arguments may hold a password.
    """
    said = [f"PID {pid}"]
    with suppress(OSError):
        program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        name = Path(program).name
        if name.startswith("python") and arguments[0] == "-m":
            name += f" -m {arguments[1]}"
        elif name.startswith("python") and arguments[0].endswith(".py"):
            name += f" {arguments[0]}"
        said.append(name)
    with suppress(OSError, KeyError):
        said.append(f"user {pwd.getpwuid(Path(f'/proc/{pid}').stat().st_uid).pw_name}")
    return said[0] if len(said) == 1 else f"{said[0]} ({', '.join(said[1:])})"


@contextmanager
def one_run_at_a_time(home: Path, waits: bool = True) -> Iterator[None]:
    """Do what is inside when no other run is at work in the home folder.

    Other runs end, or are killed, so there is no limit to the wait. A folder that cannot be written is none that a run
    could spoil: what comes next says so.

    Raises
    ------
    Busy
        If another run is at work and ``waits`` is false.
    """
    turn = home / "runs" / "turn"
    try:
        turn.parent.mkdir(parents=True, exist_ok=True)
        file = turn.open("a+")
    except OSError:
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            said = f"Another run is at work in {home}: {process_in_words(int(file.read() or 0))}"
            if not waits:
                raise Busy(f"{said}. Run again when it has ended.") from None
            _log.warning("%s; this run waits until it has ended.", said)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def sign_of_life(home: Path, run_id: str) -> Iterator[None]:
    """Show that a run is alive for as long as its process is, for `dead_runs` to see.

    Where nothing can be written, nothing is shown: what comes next says so.
    """
    sign = home / "runs" / "alive" / run_id
    try:
        sign.parent.mkdir(parents=True, exist_ok=True)
        file = sign.open("w")
    except OSError:
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(str(os.getpid()))  # one who looks before this is written knows that the lock may not be held yet
        file.flush()
        try:
            yield
        finally:
            sign.unlink(missing_ok=True)


def dead_runs(home: Path) -> Iterator[str]:
    """Yield the runs whose process is gone without a word, and forget each one when the next is asked for."""
    for sign in sorted((home / "runs" / "alive").glob("*")):
        with suppress(FileNotFoundError), sign.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if file.read() and sign.exists():  # one that ended well takes its sign away before it lets go of it
                yield sign.name
                sign.unlink(missing_ok=True)
