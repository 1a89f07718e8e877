"""The whole state of a Cluster, and the few operations that every handler needs: report, mark, set a timer."""

from __future__ import annotations

import math
from base64 import b32encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappush
from typing import Any, NamedTuple, Protocol

from inrush.core.model.amounts import Amount, asked_by, given_by
from inrush.core.model.calls import Call
from inrush.core.model.containers import Container
from inrush.core.model.effects import Effect
from inrush.core.model.functions import Function
from inrush.core.model.nodes import Kind, Node, Peers
from inrush.core.model.pools import Pool
from inrush.core.model.quotas import Quotas
from inrush.core.model.tuning import TUNING, Tuning
from inrush.core.model.wanted import Placement, Wanted
from inrush.wire import GpuRequest, Inventory


class Timer(NamedTuple):
    """A time at which something is looked at again. `serial` keeps equal times in order of setting. `kind` is `review`
    or `lease` (of a function), `retry` (of a call's `input`), `node` or `question` (of a node), `pools` or
    `provision`."""

    at: float
    serial: int
    kind: str
    key: str = ""
    input: int = 0


May = Callable[[GpuRequest, str], bool]
"""Whether a request may be met with devices of a type at all; a quota may forbid it."""


class NodeIndex(Protocol):
    """All nodes by what they have free, as handlers use it; `place.index` has the one that there is."""

    @property
    def groups(self) -> Mapping[Kind, Peers]:
        """The nodes of each kind."""

    @property
    def read(self) -> int:
        """How far the log of what came free has come."""

    def add(self, node: Node) -> None:
        """Takes in a node, or takes it in again after its inventory changed."""

    def remove(self, node: Node) -> None:
        """Forgets a node."""

    def hold(self, node: Node, holds: frozenset[str]) -> None:
        """Takes note of the images and snapshots that a node holds now."""

    def find(self, want: Wanted, among: list[Node] | None = None, may: May = ...) -> Placement | None:
        """The best place for one more container, of all nodes or of those given; None when there is none."""

    def freed_since(self, read: int) -> list[Node] | None:
        """Nodes with more room than when the log had come to `read`; None when that is too long ago."""

    def standing(self) -> Any:
        """What an index of the same nodes needs beside them to be the same as this one."""


@dataclass(slots=True, eq=False)
class State:
    """Everything the core knows. Dicts keep their order of insertion, and no decision depends on any other order.
    `checkpoint` lists the classes that a state is made of, and writes all of it."""

    seed: str
    index: NodeIndex
    """The index of nodes that placing searches."""
    tuning: Tuning = TUNING
    now: float = 0.0
    functions: dict[str, Function] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    flaps: dict[str, tuple[int, float]] = field(default_factory=dict)
    """How often each node has left lately, and when it last did."""
    capacity: Amount = field(default_factory=Amount)
    """The cpu, memory and devices of all nodes together."""
    held: dict[str, Amount] = field(default_factory=dict)
    """For each app: what its containers hold until they have ended."""
    claimant: str = ""
    """The function for which devices are kept free; empty when there is none."""
    claim_until: float = 0.0
    """When the claim on these devices lapses at the latest."""
    claimed: dict[str, None] = field(default_factory=dict)
    """The nodes on which devices are claimed."""
    quotas: Quotas = field(default_factory=dict)
    used: dict[str, dict[str, int]] = field(default_factory=dict)
    """Thousandths of devices that each app holds, by type."""
    touched: dict[str, Function] = field(default_factory=dict)
    """Functions whose inputs are routed at the end of this step."""
    hungry: dict[str, Function] = field(default_factory=dict)
    """Functions that want more containers than they have."""
    reclaim_due: float = -math.inf
    """The time before which idle containers are not searched again on behalf of others."""
    provision_at: float = math.inf
    """When the next `provision` timer fires."""
    provision_due: bool = False
    """Whether capacity or demand has changed since hungry functions were last served."""
    pools: dict[str, Pool] = field(default_factory=dict)
    """Pools from which nodes may be ordered."""
    pools_due: float = -math.inf
    """The time before which pools are not looked at again."""
    pools_look: float = -math.inf
    """When the next timer has pools looked at."""
    timers: list[Timer] = field(default_factory=list)
    told: float = math.inf
    """The time at which the shell was last asked to wake the core."""
    measures: bool = False
    """Whether a node measures what containers use of its processors."""
    serial: int = 0
    out: list[Effect] = field(default_factory=list)

    def resize(self, inventory: Inventory, sign: int) -> None:
        """Adds the inventory of a node that has come to the capacity; with `sign=-1` takes that of one that left
        away."""
        self.capacity = self.capacity.plus(given_by(inventory), sign)

    def share_of(self, app: str) -> float:
        """The part of the cluster that an app holds."""
        return self.held[app].share_of(self.capacity) if app in self.held else 0.0

    def share_of_one(self, function: Function) -> float:
        """The part of the cluster that one container of a function takes."""
        return asked_by(function.want).share_of(self.capacity) if function.want else 0.0

    def touch(self, function: Function, poke: bool = False) -> None:
        """Has inputs of the function routed at the end of the step; with `poke`, its scale is reviewed too."""
        self.touched[function.id] = function
        if poke:
            function.poked = True

    def next_serial(self) -> int:
        """A number that was not used before."""
        self.serial += 1
        return self.serial

    def container_id(self) -> str:
        """A fresh id of 128 bits, told by the seed and a counter alone: nobody guesses it who does not know the seed,
        which a server draws at random and tells only its journal."""
        digest = blake2b(f"{self.seed}:{self.next_serial()}".encode(), digest_size=16).digest()
        return "co-" + b32encode(digest).decode().lower().rstrip("=")

    def timer(self, at: float, kind: str, key: str = "", input: int = 0) -> None:
        """Sets a timer for the time `at`."""
        heappush(self.timers, Timer(at, self.next_serial(), kind, key, input))

    def quiet_timer(self, at: float, kind: str, key: str) -> None:
        """Sets a timer that comes before all others of its time and uses up no serial, so that ids of containers do not
        depend on it."""
        heappush(self.timers, Timer(at, 0, kind, key))

    def provision_by(self, at: float) -> None:
        """Has hungry functions served at `at`, unless an earlier time is planned."""
        if at < self.provision_at:
            self.provision_at = at
            self.timer(at, "provision")

    def review_by(self, function: Function, at: float) -> None:
        """Has the function's scale reviewed at `at`, unless an earlier time is planned."""
        if at < function.review_at:
            function.review_at = at
            self.timer(at, "review", function.id)
