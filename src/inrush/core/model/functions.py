"""Functions as the core knows them: a spec, the calls that wait in turn, the containers, and the shelf on which each
container stands.

Shelves make routing O(1). `below_target` and `below_max` hold ready containers with room. The one used last stands at
the end and is taken next, so that containers which are no longer needed fall idle and are stopped. `below_lease` holds
containers without a free slot that may be sent inputs ahead (`lease`). `idle` holds containers that run nothing, the
longest idle first.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from inrush.core.model.calls import Call
from inrush.core.model.containers import Container
from inrush.core.model.measured import Decision, Measured, Memo, slots_of, target_of
from inrush.core.model.pools import Trend
from inrush.core.model.wanted import Placement, Wanted
from inrush.wire import FunctionSpec, ScalePolicy

DECISIONS_KEPT = 8
DEPARTURES_KEPT = 4


@dataclass(slots=True, eq=False)
class Trouble:
    """Starts of a function that failed one after the other."""

    failures: int = 0
    last_at: float = -math.inf
    blocked_until: float = 0.0
    nodes: dict[str, None] = field(default_factory=dict)
    """Nodes on which they failed."""
    given_up: bool = False
    """What waited was failed. An ephemeral function tries again as soon as new work comes."""
    why: str = ""


@dataclass(slots=True, eq=False)
class Function:
    """A function of an app version, or the variant of a class for one set of parameters."""

    id: str
    app: str
    spec: FunctionSpec
    durable: bool
    policy: ScalePolicy
    """The scaling policy of the spec, with what people have overridden."""
    order: int
    slots: int = 1
    """The most inputs that one container runs at once."""
    slots_most: int = 1
    """The most that `slots` has ever been, since a container may still run that many."""
    target: int = 1
    """The inputs at once in one container that scaling aims at."""
    removed: str = ""
    """Why it takes no more calls. A removed function stays known until its containers have ended."""
    calls: dict[str, Call] = field(default_factory=dict)
    turns: deque[Call] = field(default_factory=deque)
    """Calls with queued inputs; the next to be served stands first."""
    suspects: deque[Call] = field(default_factory=deque)
    """Calls with inputs that must run alone, one entry for each input."""
    queued: int = 0
    delayed: int = 0
    running: int = 0
    """Inputs sent to containers, with those that are leased."""
    leased: int = 0
    """Inputs sent to containers beyond their slots, which have not begun."""
    lease: int = 0
    """How many inputs beyond its slots a container is sent now."""
    leasing: dict[str, Container] = field(default_factory=dict)
    """Containers that have leased inputs."""
    wary_until: float = -math.inf
    watched: bool = False
    """Whether a timer looks after leased inputs."""
    containers: dict[str, Container] = field(default_factory=dict)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("starting", "ready", "draining", "stopping"), 0)
    )
    started_at_sum: float = 0.0
    """The sum of the start times of all containers that are starting."""
    below_target: dict[str, Container] = field(default_factory=dict)
    below_max: dict[str, Container] = field(default_factory=dict)
    below_lease: dict[str, Container] = field(default_factory=dict)
    idle: dict[str, Container] = field(default_factory=dict)
    leaving: dict[str, Container] = field(default_factory=dict)
    """Containers that drain or stop."""
    followers: dict[str, Container] = field(default_factory=dict)
    """In clusters: all containers but the first of each, which stands for all."""
    seats: dict[str, int] = field(default_factory=dict)
    """The number of its containers on each node."""
    want: Wanted | None = None
    """What one of its containers asks of a node."""
    measured: Measured = field(default_factory=Measured)
    memo: Memo = field(default_factory=Memo)
    trouble: Trouble = field(default_factory=Trouble)
    trend: Trend | None = None
    """The growth of its queue while it waits for nodes; None while it does not."""
    ever_ready: bool = False
    trial: str = ""
    """How its first start is watched: `beside` the function whose place it is to take, or `alone`; empty when it is
    not."""
    poked: bool = False
    """Whether its scale is reviewed at the end of this step."""
    pressed: bool = False
    """Whether work arrived in this step; its scale is then reviewed unless free slots took all of it."""
    review_at: float = math.inf
    queued_since: float = math.inf
    """Since when inputs have been waiting without a break; infinite while none waits."""
    look_at: float = 0.0
    """From this time on, arrivals cause a review even where free slots took all of them."""
    wanted: int = 0
    decisions: deque[tuple[float, Decision]] = field(default_factory=lambda: deque(maxlen=DECISIONS_KEPT))
    departures: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=DEPARTURES_KEPT))
    """When and why containers were last told to stop."""
    held_back: str = ""
    """Why it gets no more containers although its inputs wait for some; empty when that is not so."""
    refusal: str = ""
    """What the last container that could not be placed lacked; empty when none is refused now."""
    refusal_words: str = ""
    """Cached text of the last refusal; building it costs about a millisecond."""
    refusal_due: float = -math.inf
    """The time from which the cached text of a refusal may be built again."""
    refused_at: float = -math.inf
    """When a container was last refused a place."""
    freed_read: int = -1
    """How far the index's log of freed nodes had come when a container last found no place; -1 has all nodes
    searched."""
    places: list[Placement] = field(default_factory=list)
    """Of a cluster that found no place as a whole: the places that some of its containers would have had."""
    claim_due: float = -math.inf
    """The time before which it may not claim devices again."""
    placed_at: float = -math.inf
    """When it last got a place."""
    yield_due: float = -math.inf
    """The time before which others are not asked again to make room for it."""
    waiting: str = ""
    """What its calls wait for, as last reported."""

    @property
    def environment(self) -> str:
        """Of its app's key; empty for `main`."""
        return self.app.rpartition("/")[0]

    def named_to(self, other: Function) -> str:
        """Its name, for the people of another function: those of another environment are told none."""
        return self.spec.name if self.environment == other.environment else "a function of another environment"

    @property
    def live(self) -> int:
        """The number of containers that serve or soon will."""
        return self.counts["starting"] + self.counts["ready"]

    def adopt(self, policy: ScalePolicy) -> None:
        """Takes over a policy, and puts every container on the shelf where it belongs now."""
        self.policy = policy
        self.slots, self.target = slots_of(policy), target_of(policy)
        self.slots_most = max(self.slots_most, self.slots)
        for container in self.containers.values():
            self.shelve(container)
        self.leasing = {c.id: c for c in self.containers.values() if c.busy > self.slots}
        self.leased = sum(c.busy - self.slots for c in self.leasing.values())

    def occupy(self, container: Container, more: int) -> None:
        """Adds inputs to what a container runs, or takes them off if negative. The caller shelves the container."""
        ahead = container.busy - self.slots
        before = ahead if ahead > 0 else 0
        container.busy += more
        self.running += more
        ahead += more
        if ahead > 0:
            self.leased += ahead - before
            self.leasing[container.id] = container
        elif before:
            self.leased -= before
            del self.leasing[container.id]

    def shelve(self, container: Container) -> None:
        """Puts a container on the shelf where it belongs now."""
        key, busy = container.id, container.busy
        self.below_target.pop(key, None)
        self.below_max.pop(key, None)
        self.below_lease.pop(key, None)
        if container.state != "ready":
            self.idle.pop(key, None)
            return
        if busy or container.engaged:
            self.idle.pop(key, None)
        else:
            self.idle.setdefault(key, container)
        if container.closed or (not busy and container.engaged):
            return
        if busy < self.target:
            self.below_target[key] = container
        elif busy < self.slots:
            self.below_max[key] = container
        elif busy < self.slots + self.lease and not container.recalled and not container.waits:
            self.below_lease[key] = container

    def enqueue(self, call: Call, span: range) -> None:
        """Adds new inputs at the end of their call's queue."""
        if not call.queue:
            self.turns.append(call)
        call.push(span)
        self.queued += len(span)

    def requeue(self, call: Call, span: range) -> None:
        """Puts inputs back at the head of their call's queue."""
        if not call.queue:
            self.turns.appendleft(call)
        call.push_front(span)
        self.queued += len(span)

    def suspect(self, call: Call, index: int) -> None:
        """Queues an input again, to be run alone."""
        call.suspects.append(index)
        call.queued += 1
        self.suspects.append(call)
        self.queued += 1

    def withdraw(self, call: Call) -> list[int]:
        """Takes out everything of a call that waits, and returns the indexes in order."""
        if call.queue:
            self.turns.remove(call)
        if call.suspects:
            self.suspects = deque(other for other in self.suspects if other is not call)
        self.queued -= call.queued
        self.delayed -= len(call.delayed)
        return call.drop_waiting()
