"""Reaping orphans, the duty of pid 1: orphaned processes become its children, and stay zombies until it waits for them.

User code waits for the children that it started itself, so those must not be reaped here. The kernel does not
distinguish them, so the functions of Python that start processes are wrapped to note the ids. Children that native code
starts are not noted; to leave it time to wait for them, a zombie is reaped only if it was one at the last look too.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from inrush.guest.imports import after_import

REAP_EVERY_S = 30.0


class Orphans:
    """The orphans of this process, if it is pid 1; any other process has none."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._own: set[int] = set()
        self._zombies: set[int] = set()
        if self._pid == 1:
            for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp"):
                self._note(os, name)
            after_import("_posixsubprocess", lambda module: self._note(module, "fork_exec"))
            after_import("subprocess", lambda module: self._note(module, "_fork_exec"))

    def reap(self) -> None:
        """Reaps the orphans that were zombies at the last call already."""
        if self._pid != 1:
            return
        there = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        self._own &= there
        dead = {pid for pid in there - self._own if _is_zombie_of(pid, self._pid)}
        for pid in dead & self._zombies:
            os.waitpid(pid, os.WNOHANG)
        self._zombies = dead - self._zombies

    def _note(self, module: ModuleType, name: str) -> None:
        start: Callable[..., Any] | None = getattr(module, name, None)
        if start is None or hasattr(start, "__wrapped__"):
            return

        @functools.wraps(start)
        def noted(*args: Any, **kwargs: Any) -> Any:
            started = start(*args, **kwargs)
            self._own.add(started[0] if isinstance(started, tuple) else started)
            return started

        setattr(module, name, noted)


def _is_zombie_of(pid: int, parent: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            state, ppid = file.read().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return False
    return state == "Z" and int(ppid) == parent
