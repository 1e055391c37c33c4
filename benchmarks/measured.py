"""Runs a module in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import json
import re
import resource
import runpy
import subprocess
import sys
from pathlib import Path

KIBIBYTE = 1024


def measured(module: str, *arguments: str) -> tuple[dict[str, float], float]:
    """Run a module that prints a JSON object; return the object, and the peak memory in gigabytes."""
    command = [sys.executable, "-m", "benchmarks.measured", module, *arguments]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{' '.join(command[3:])} failed")
    printed, peak = finished.stdout.rstrip().rsplit("\n", 1)
    return json.loads(printed), float(peak)


def peak_memory(process: int | None = None) -> float:
    """Peak memory in gigabytes of this process or, on Linux, of another one.

    ``ru_maxrss`` would not do on Linux: a process that was just started inherits it from the one that started it.
    """
    status = Path(f"/proc/{process or 'self'}/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) * KIBIBYTE / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else KIBIBYTE) / 1e9


if __name__ == "__main__":
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    sys.stdout.write(f"\n{peak_memory()}\n")
