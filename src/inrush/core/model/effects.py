"""What `Cluster.step` returns: things that the shell must do, in this order. Each carries its reason where a person may
ask for it."""

from __future__ import annotations

from typing import Any

import msgspec


class Effect(msgspec.Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """Base of all effects."""


class StartContainer(Effect, frozen=True):
    """Start a container on a node. `gpus` are device indexes of the node, held until the container has ended; with
    `gpu_share` below 1 there is one index, shared with others. `cluster` is the first container of its cluster, and
    `rank` its number there."""

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


class ContainerLost(Effect, frozen=True):
    """A container is gone without a report of its end; the core has forgotten it."""

    container: str
    why: str


class ListContainers(Effect, frozen=True):
    """Ask a node which containers it has once it has taken all earlier orders. It answers with `events.NodeContainers`
    of the same number."""

    node: str
    number: int


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
    """Order more nodes of a pool. Each of them joins, or `events.NodesFailed` reports it."""

    pool: str
    count: int
    why: str


class NodesReleased(Effect, frozen=True):
    """Give these empty nodes back; the core has forgotten them."""

    pool: str
    nodes: tuple[str, ...]
    why: str


class Resolve(Effect, frozen=True):
    """Tell the owner of a call final results of inputs. `refs` are payloads as the events brought them. An end without
    a payload has None, and `why` says what happened."""

    call: str
    indexes: tuple[int, ...]
    statuses: tuple[int, ...]
    refs: tuple[Any, ...]
    why: str = ""


class Retried(Effect, frozen=True):
    """These inputs ended badly and are tried again, for people who watch. `why` says which retry it is, and when."""

    call: str
    function: str
    indexes: tuple[int, ...]
    why: str


class WakeAt(Effect, frozen=True):
    """Send a `Tick` at this time, in seconds. It replaces an earlier `WakeAt`, and is sent again after each `Tick`."""

    at: float


class Waiting(Effect, frozen=True):
    """Why the calls of a function wait now; empty when they no longer wait. Sent only when it changes."""

    function: str
    why: str


class Tried(Effect, frozen=True):
    """What became of a function on trial: a container of it is `ready`, or it `failed` to start, or there is `no room`
    for one beside the function that serves. Sent once."""

    function: str
    outcome: str
    why: str = ""
    container: str = ""


class Decided(Effect, frozen=True):
    """A decision of scaling, for `why` and for history. Sent only when it changes."""

    function: str
    wanted: int
    have: int
    why: str
