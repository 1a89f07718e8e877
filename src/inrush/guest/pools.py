"""Thread pools of numeric libraries in the children of a template.

A thread does not survive a fork, so each library runs with one thread in a template, and a child gives the libraries
that its template has loaded as many as they would have had in a plain start. A number that user code has set in the
template is kept.

If torch has run on several threads in the template, it would hang in a child with several. Such threads usually keep
the template from settling; if they have ended since, its children stay at one thread.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from types import ModuleType

from inrush.guest.imports import after_import

_OMP = ("OMP_NUM_THREADS",)
_BLAS = ("OPENBLAS_NUM_THREADS", *_OMP)
"""The environment variables that set the number of threads of a library; the first that is set counts."""
_OPENBLAS = (
    "scipy_openblas_{}_num_threads64_",
    "scipy_openblas_{}_num_threads",
    "openblas_{}_num_threads64_",
    "openblas_{}_num_threads",
)
"""The names of OpenBLAS's functions in the builds of numpy, scipy and Linux distributions; `{}` is `get` or `set`."""


class Pools:
    """The thread pools of a template's libraries. It is made before user code is loaded; the template calls `rest` when
    it has loaded everything, and each child calls `restore`."""

    def __init__(self) -> None:
        self._torch = _Torch()
        self._openblas: list[Callable[[int], object]] = []

    def rest(self) -> None:
        """Notes which libraries the template has loaded with one thread; called when it has loaded everything."""
        self._openblas = [setter for path in sorted(_loaded("openblas")) if (setter := _openblas(path))]

    def restore(self) -> None:
        """Gives the libraries their threads, in a child whose environment has been set."""
        number = _wanted(_BLAS) if self._openblas else 1
        for set_number in self._openblas if number > 1 else ():
            set_number(number)
        self._torch.restore()


class _Torch:
    """The thread pool of torch. A child always sets the number of threads, also one that user code had set before the
    fork: the first call after a fork makes torch's pool anew, and if two threads of user code made that call at once,
    torch would fail ("Invalid thread pool!")."""

    def __init__(self) -> None:
        self._module: ModuleType | None = None
        self._chosen = self._many = False
        after_import("torch", self._watch)

    def _watch(self, torch: ModuleType) -> None:
        set_number = getattr(torch, "set_num_threads", None)
        if set_number is None:
            return

        def chosen(number: int) -> None:
            self._chosen = True
            self._many = self._many or number > 1
            set_number(number)

        torch.__dict__["set_num_threads"] = chosen
        self._module, self._set_number = torch, set_number

    def restore(self) -> None:
        torch = self._module
        if torch is None:
            return
        torch.__dict__["set_num_threads"] = self._set_number
        if self._many:
            self._set_number(1)
        else:
            self._set_number(torch.get_num_threads() if self._chosen else _wanted(_OMP))


def _wanted(names: tuple[str, ...]) -> int:
    for name in names:
        value = os.environ.get(name, "")
        if value.isdigit():
            return max(1, int(value))
    return len(os.sched_getaffinity(0))


def _loaded(name: str) -> set[str]:
    with open("/proc/self/maps") as maps:
        paths = {line.rstrip("\n").split(None, 5)[-1] for line in maps if name in line}
    return {path for path in paths if name in os.path.basename(path)}


def _openblas(path: str) -> Callable[[int], object] | None:
    library = ctypes.CDLL(path)
    for name in _OPENBLAS:
        if hasattr(library, name.format("set")):
            set_number: Callable[[int], object] = getattr(library, name.format("set"))
            return set_number if getattr(library, name.format("get"))() == 1 else None
    return None
