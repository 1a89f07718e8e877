"""Notices changes of a program's files by looking at them a few times a second, without a daemon and on any file
system."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType

_INTERVAL_S = 0.3

Times = dict[Path, float]


def files_of(program: ModuleType) -> list[Path]:
    """The program's own file, and those of the modules below its folder that it imported."""
    main = Path(program.__file__ or "").resolve()
    found = {main}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and main.parent in Path(file).resolve().parents and "site-packages" not in file:
            found.add(Path(file).resolve())
    return sorted(found)


def times_of(files: list[Path]) -> Times:
    """When each file was last written; 0 for one that is gone, as editors remove files for a moment."""
    return {file: file.stat().st_mtime if file.exists() else 0.0 for file in files}


def wait(before: Times, deadline: float | None = None) -> list[Path]:
    """Returns the files that were written, once one of them was; none at the deadline (on the monotonic clock)."""
    while deadline is None or time.monotonic() < deadline:
        time.sleep(_INTERVAL_S)
        now = times_of(list(before))
        changed = [file for file, at in now.items() if at and at != before[file]]
        if changed:
            return changed
    return []


def forget(files: list[Path]) -> None:
    """Has the next import of these files read them again."""
    known = set(files)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).resolve() in known:
            del sys.modules[name]
