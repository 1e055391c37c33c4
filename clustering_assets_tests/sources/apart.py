"""Loading a folder in a process apart, so that a crash or a hang of a reader is seen and not shared.

``python -m clustering_assets_tests.sources.apart FOLDER HOME SECONDS`` is that process; it prints what it found as
JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clustering_assets.sources.ingestion import NoUsableRows
from clustering_assets_tests.sources.bronze import TABLES, opened

MEMORY = 6 << 30
"""Address space of the process apart, in bytes: what asks for more fails there instead of taking the machine along."""


@dataclass(frozen=True)
class Outcome:
    """What came of a folder: ``problem`` is empty, or how the process ended; ``files`` are the names it had to read."""

    files: tuple[str, ...]
    problem: str = ""
    faults: list[str] = field(default_factory=list)
    accounts: list[dict[str, Any]] = field(default_factory=list)
    rejections: list[str] = field(default_factory=list)
    good_rows: dict[str, list[list[str]]] = field(default_factory=dict)
    refused: str = ""
    said: str = ""


def load_apart(files: Mapping[str, bytes], seconds: int = 120) -> Outcome:
    """Load files in a process apart, within a limit of processor time and a wide one of time."""
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "source")
        source.mkdir()
        for name, content in files.items():
            (source / name).write_bytes(content)
        command = [sys.executable, "-X", "faulthandler", "-m", __name__]
        command += [str(source), str(Path(place, "home")), str(seconds)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=10 * seconds)
        except subprocess.TimeoutExpired as error:
            return Outcome(tuple(files), f"no end after {10 * seconds} s: {error.stderr}")
    if run.returncode:
        return Outcome(tuple(files), f"ended with {run.returncode}: {run.stderr[:2000]}")
    return Outcome(tuple(files), said=run.stderr, **json.loads(run.stdout.splitlines()[-1]))


def _main(folder: Path, home: Path) -> dict[str, Any]:
    from clustering_assets.conformance import violations
    from clustering_assets.integrity import EVERY_ROW_ACCOUNTED_FOR

    with opened(folder, home) as bronze:
        try:
            bronze.load()
        except NoUsableRows as refusal:
            return {"refused": str(refusal)}
        accounts = bronze.backend.con.execute("from bronze.source_files order by source_file").to_arrow_table()
        return {
            "faults": [fault for table in TABLES for fault in violations(bronze.backend, table)]
            + EVERY_ROW_ACCOUNTED_FOR.faults(bronze.backend),
            "accounts": [{name: str(value) for name, value in row.items()} for row in accounts.to_pylist()],
            "rejections": [reason for (reason,) in bronze.rows("select distinct reason from bronze.rejected_rows")],
            "good_rows": {
                name: sorted([str(value) for value in row] for row in rows if "good" in str(row))
                for name, rows in bronze.content().items()
                if name not in ("source_files", "file_state")
            },
        }


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[3]), int(sys.argv[3])))
    print(json.dumps(_main(Path(sys.argv[1]), Path(sys.argv[2]))))
