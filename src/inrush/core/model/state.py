"""The whole state of a Cluster, and the few things every handler needs: to tell, to mark, to set a timer."""

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
    """Something to look at again; `serial` keeps equal times in order of setting. `kind` is `review` (a function),
    `lease` (a function too), `retry`
    (an `input` of a call) or `provision`."""

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
    """Everything the core knows. Dicts keep their order of insertion, and nothing is decided by any other order. What
    it is made of is listed in `checkpoint`, which writes all of it."""

    seed: str
    index: NodeIndex
    """Of nodes, for placing."""
    tuning: Tuning = TUNING
    now: float = 0.0
    functions: dict[str, Function] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    flaps: dict[str, tuple[int, float]] = field(default_factory=dict)
    """How often each node left lately, and when last."""
    capacity: Amount = field(default_factory=Amount)
    """What all nodes have to give."""
    held: dict[str, Amount] = field(default_factory=dict)
    """What containers that have not ended take of it, by app."""
    claimant: str = ""
    """The function that devices are kept for,"""
    claim_until: float = 0.0
    """until then at the latest,"""
    claimed: dict[str, None] = field(default_factory=dict)
    """on these nodes."""
    quotas: Quotas = field(default_factory=dict)
    used: dict[str, dict[str, int]] = field(default_factory=dict)
    """Thousandths of devices held, by app and type."""
    touched: dict[str, Function] = field(default_factory=dict)
    """Functions to route for at the end of this step."""
    hungry: dict[str, Function] = field(default_factory=dict)
    """Functions that want more containers than they have."""
    reclaim_due: float = -math.inf
    """Idle containers are not looked through for the sake of others before."""
    provision_at: float = math.inf
    """When a timer has the hungry served."""
    provision_due: bool = False
    """Capacity or wants changed since the hungry were last served."""
    pools: dict[str, Pool] = field(default_factory=dict)
    """Where nodes may be ordered."""
    pools_due: float = -math.inf
    """Pools are not looked at before."""
    pools_look: float = -math.inf
    """When a timer has them looked at."""
    timers: list[Timer] = field(default_factory=list)
    told: float = math.inf
    """When the shell was last asked to wake us."""
    serial: int = 0
    out: list[Effect] = field(default_factory=list)

    def resize(self, inventory: Inventory, sign: int) -> None:
        """A node with this has come or gone."""
        self.capacity = self.capacity.plus(given_by(inventory), sign)

    def share_of(self, app: str) -> float:
        """The part of the cluster that an app holds."""
        return self.held[app].share_of(self.capacity) if app in self.held else 0.0

    def share_of_one(self, function: Function) -> float:
        """The part of the cluster that one container of a function takes."""
        return asked_by(function.want).share_of(self.capacity) if function.want else 0.0

    def touch(self, function: Function, poke: bool = False) -> None:
        """Route for it at the end of the step; with `poke`, also think about its scale."""
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
        """Look at this again at `at`."""
        heappush(self.timers, Timer(at, self.next_serial(), kind, key, input))

    def provision_by(self, at: float) -> None:
        """Serve the hungry at `at`, or earlier if that was already planned."""
        if at < self.provision_at:
            self.provision_at = at
            self.timer(at, "provision")

    def review_by(self, function: Function, at: float) -> None:
        """Think about its scale at `at`, or earlier if that was already planned."""
        if at < function.review_at:
            function.review_at = at
            self.timer(at, "review", function.id)
