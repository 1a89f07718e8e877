"""A hook that runs when user code has imported a module, and does not import the module itself."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Attach = Callable[[ModuleType], None]


def after_import(name: str, attach: Attach) -> None:
    """Calls `attach` with the module `name`: now if it is loaded, else right after it has been imported."""
    if name in sys.modules:
        attach(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Watcher(name, attach))


class _Watcher:
    """A finder of the import system. It asks the other finders for its module, and wraps the loader that they
    return."""

    def __init__(self, name: str, attach: Attach) -> None:
        self._name = name
        self._attach = attach

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        loader: Any = spec and spec.loader
        if loader is not None:
            load = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                self._attach(module)

            loader.exec_module = exec_module
        return spec
