"""A process forked from a template into a berth, where it waits for the container that it will become.

    forked ──▶ waits ──▶ taken: it belongs to a container from here on (`forks.Fork`)
       │         │
       └─────────┴─────▶ over: it has ended, or was killed

While it waits it runs no user code, except what a snapshot's code does in forks. So it can be killed at any time
when it is not needed, and its berth is freed when its end is known.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable

from inrush.launcher.loop import Loop
from inrush.linux import messages


class Child:
    """A process that waits in a berth. `waits` is called when it reports that it waits; `over` when it reports anything
    else or hangs up before it was taken."""

    def __init__(self, loop: Loop, number: int, pidfds: bool, waits: Callable[[], None], over: Callable[[], None]):
        self.number = number
        """Its number in messages of its template."""
        self.report, self._theirs = messages.pair()
        messages.want_credentials(self.report)
        self._loop = loop
        self._pidfds = pidfds
        self._waits = waits
        self._over = over
        self.pid = 0
        """Its process id, 0 until it waits."""
        self._pidfd = -1
        loop.watch(self.report.fileno(), self._hear)

    def end(self) -> int:
        """The process's end of the socket pair. The caller passes it to the template, and closes it."""
        return self._theirs.detach()

    @property
    def ended(self) -> bool:
        """Whether the process has ended; always False where there are no pidfds."""
        poll = select.poll()
        if self._pidfd >= 0:
            poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def take(self) -> tuple[socket.socket, int, int]:
        """Hands the process over to a container: the socket on which it reports, its pid, and its pidfd or -1."""
        self._loop.unwatch(self.report.fileno())
        return self.report, self.pid, self._pidfd

    def kill(self, ended: Callable[[], None]) -> None:
        """Kills the process. `ended` is called when the kernel reports its end. A process whose pid is not known yet
        ends because its socket is closed, and then only its template reports the end."""
        self._hang_up()
        if self._pidfd >= 0:
            self._loop.watch(self._pidfd, ended)
        self._signal()

    def close(self) -> None:
        """Closes everything after its template has reported its end. The process is killed in case the template
        lied."""
        self._hang_up()
        self._signal()
        if self._pidfd >= 0:
            self._loop.unwatch(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _signal(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _hang_up(self) -> None:
        self._loop.unwatch(self.report.fileno())
        self.report.close()

    def _hear(self) -> None:
        try:
            body, _, pid = messages.receive(self.report, wait=False, descriptors=0)
            if not self.pid and isinstance(body, dict) and "waits" in body:
                self._pidfd = os.pidfd_open(pid) if self._pidfds else -1
                self.pid = pid
                self._waits()
                return
        except (OSError, ValueError):
            pass
        self._over()
