"""A process forked from a template into a berth, where it waits for the container that it will be.

    forked ──▶ waits ──▶ taken: a container's from here on (`forks.Fork`)
       │         │
       └─────────┴─────▶ over: it has ended, or was told to

Until then it runs no code of users but what a snapshot may have put into forks. So it is killed when it is not wanted
any more, and what it holds is taken back when its end is known.
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
    """One of them. `waits` is called when it waits; `over` when it speaks or hangs up before it was taken."""

    def __init__(self, loop: Loop, number: int, pidfds: bool, waits: Callable[[], None], over: Callable[[], None]):
        self.number = number
        """What its template calls it by."""
        self.report, self._theirs = messages.pair()
        messages.want_credentials(self.report)
        self._loop = loop
        self._pidfds = pidfds
        self._waits = waits
        self._over = over
        self.pid = 0
        """Known when it waits."""
        self._pidfd = -1
        loop.watch(self.report.fileno(), self._hear)

    def end(self) -> int:
        """The other end, for the process; who sends it closes it."""
        return self._theirs.detach()

    @property
    def ended(self) -> bool:
        """Whether it has, where the kernel can say so."""
        poll = select.poll()
        if self._pidfd >= 0:
            poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def take(self) -> tuple[socket.socket, int, int]:
        """What the container's start goes on with: the report, the process, and its pidfd (or -1)."""
        self._loop.unwatch(self.report.fileno())
        return self.report, self.pid, self._pidfd

    def kill(self, ended: Callable[[], None]) -> None:
        """`ended` is called when the kernel says so. One that has not told yet which process it is ends because it has
        been hung up on, and only its template can say when."""
        self._hang_up()
        if self._pidfd >= 0:
            self._loop.watch(self._pidfd, ended)
        self._signal()

    def close(self) -> None:
        """It has ended, says its template, and if not, it does now."""
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
