"""Notes which installed packages a container imports, and how long each takes; the zygote of its app imports them ahead
next time.

Only outermost imports are noted: `import torch` is one, and the thousand modules that torch imports are part of it. A
package is installed if it lies below a `site-packages` or `dist-packages`; the function's own files never do.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import threading
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

INSTALLED = ("/site-packages/", "/dist-packages/")
MAX_NOTED = 512
MAX_NAME_CHARS = 200
MIN_MS = 1.0
"""Imports that take less are not noted."""


class Imports:
    """A finder of the import system. It asks the other finders for a module, and times how long that takes to load."""

    def __init__(self) -> None:
        self._inside = threading.local()
        self._noted: list[tuple[str, float]] = []
        self._told = 0
        sys.meta_path.insert(0, self)

    def take(self) -> list[tuple[str, float]]:
        """The imports since the last call of `take`: names and milliseconds, in order."""
        new = self._noted[self._told :]
        self._told += len(new)
        return new

    @property
    def fresh(self) -> bool:
        return len(self._noted) > self._told

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if getattr(self._inside, "loading", False) or len(self._noted) >= MAX_NOTED:
            return None
        began = time.monotonic()
        self._inside.loading = True
        try:
            spec = _find(self, name, path, target)
        finally:
            self._inside.loading = False
        if spec is not None and any(part in (spec.origin or "") for part in INSTALLED):
            self._time(spec, began)
        return spec

    def _time(self, spec: importlib.machinery.ModuleSpec, began: float) -> None:
        loader: Any = spec.loader
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module
            self._inside.loading = True
            try:
                load(module)
            finally:
                self._inside.loading = False
            ms = round((time.monotonic() - began) * 1000, 2)
            if ms >= MIN_MS and len(spec.name) <= MAX_NAME_CHARS:
                self._noted.append((spec.name, ms))

        loader.exec_module = exec_module


def _find(
    own: Imports, name: str, path: Sequence[str] | None, target: ModuleType | None
) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        found = None if finder is own else finder.find_spec(name, path, target)
        if found is not None:
            return found
    return None
