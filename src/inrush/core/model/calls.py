"""Calls, their inputs and attempts: what they are, and the tables of how they may change.

An input is not an object, because ten thousand of them arrive in a few events and leave in a few. The collection of the
call that holds an input's index says where it stands: `queue` or `suspects` (ranges, so that a million waiting inputs
are a few entries), `running` (index → the attempt at it), or `delayed` (it waits for its next try). An index that is
`known` and in none of them is done. `INPUT` says how an index may move, and the property tests check every step against
it.

All inputs of one dispatch share an `Attempt`, because they went to one container at one time.
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
"""A call is `open` while its number of inputs is unknown, and `closed` afterwards. A call that is done is dropped from
memory."""

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
"""No event leads out of `done`, so at most one result of an input is accepted."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One dispatch at the time `at`: a try of each of its inputs, in one container."""

    container: Container
    at: float


@dataclass(slots=True, eq=False)
class Call:
    """One `.remote()`, `.map()`, `.spawn()` or web request. Its inputs go to `function`, which a rolling deploy
    changes."""

    id: str
    function: str
    kind: str
    total: int
    durable: bool
    caller: str = ""
    """The container that made this call and waits for it; empty when no container does."""
    state: str = "open"
    why: str = ""
    """Why the call was cancelled."""
    told: bool = False
    """Its owner has been told that what runs is cancelled, and hears nothing more of it."""
    known: Ranges = field(default_factory=Ranges)
    queue: list[range] = field(default_factory=list)
    """Ranges of waiting inputs; the next to be run stand last."""
    suspects: list[int] = field(default_factory=list)
    """Queued inputs that must run alone, because containers died while they and others ran."""
    queued: int = 0
    """The number of inputs in `queue` and `suspects`."""
    running: dict[int, Attempt] = field(default_factory=dict)
    delayed: dict[int, float] = field(default_factory=dict)
    tries: dict[int, Tries] = field(default_factory=dict)
    """What failed inputs that are not done have been through."""
    done: int = 0

    def turn(self, event: str) -> None:
        """Changes the state as the table says."""
        self.state = follow(CALL, "call", self.id, self.state, event)

    def push(self, span: range) -> None:
        """Adds inputs to the end of the queue."""
        self.queued += len(span)
        if self.queue and self.queue[0].stop == span.start:
            self.queue[0] = range(self.queue[0].start, span.stop)
        else:
            self.queue.insert(0, span)

    def push_front(self, span: range) -> None:
        """Puts inputs back at the head of the queue, because they waited before all others."""
        self.queue.append(span)
        self.queued += len(span)

    def take(self, most: int) -> range:
        """Takes up to `most` contiguous inputs from the head of the queue, which must not be empty."""
        head = self.queue[-1]
        if len(head) <= most:
            self.queue.pop()
        else:
            self.queue[-1] = head[most:]
            head = head[:most]
        self.queued -= len(head)
        return head

    def drop_waiting(self) -> list[int]:
        """Takes out all queued and delayed inputs and returns their indexes in order."""
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
    """How often an input was retried, and how often its container crashed or its node was lost."""

    retries: int = 0
    crashes: int = 0
    losses: int = 0
