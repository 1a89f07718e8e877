"""Follows the making of a berth, from the launcher's side, until the berth's door is open.

    the door says that it is there ──▶ it executes its program, which closes its end of the report ──▶ it is open
       └────────────────────────────────────┴──────▶ given up: it failed, it ended, or it took too long

The processes that make a berth are visible to the user code of its template, which can stop them as soon as they have
given up the launcher's rights. So the launcher never blocks on a berth, and gives up one that is not made in time. The
processes that were making it are in the container's control groups by then, and are killed with them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from inrush.launcher.loop import Loop
from inrush.linux import messages, namespaces

WAIT_S = 10.0
"""How long a berth may take to be made."""
AT_ONCE = 2
"""Berths of one app that are made at once."""

Identity = tuple[int, int]
"""(device, inode) of a namespace."""


@dataclass(slots=True, eq=False)
class Door:
    """The door of a berth. A process joins the berth by `pidfd`; `procs` lists its processes; `uts` is the namespace of
    its host name."""

    pid: int
    place: dict[str, Identity]
    pidfd: int
    procs: int
    uts: int

    def name(self, hostname: str) -> None:
        """Sets the host name of the berth. The launcher calls it, and returns to its own namespace."""
        if hostname:
            own = os.open("/proc/self/ns/uts", os.O_RDONLY | os.O_CLOEXEC)
            try:
                namespaces.setns(self.uts, namespaces.NEWUTS)
                try:
                    namespaces.set_hostname(hostname)
                finally:
                    namespaces.setns(own, namespaces.NEWUTS)
            finally:
                os.close(own)

    def kill(self) -> None:
        """Kills the door, and with it every process in the berth."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Closes the descriptors, after the door has ended."""
        messages.close_all([self.pidfd, self.procs, self.uts])


Made = Callable[[Door | None, str], None]
"""Called with the door and "", or with None and what went wrong."""


class Opening:
    """Follows one berth, and calls `made` exactly once. It closes the socket `report`; `inner` is the user namespace in
    which the door has to be."""

    def __init__(self, loop: Loop, report: int, inner: int, made: Made) -> None:
        self._loop = loop
        self._report = socket.socket(fileno=report)
        self._inner = inner
        self._made = made
        self._pid = 0
        self._over = False
        loop.watch(report, self._hear)
        loop.later(WAIT_S, self._too_late)

    def _hear(self) -> None:
        door, error = None, ""
        try:
            body, _, pid = messages.receive(self._report, wait=False, descriptors=0)
            if body is not None and "door" in body:
                self._pid = pid
                return
            if body is None and self._pid:
                door = _opened(self._pid, self._inner)
            else:
                error = str((body or {}).get("error", "the making of a berth ended"))
        except OSError as wrong:
            error = f"{wrong.strerror or wrong} {wrong.filename or ''}".strip()
        self._end(door, error)

    def _too_late(self) -> None:
        if not self._over:
            self._end(None, f"a berth was not made within {WAIT_S:g} s; does the template stop what makes it?")

    def _end(self, door: Door | None, error: str) -> None:
        self._over = True
        self._loop.unwatch(self._report.fileno())
        self._report.close()
        self._made(door, error)


class Turns:
    """Of the berths of one app, `AT_ONCE` are made at once, and the others in turn: more would only slow each other."""

    def __init__(self) -> None:
        self._free = AT_ONCE
        self._waiting: deque[Callable[[], None]] = deque()

    def take(self, begin: Callable[[], None]) -> None:
        """Calls `begin` when it is its turn, perhaps at once."""
        if self._free:
            self._free -= 1
            begin()
        else:
            self._waiting.append(begin)

    def end(self) -> None:
        """Ends one turn, and begins the next."""
        if self._waiting:
            self._waiting.popleft()()
        else:
            self._free += 1


def _opened(pid: int, inner: int) -> Door:
    made = [os.pidfd_open(pid)]
    try:
        for path in (f"/proc/{pid}/root/proc", f"/proc/{pid}/ns/uts"):
            made.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        place = {kind: namespaces.identity(kind, pid) for kind in namespaces.KINDS}
        if place["user"] != namespaces.identity_of(inner):
            raise OSError("the door of a berth has ended, and its process id is another's")
    except OSError:
        messages.close_all(made)
        raise
    return Door(pid, place, *made)
