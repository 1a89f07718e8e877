"""A zygote that imports installed packages before there is a function: those that its app's containers were seen to
import. The function's variables are not there; the agent sees to it that those which packages read are.

After each import the process must be as fit for forking as before: one thread, no child, no CUDA, no open socket.
What a package did cannot be undone, so at the first that leaves something behind the process gives up, and names it.
One that cannot be imported harms nobody.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import Any

from inrush.guest.settle import descriptors, settle

SETTLE_S = 0.3
"""What a package has left behind is given so long to end."""


def import_ahead(names: list[str]) -> dict[str, Any]:
    """Import them. The report: `ok`, or `offender` and `why`; `imported` with milliseconds, `skipped` with reasons."""
    report: dict[str, Any] = {"ok": True, "imported": [], "skipped": {}}
    for name in names:
        began, before = time.monotonic(), _sockets()
        try:
            importlib.import_module(name)
        except BaseException as error:
            report["skipped"][name] = f"it cannot be imported without its function: {type(error).__name__}: {error}"
        else:
            report["imported"].append([name, round((time.monotonic() - began) * 1000, 2)])
        left = settle(SETTLE_S) or ("an open socket is left" if _sockets() - before else "")
        if left:
            return {**report, "ok": False, "offender": name, "why": f"importing {name} ahead: {left}"}
    return report


def make_way(root: str, names: list[str]) -> None:
    """Forget what the function's own files are called too: they come first on its path."""
    own = {entry.partition(".")[0] for entry in _listed(root)}
    shadowed = own & {name.partition(".")[0] for name in names}
    for module in [module for module in sys.modules if module.partition(".")[0] in shadowed]:
        del sys.modules[module]


def _listed(root: str) -> list[str]:
    try:
        return os.listdir(root)
    except OSError:
        return []


def _sockets() -> set[str]:
    return {path for path in descriptors().values() if path.startswith("socket:")}
