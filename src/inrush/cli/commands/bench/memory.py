"""Memory: how far processes grow while something is done, and what containers of a loaded model take."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from inrush.cli import api
from inrush.cli.commands.bench.rows import Measured
from inrush.errors import TimeoutError

_LOOK_S = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CONTAINERS = 10
_ANSWERED_S = (12.0, 60.0)
"""Within it all of the ten have answered, at the first try or the second; they wait for one another."""


def family() -> list[int]:
    """This process, the local server, and all below that: launcher, zygotes, containers."""
    local = api.local_server()
    parents: dict[int, int] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {int(local["pid"])} if local else set()
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return [os.getpid(), *sorted(found)]


class Growth:
    """Looks at processes while the block runs; `most_mib` is how far the one that grew most did. All of one that begins
    meanwhile is growth."""

    def __init__(self, pids: Callable[[], Iterable[int]] = family) -> None:
        self._pids = pids
        self._before = {pid: resident_mib(pid) for pid in pids()}
        self.most_mib = 0.0
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Growth:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()
        self._look()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            self._look()

    def _look(self) -> None:
        self.most_mib = max(self.most_mib, *(resident_mib(pid) - self._before.get(pid, 0.0) for pid in self._pids()))


def resident_mib(pid: int) -> float:
    """All that is resident of a process, shared or not; anybody may read that. 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20
    except (OSError, ValueError, IndexError):
        return 0.0


def models(program: Any, plain_mib: Sequence[float]) -> Measured:
    """Each of ten containers, which live at once and have answered; beside them a fresh interpreter with the model."""
    for within_s in _ANSWERED_S:
        until = time.monotonic() + within_s
        calls = [program.Model().weigh.spawn("The capital of France is", until) for _ in range(_CONTAINERS)]
        weighed = {id: mib for id, mib, in_time in [call.get() for call in calls] if in_time}
        if len(weighed) == _CONTAINERS:
            return Measured("llm.pss_mib", list(weighed.values()), {"plain": plain_mib})
    raise TimeoutError(f"{len(weighed)} of {_CONTAINERS} containers have answered within {_ANSWERED_S[-1]:g} s")
