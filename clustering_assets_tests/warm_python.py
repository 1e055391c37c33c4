"""A `python` and a `dagster` that start at once: each call is forked from a process that has the libraries imported.

They take what the programs of that name take (``-m``, ``-c`` or ``-`` and arguments), in the caller's folder, with its
environment, input and output, and end with the same status. Everything else is the same interpreter and the same code;
the seconds that every process spends on imports are gone, and the defaults of the gold layer are such that a fit of a
small shop takes a second instead of ten. Nothing is imported beforehand that reads the
environment, and the process that forks never opens DuckDB and starts no thread.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn

PROGRAMS = ("python", "dagster")
QUICK_GOLD = {"stability_resamples": 2, "max_clusters": 4}
"""Config of the gold layer."""
BEFOREHAND = (
    *("dagster", "dagster._cli", "ibis.backends.duckdb", "rich.console", "sqlalchemy", "apprise"),
    *(
        "clustering_assets.automation",
        "clustering_assets.gold",
        "clustering_assets.history",
        "clustering_assets.silver",
    ),
    *("clustering_assets.reports.pictures", "clustering_assets.reports.workbook", "clustering_assets.checks"),
    *("clustering_assets.assets.bronze", "clustering_assets.assets.exports", "clustering_assets.sources.ingestion"),
    "skops.io",
)
_CALL = """#!{python} -IS
import json, os, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect({place!r})
call = [os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)]
socket.send_fds(asked, [len(said := json.dumps(call).encode()).to_bytes(4, "big")], [0, 1, 2])
asked.sendall(said)
sys.exit(int(asked.makefile().read() or 1))
"""


@contextmanager
def ready_in(folder: Path) -> Iterator[Path]:
    """Put the programs into a folder, for the front of PATH; they work as long as the context lasts."""
    place = folder / "asked"
    for name in PROGRAMS:
        path = folder / name
        path.write_text(_CALL.format(python=sys.executable, place=str(place)))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLUSTERING_", "DAGSTER_"))}
    with subprocess.Popen(
        [sys.executable, "-m", __name__, str(place)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        # a thread would not live on in the fork
        env={**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield folder
        finally:
            process.terminate()


# -------------------------------------------------------------------------------------------- in the process that forks


def _serve(place: str) -> None:
    """Answer calls for ever; a child becomes the program that was called."""
    _set_defaults()
    for name in BEFOREHAND:
        importlib.import_module(name)
    gc.freeze()  # what is there now is not looked at again in every child
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as calls:
        calls.bind(place)
        calls.listen()
        print("ready", flush=True)
        while True:
            asked, _ = calls.accept()
            if not os.fork():
                break
            asked.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, descriptors, _, _ = socket.recv_fds(asked, 4, 3)
    with asked.makefile("rb") as said:
        program, arguments, folder, environment = json.loads(said.read(int.from_bytes(size, "big")))
    child = os.fork()
    if child:
        for descriptor in (*descriptors, 0, 1, 2):
            os.close(descriptor)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        asked.sendall(str(status if status >= 0 else 128 - status).encode())
        os._exit(0)
    asked.close()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    _end(_status_of(program, arguments))


def _set_defaults() -> None:
    """Set the defaults before Dagster reads them."""
    from clustering_assets.run_config import GoldConfig

    for name, value in QUICK_GOLD.items():
        GoldConfig.model_fields[name].default = value
    GoldConfig.model_rebuild(force=True)


def _status_of(program: str, arguments: list[str]) -> int:
    try:
        _become(program, arguments)
    except SystemExit as ended:
        if ended.code is not None and not isinstance(ended.code, int):
            print(ended.code, file=sys.stderr)
            return 1
        return ended.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(status: int) -> NoReturn:
    """End like an interpreter, without the second that it takes to tear down what was imported."""
    threading._shutdown()  # type: ignore[attr-defined]  # tells pools of threads to end, and waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):
            stream.flush()
    os._exit(status)


def _become(program: str, arguments: list[str]) -> None:
    """Do what the program does with these arguments."""
    if program == "dagster":
        arguments = ["-m", "dagster", *arguments]
    sys.path[0] = ""
    match arguments:
        case ["-m", module, *others]:
            sys.argv = [module, *others]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *others]:
            sys.argv = ["-c", *others]
            _execute(code, "<string>")
        case ["-", *others]:
            sys.argv = ["-", *others]
            _execute(sys.stdin.read(), "<stdin>")
        case _:
            sys.exit(f"This python takes -m, -c or - and arguments, and not {arguments}")


def _execute(code: str, name: str) -> None:
    main = sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(code, name, "exec"), main.__dict__)  # noqa: S102


if __name__ == "__main__":
    _serve(sys.argv[1])
