"""The launcher's event loop: one thread, with descriptors, timers and child processes. It does not use asyncio, which
would be half of the launcher's memory."""

from __future__ import annotations

import heapq
import itertools
import os
import select
import signal
import time
import traceback
from collections.abc import Callable

_EARLY_KEPT, _EARLY_S = 256, 5.0
"""How many ends of children to keep for callers of `when_ended` that come later, and for how long: after that, the same
pid may mean another process."""

Act = Callable[[], object]


class Loop:
    """Calls back when a descriptor is readable, when a timer is due, when a child has ended, and when it is idle."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._readers: dict[int, Act] = {}
        self._children: dict[int, Callable[[int], None]] = {}
        self._early: dict[int, tuple[int, float]] = {}  # wait status, and when the child ended
        self._timers: list[tuple[float, int, Act]] = []
        self._numbers = itertools.count()
        self._woken, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self.watch(self._woken, self._reap)
        self.idle: Callable[[], bool] = lambda: False
        """Called when there is nothing else to do: does one piece of work, and returns whether there may be more."""
        self.running = True

    def watch(self, fd: int, act: Act) -> None:
        """Calls `act` whenever `fd` is readable or hung up."""
        self._readers[fd] = act
        self._poll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """Ends watching. It must be called before the descriptor is closed."""
        if self._readers.pop(fd, None):
            self._poll.unregister(fd)

    def when_ended(self, pid: int, act: Callable[[int], None]) -> None:
        """Calls `act` with the wait status of a child when it ends, or soon if it has ended already."""
        status, at = self._early.pop(pid, (0, 0.0))
        if at > time.monotonic() - _EARLY_S:
            self.later(0, lambda: act(status))
        else:
            self._children[pid] = act

    def later(self, seconds: float, act: Act) -> None:
        """Calls `act` once, after so many seconds."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), act))

    def run(self) -> None:
        """Runs until `running` is False."""
        busy = True
        while self.running:
            events = self._poll.poll(0 if busy else self._wait_s())
            for fd, act in [(fd, self._readers.get(fd)) for fd, _ in events]:
                if act and self._readers.get(fd) is act:  # it may have been closed since the poll, and its number
                    # reused
                    _guarded(act)
            while self._timers and self._timers[0][0] <= time.monotonic():
                _guarded(heapq.heappop(self._timers)[2])
            busy = self.idle() if not events else True

    def _wait_s(self) -> float:
        if not self._timers:
            return 60.0
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _reap(self) -> None:
        try:
            os.read(self._woken, 4096)
        except BlockingIOError:
            return
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if act := self._children.pop(pid, None):
                act(status)
            else:
                self._early[pid] = (status, time.monotonic())
                while len(self._early) > _EARLY_KEPT:
                    del self._early[next(iter(self._early))]


def _guarded(act: Act) -> None:
    """Calls `act`, and logs an exception: a defect that one container meets must not end all others."""
    try:
        act()
    except Exception:
        traceback.print_exc()
