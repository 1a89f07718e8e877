"""What comes out of `Cluster.step`: things the shell has to do, in this order. Each says why where a person may ask."""

from __future__ import annotations

from typing import Any

import msgspec


class Effect(msgspec.Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """Base of effects."""


class StartContainer(Effect, frozen=True):
    """`gpus` are device indexes of the node, held exclusively until the container has ended; with `gpu_share` below 1
    it is one index, shared with others. `cluster` is the first container of its cluster, if it is in one, and `rank`
    its number there."""

    container: str
    function: str
    node: str
    gpus: tuple[int, ...] = ()
    gpu_type: str = ""
    why: str = ""
    gpu_share: float = 1.0
    rank: int = 0
    cluster: str = ""


class StopContainer(Effect, frozen=True):
    container: str
    node: str
    grace_s: float = 30.0
    kill: bool = False
    why: str = ""


class Dispatch(Effect, frozen=True):
    """Run these inputs of `call` in `container`; each is one Attempt."""

    container: str
    node: str
    call: str
    indexes: tuple[int, ...]


class CancelRun(Effect, frozen=True):
    container: str
    node: str
    call: str
    indexes: tuple[int, ...]


class Recall(Effect, frozen=True):
    """Have this container give back the inputs that it has not begun; `InputsReturned` says which."""

    container: str
    node: str


class NodesWanted(Effect, frozen=True):
    """Order so many more nodes of the pool. Each joins, or is told of by `events.NodesFailed`."""

    pool: str
    count: int
    why: str


class NodesReleased(Effect, frozen=True):
    """Give these empty nodes back; the core has forgotten them."""

    pool: str
    nodes: tuple[str, ...]
    why: str


class Resolve(Effect, frozen=True):
    """Final results of inputs: tell the owner. `refs` are payloads as the events brought them, or bytes made by the
    core's shell for ends that have none (then None, and `why` says what happened)."""

    call: str
    indexes: tuple[int, ...]
    statuses: tuple[int, ...]
    refs: tuple[Any, ...]
    why: str = ""


class WakeAt(Effect, frozen=True):
    """Send a `Tick` at this time, in seconds; replaces an earlier, later one. After each `Tick` it is asked for
    anew."""

    at: float


class Waiting(Effect, frozen=True):
    """Why the calls of a function wait now; empty when they no longer do. Sent on change only."""

    function: str
    why: str


class Decided(Effect, frozen=True):
    """A decision of scaling, for `why` and for history. Sent on change only."""

    function: str
    wanted: int
    have: int
    why: str


AnyEffect = (
    StartContainer
    | StopContainer
    | Dispatch
    | CancelRun
    | Recall
    | NodesWanted
    | NodesReleased
    | Resolve
    | WakeAt
    | Waiting
    | Decided
)
