"""On what was measured, and which state of the code."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent


def describe() -> dict[str, Any]:
    """The machine, and how busy it was before: others' work is in every number."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "architecture": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "inrush": version("inrush"),
        "load_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """Of the source tree that this package is used from, with `-dirty` where files differ from it; else the version."""
    command = ["git", "-C", str(_HERE), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        tracked = subprocess.run([*command[:3], "ls-files", "--error-unmatch", __file__], capture_output=True)
        told = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return version("inrush")
    return told.stdout.strip() if tracked.returncode == told.returncode == 0 else version("inrush")


def _cpu() -> str:
    try:
        rows = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((row.partition(":")[2].strip() for row in rows if row.startswith("model name")), platform.processor())
