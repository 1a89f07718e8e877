"""A zygote imports installed packages before it knows a function: the packages that containers of its app were seen to
import. The function's environment variables are not set yet; the agent sets those that packages read while imported.

After each import the process must still be fit for forking: one thread, no child, no CUDA, no open socket. What a
package did cannot be undone, so the process gives up at the first package that leaves something behind, and names it. A
package that cannot be imported is skipped.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import Any

from inrush.guest.settle import descriptors, settle

SETTLE_S = 0.3
"""How long threads and children that a package started have to end."""


def import_ahead(names: list[str]) -> dict[str, Any]:
    """Imports the packages. The report has `ok`, or `offender` and `why`; `imported` lists names with milliseconds, and
    `skipped` maps names to reasons."""
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
    """Forgets imported packages whose names the function's own files under `root` have too, since those come first on
    the function's path."""
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
