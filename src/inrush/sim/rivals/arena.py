"""The world in which policies are compared: one function, one accelerator a container, room for all that are wanted.

Service times are the trace's, start times are told by the number of the start, and the routing is the same for all:
the container used last that has room. What is left to a policy is how many containers there are, and when. A
container is paid from the order to start it until it has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from inrush.sim.processors import Processors
from inrush.sim.traces.trace import Trace, percentile


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy made of a trace."""

    policy: str
    p50_s: float
    p99_s: float
    """The p99 of the time from an input's arrival until it runs."""
    gpu_s: float
    """Container seconds paid until the last input has ended, or the traffic has."""
    starts: int
    end_s: float
    answer_p99_s: float
    """The p99 of the time from an input's arrival until it has ended."""


@dataclass(slots=True, eq=False)
class Box:
    """A container of the arena."""

    number: int
    since: float
    ready: bool = False
    leaving: bool = False
    running: int = 0
    idle_since: float = 0.0
    ahead: deque[int] = field(default_factory=deque)
    """Inputs that it was sent beyond its slots."""


class Arena:
    """Base of both shells, ours and the rivals': time, requests, containers, and the bill."""

    policy = ""

    def __init__(self, trace: Trace, seed: int) -> None:
        self.trace, self.seed = trace, seed
        self.requests = trace.requests(seed)
        self.now = 0.0
        self.boxes: dict[int, Box] = {}
        self.paid_s = 0.0
        self.starts = 0
        self.waited_s: list[float] = []
        self._answered_s: list[float] = []
        self.processors = Processors(self, trace.cores) if trace.cores else None
        self._heap: list[tuple[float, int, str, int, int]] = []
        self._serial = 0
        self._acts: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}
        self._left = len(self.requests)

    def run(self) -> Outcome:
        """Plays the trace to its end."""
        self.began()
        upcoming = 0
        requests, heap = self.requests, self._heap
        while self._left:
            if upcoming < len(requests) and (not heap or requests[upcoming].at <= heap[0][0]):
                self.now = requests[upcoming].at
                self.arrived(upcoming)
                upcoming += 1
            else:
                self.now, _, kind, one, two = heappop(heap)
                self._happen(kind, one, two)
        for box in self.boxes.values():
            self.paid_s += self.now - box.since
        waited = sorted(self.waited_s)
        p50, p99 = percentile(waited, 50), percentile(waited, 99)
        answer_p99 = percentile(sorted(self._answered_s), 99)
        return Outcome(self.policy, p50, p99, self.paid_s, self.starts, self.now, answer_p99)

    # ── what a policy sees ───────────────────────────────────────────────────────────────────────────────────────────

    def began(self) -> None:
        """Called at time 0."""

    def arrived(self, request: int) -> None:
        raise NotImplementedError

    def became_ready(self, box: Box) -> None:
        raise NotImplementedError

    def ended(self, box: Box, request: int) -> None:
        """Called when an input has ended and its slot is free."""
        raise NotImplementedError

    def woke(self) -> None:
        """Called at a time that was asked for with `wake`."""

    # ── what a policy does ───────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> Box:
        box = Box(self.starts, self.now)
        self.boxes[box.number] = box
        self._spend(box, self.trace.start_of(self.seed, box.number), self.trace.start_cpu, "ready")
        self.starts += 1
        return box

    def stop(self, box: Box) -> None:
        """Ends a container, which must run nothing."""
        assert not box.running
        assert not box.ahead
        del self.boxes[box.number]
        if self.processors is not None:
            self.processors.drop(str(box.number))
        self.paid_s += self.now - box.since

    def send(self, box: Box, request: int) -> None:
        """Runs an input in a container as soon as a slot is free."""
        if box.running < self.trace.slots:
            self._begin(box, request)
        else:
            box.ahead.append(request)

    def wake(self, at: float) -> None:
        self.at(at, "wake")

    def after(self, seconds: float, action: Callable[..., object], *arguments: Any) -> None:
        """Has something done when so much time has passed."""
        self.at(self.now + seconds, "act", self._serial + 1)
        self._acts[self._serial] = action, arguments

    def at(self, at: float, kind: str, one: int = 0, two: int = 0) -> None:
        self._serial += 1
        heappush(self._heap, (at, self._serial, kind, one, two))

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _happen(self, kind: str, one: int, two: int) -> None:
        if kind == "wake":
            self.woke()
        elif kind == "act":
            action, arguments = self._acts.pop(one)
            action(*arguments)
        elif kind == "ready" and one in self.boxes:
            box = self.boxes[one]
            box.ready, box.idle_since = True, self.now
            self.became_ready(box)
        elif kind == "ended":
            box = self.boxes[one]
            box.running -= 1
            box.idle_since = self.now
            self._left -= 1
            self._answered_s.append(self.now - self.requests[two].at)
            if box.ahead:
                self._begin(box, box.ahead.popleft())
            self.ended(box, two)

    def _begin(self, box: Box, request: int) -> None:
        box.running += 1
        self.waited_s.append(self.now - self.requests[request].at)
        self._spend(box, self.requests[request].service_s, self.trace.service_cpu, "ended", request)

    def _spend(self, box: Box, seconds: float, part: float, kind: str, request: int = 0) -> None:
        """Has something happen when a container has spent these seconds, a part of which it computes."""
        if self.processors is None or not part:
            self.at(self.now + seconds, kind, box.number, request)
        else:
            rest_s = seconds * (1 - part)
            self.processors.compute(str(box.number), seconds * part, self._computed, rest_s, kind, box.number, request)

    def _computed(self, rest_s: float, kind: str, number: int, request: int) -> None:
        self.at(self.now + rest_s, kind, number, request)
