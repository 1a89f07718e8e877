"""What is going to happen, in virtual time: a heap of actions by the time at which they are due."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Agenda:
    """The actions that are due, and the time `now`, in seconds. Actions that are due at the same time are done in the
    order in which they were added."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._serial = 0

    @property
    def next_at(self) -> float:
        """The time of the next action; infinite if there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def at(self, at: float, action: Callable[..., object], *arguments: Any) -> None:
        """Has something done at a time."""
        self._serial += 1
        heappush(self._heap, (at, self._serial, action, arguments))

    def after(self, seconds: float, action: Callable[..., object], *arguments: Any) -> None:
        """Has something done when so much time has passed."""
        self.at(self.now + seconds, action, *arguments)

    def go_on(self) -> None:
        """Goes on to the time of the next action, and does it."""
        self.now, _, action, arguments = heappop(self._heap)
        action(*arguments)
