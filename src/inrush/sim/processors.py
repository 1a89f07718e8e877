"""Processors of a simulated node, which all that computes there shares.

Of K cores on which n things compute, each gets min(1, K / n) of one. Since all get the same, one number says how far
each has come: the seconds of a core that something computing from the start would have got by now (`_got_s`). What
needs w seconds is done when that number has grown by w, so a heap of those sums holds all.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

Work = tuple[float, int, str, Callable[..., object], tuple[Any, ...]]
"""When it is done, in seconds of a core; a serial; the container; and what follows."""


class Clock(Protocol):
    """The time `now`, in seconds, and a way to have something done later. An `Agenda` is one."""

    now: float

    def after(self, seconds: float, action: Callable[..., object], *arguments: Any) -> None:
        """Has something done when so much time has passed."""


class Processors:
    """The processors of one node, and what computes there."""

    def __init__(self, clock: Clock, cores: float) -> None:
        self._clock, self._cores = clock, cores
        self._heap: list[Work] = []
        self._got_s = self._at = 0.0
        self._serial = self._planned = 0

    def compute(self, container: str, seconds: float, action: Callable[..., object], *arguments: Any) -> None:
        """Has something done when a container has had a core for so many seconds."""
        self._go_on()
        self._serial += 1
        heappush(self._heap, (self._got_s + seconds, self._serial, container, action, arguments))
        self._plan()

    def drop(self, container: str) -> None:
        """Forgets what a container that has ended was computing."""
        left = [work for work in self._heap if work[2] != container]
        if len(left) < len(self._heap):
            self._go_on()
            heapify(left)
            self._heap = left
            self._plan()

    def left_s(self) -> dict[str, float]:
        """The containers that compute, or wait for a core, and the seconds of one that each still needs."""
        self._go_on()
        return {work[2]: work[0] - self._got_s for work in self._heap}

    def _share(self) -> float:
        return min(1.0, self._cores / len(self._heap))

    def _go_on(self) -> None:
        """Counts what everything got until now."""
        if self._heap:
            self._got_s += (self._clock.now - self._at) * self._share()
        self._at = self._clock.now

    def _plan(self) -> None:
        self._planned += 1
        if self._heap:
            self._clock.after(max(0.0, self._heap[0][0] - self._got_s) / self._share(), self._done, self._planned)

    def _done(self, planned: int) -> None:
        if planned != self._planned:
            return  # more or less computes since that was planned
        self._at, (self._got_s, _, _, action, arguments) = self._clock.now, heappop(self._heap)
        self._plan()
        action(*arguments)
