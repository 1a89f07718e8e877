"""The rivals' shell in the arena: a policy says how many containers it wants, and this starts and lets go.

A policy is asked every `tick_s`, as its controller would be, and at once when an input finds no container at all if it
is `eager`. With `idle_s` None its platform removes containers as Kubernetes does: those that start first, then idle
ones, then the least busy, which finish what they run. Otherwise only a container that has been idle for `idle_s` goes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from inrush.sim.rivals.arena import Arena, Box
from inrush.sim.traces.trace import Trace


class View(NamedTuple):
    """What a policy is shown."""

    now: float
    queued: int
    running: int
    starting: int
    ready: int
    demand_s: float
    """The integral over time of inputs that wait or run, so that averages over any window are exact."""
    oldest_s: float
    """How long the oldest waiting input has waited."""

    @property
    def inputs(self) -> int:
        """Inputs that wait or run."""
        return self.queued + self.running

    @property
    def live(self) -> int:
        """Containers that serve or start."""
        return self.starting + self.ready


class Policy(Protocol):
    """A rival's policy. It may remember what it was shown."""

    name: str
    tick_s: float
    eager: bool
    idle_s: float | None

    def desired(self, view: View) -> int:
        """How many containers there should be now."""


Rival = Callable[[Trace], Policy]
"""Makes a policy for a trace; its target of inputs per container is the number of slots."""


class Crowd(Arena):
    """The containers of a rival."""

    def __init__(self, trace: Trace, seed: int, policy: Policy) -> None:
        super().__init__(trace, seed)
        self.policy, self._asked = policy.name, policy
        self._queue: deque[int] = deque()
        self._room: dict[int, Box] = {}
        self._idle: dict[int, Box] = {}
        self._ready = self._running = self._live = 0
        self._demand_s, self._seen_at = 0.0, 0.0

    def began(self) -> None:
        self._review()
        self.wake(self._asked.tick_s)

    def arrived(self, request: int) -> None:
        self._observe()
        self._queue.append(request)
        self._route()
        if self._queue and not self._live and self._asked.eager:
            self._review()

    def became_ready(self, box: Box) -> None:
        self._ready += 1
        self._shelve(box)
        self._route()

    def ended(self, box: Box, request: int) -> None:
        self._observe()
        self._running -= 1
        if box.leaving and not box.running:
            self.stop(box)
        elif not box.leaving:
            self._shelve(box)
            self._route()

    def woke(self) -> None:
        self._review()
        self.wake(self.now + self._asked.tick_s)

    def _route(self) -> None:
        """Gives the next input to the container with room that was used last."""
        while self._queue and self._room:
            self._observe()
            box = self._room.popitem()[1]
            self._running += 1
            self.send(box, self._queue.popleft())
            self._shelve(box)

    def _shelve(self, box: Box) -> None:
        self._room.pop(box.number, None)
        if box.running < self.trace.slots:
            self._room[box.number] = box
        if box.running:
            self._idle.pop(box.number, None)
        else:
            self._idle.setdefault(box.number, box)

    def _observe(self) -> None:
        self._demand_s += (len(self._queue) + self._running) * (self.now - self._seen_at)
        self._seen_at = self.now

    def _review(self) -> None:
        self._observe()
        oldest_s = self.now - self.requests[self._queue[0]].at if self._queue else 0.0
        starting = self._live - self._ready
        view = View(self.now, len(self._queue), self._running, starting, self._ready, self._demand_s, oldest_s)
        wanted = self._asked.desired(view)
        for _ in range(wanted - self._live):
            self.start()
            self._live += 1
        if self._asked.idle_s is None:
            self._remove(self._live - wanted)
        else:
            self._expire(self._live - wanted, self._asked.idle_s)

    def _expire(self, surplus: int, idle_s: float) -> None:
        for box in list(self._idle.values())[: max(0, surplus)]:
            if self.now - box.idle_since < idle_s:
                break
            self._let_go(box)

    def _remove(self, surplus: int) -> None:
        if surplus > 0:
            live = [box for box in self.boxes.values() if not box.leaving]
            live.sort(key=lambda box: (box.ready, box.running, box.idle_since if not box.running else math.inf))
            for box in live[:surplus]:
                self._let_go(box)

    def _let_go(self, box: Box) -> None:
        self._live -= 1
        self._ready -= box.ready
        self._room.pop(box.number, None)
        self._idle.pop(box.number, None)
        box.leaving = True
        if not box.running:
            self.stop(box)
