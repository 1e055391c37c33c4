"""Runs a command in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

KIBIBYTE = 1024


def measured(module: str, *arguments: str) -> tuple[dict[str, float], float]:
    """Run a module that prints a JSON object; return the object, and the peak memory in gigabytes."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        printed = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[1:])} failed")
    return json.loads(printed), usage.ru_maxrss * KIBIBYTE / 1e9
