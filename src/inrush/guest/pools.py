"""How many threads numeric libraries get in the children of a template.

A thread does not survive a fork, so templates run with one thread for each library, and a child gives the libraries
that its template has loaded as many as they would have had in a plain start. Where user code has chosen a number in the
template (of 1, say) that stays.

A torch that ran a region on several threads in the template would hang in the child: its threads are in the way of
settling, unless they have ended since, and then its children stay at one thread.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from types import ModuleType

from inrush.guest.imports import after_import

_OMP = ("OMP_NUM_THREADS",)
_BLAS = ("OPENBLAS_NUM_THREADS", *_OMP)
"""Variables that people set for a library, of which the first counts."""
_OPENBLAS = (
    "scipy_openblas_{}_num_threads64_",
    "scipy_openblas_{}_num_threads",
    "openblas_{}_num_threads64_",
    "openblas_{}_num_threads",
)
"""Its functions, as numpy, scipy and distributions name them."""


class Pools:
    """Made in a template before user code; `rest` when it is done, `restore` in the child."""

    def __init__(self) -> None:
        self._torch = _Torch()
        self._openblas: list[Callable[[int], object]] = []

    def rest(self) -> None:
        """The template will do no more: note which libraries it has loaded with one thread."""
        self._openblas = [setter for path in sorted(_loaded("openblas")) if (setter := _openblas(path))]

    def restore(self) -> None:
        """In a child, after its environment has been set."""
        number = _wanted(_BLAS) if self._openblas else 1
        for set_number in self._openblas if number > 1 else ():
            set_number(number)
        self._torch.restore()


class _Torch:
    """The number that user code set while the template was made is set again, since the first to set one after a fork
    makes torch's pool anew, and two threads that do so at once find none ("Invalid thread pool!")."""

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
