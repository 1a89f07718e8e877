"""Calls, their inputs and attempts: what they are, and the tables of what may happen to them.

An input is no object: ten thousand of them arrive in a few events and leave in a few. Where an input stands is told
by the collection of its call that holds its index: `queue` or `suspects` (ranges, so that a million waiting inputs
are a few entries), `running` (index → the attempt at it), `delayed` (waits for its next try); an index that is
`known` and in none of them is done. `INPUT` says how an index may move; the property tests hold every step to it.

An `Attempt` is shared by all inputs of one dispatch: they went to one container at one time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from inrush.core.model.ranges import Ranges
from inrush.core.model.transitions import Table, follow

if TYPE_CHECKING:
    from inrush.core.model.containers import Container

CALL: Table = {
    ("open", "end"): "closed",
    ("open", "cancel"): "cancelled",
    ("open", "forget"): "forgotten",
    ("closed", "end"): "closed",
    ("closed", "cancel"): "cancelled",
    ("closed", "forget"): "forgotten",
    ("closed", "finish"): "done",
    ("cancelled", "end"): "cancelled",
    ("cancelled", "cancel"): "cancelled",
    ("cancelled", "forget"): "forgotten",
    ("cancelled", "finish"): "done",
    ("forgotten", "end"): "forgotten",
    ("forgotten", "cancel"): "forgotten",
    ("forgotten", "forget"): "forgotten",
    ("forgotten", "finish"): "done",
}
"""`open`: its number of inputs is not known yet; `closed`: it is. A call that is done is dropped from memory."""

INPUT: Table = {
    ("unknown", "arrive"): "queued",
    ("unknown", "refuse"): "done",
    ("queued", "dispatch"): "running",
    ("queued", "resolve"): "done",
    ("running", "resolve"): "done",
    ("running", "again"): "queued",
    ("running", "later"): "delayed",
    ("delayed", "due"): "queued",
    ("delayed", "resolve"): "done",
}
"""`done` has no way out: at most one result of an input is accepted."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One dispatch: a try of each of its inputs, in one container, since `at`."""

    container: Container
    at: float


@dataclass(slots=True, eq=False)
class Call:
    """One `.remote()`, `.map()`, `.spawn()`, …; `function` is where its inputs go (a rolling deploy changes it)."""

    id: str
    function: str
    kind: str
    total: int
    durable: bool
    caller: str = ""
    """The container that waits for it, if one does."""
    state: str = "open"
    why: str = ""
    """Of a cancelled call: by whom or what."""
    known: Ranges = field(default_factory=Ranges)
    queue: list[range] = field(default_factory=list)
    """The next to be run stand last."""
    suspects: list[int] = field(default_factory=list)
    """Queued, to be run alone: containers died under them while others ran beside them."""
    queued: int = 0
    """Of `queue` and of `suspects`."""
    running: dict[int, Attempt] = field(default_factory=dict)
    delayed: dict[int, float] = field(default_factory=dict)
    tries: dict[int, Tries] = field(default_factory=dict)
    """Only of inputs that failed before and are not done."""
    done: int = 0

    def turn(self, event: str) -> None:
        """Follow the table."""
        self.state = follow(CALL, "call", self.id, self.state, event)

    def push(self, span: range) -> None:
        """More inputs, at the end of the queue."""
        self.queued += len(span)
        if self.queue and self.queue[0].stop == span.start:
            self.queue[0] = range(self.queue[0].start, span.stop)
        else:
            self.queue.insert(0, span)

    def push_front(self, span: range) -> None:
        """Inputs that come back: they waited before all others."""
        self.queue.append(span)
        self.queued += len(span)

    def take(self, most: int) -> range:
        """Up to `most` contiguous inputs from the head of the queue, which must not be empty."""
        head = self.queue[-1]
        if len(head) <= most:
            self.queue.pop()
        else:
            self.queue[-1] = head[most:]
            head = head[:most]
        self.queued -= len(head)
        return head

    def drop_waiting(self) -> list[int]:
        """Take all queued and delayed inputs out; returns their indexes in order."""
        indexes = sorted([*(index for span in self.queue for index in span), *self.suspects, *self.delayed])
        self.queue.clear()
        self.suspects.clear()
        self.queued = 0
        self.delayed.clear()
        return indexes

    def where(self, index: int) -> str:
        """The state of an input, as named in `INPUT`."""
        if index not in self.known:
            return "unknown"
        if index in self.running:
            return "running"
        if index in self.delayed:
            return "delayed"
        waits = index in self.suspects or any(index in span for span in self.queue)
        return "queued" if waits else "done"


class Tries(NamedTuple):
    """What an input has been through."""

    retries: int = 0
    crashes: int = 0
    losses: int = 0
