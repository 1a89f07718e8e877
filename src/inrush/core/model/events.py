"""What comes into `Cluster.step`: things that happened, in the order in which the shell learned of them.

Events are facts with ids, never payloads: `refs` are opaque objects that the core hands back untouched in
`effects.Resolve` (the journal leaves them out). Events about inputs are columnar, one for many inputs of one call.
"""

from __future__ import annotations

from typing import Any

import msgspec

from inrush.wire import FunctionSpec, Inventory


class Event(msgspec.Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """Base of events; tagged, so that a journal can be read back."""


class FunctionAdded(Event, frozen=True):
    """A function of an app version, or the pool of one parameter set of a class, may take calls from now on. The same
    id again replaces its spec (policies), and keeps its queue."""

    function: str
    app: str
    spec: FunctionSpec
    durable: bool = False
    """Deployed: crash loops back off instead of failing what waits."""


class FunctionRemoved(Event, frozen=True):
    """Its inputs end as cancelled, its containers are stopped with grace (`drain`: first they finish what they run)."""

    function: str
    why: str
    drain: bool = False


class FunctionReplaced(Event, frozen=True):
    """A rolling deploy: queued inputs of `old` move to `new`; `old`'s containers finish what they run and go."""

    old: str
    new: str


class ScaleOverridden(Event, frozen=True):
    function: str
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window_s: float | None = None


class CallArrived(Event, frozen=True):
    """`total` is -1 while unknown. `durable` calls are owned by the server. `caller` is the container that made the
    call and waits for it, if one did. Its first inputs may come with it: `first` … `first + count - 1`."""

    call: str
    function: str
    kind: str
    total: int
    durable: bool = False
    caller: str = ""
    first: int = 0
    count: int = 0


class InputsArrived(Event, frozen=True):
    """Inputs `first` … `first + count - 1` of a call. Those already known are passed over."""

    call: str
    first: int
    count: int


class CallEnded(Event, frozen=True):
    """No more inputs will come: `total` is known now."""

    call: str
    total: int


class CallCancelled(Event, frozen=True):
    call: str
    why: str
    terminate: bool = False


class CallForgotten(Event, frozen=True):
    """Nobody waits for it: cancel what runs, drop the rest, resolve nothing."""

    call: str


class NodeJoined(Event, frozen=True):
    """A new link to an agent. `containers` still run there; those the core does not know are stopped."""

    node: str
    inventory: Inventory
    containers: tuple[str, ...] = ()
    pool: str = ""
    """Of which pool it is a node, if of any that was told of by `PoolJoined`."""


class NodeHeld(Event, frozen=True):
    """Of the node's memory, so much is held by what its containers were forked from."""

    node: str
    memory_mib: int


class NodeLeft(Event, frozen=True):
    node: str
    why: str


class PoolJoined(Event, frozen=True):
    """Nodes may be ordered here, each with this `inventory`; the same id again replaces what was told."""

    pool: str
    inventory: Inventory
    nodes_max: int
    price: float = 1.0
    """Of a node, for an hour; whatever the currency, the same in all pools."""
    node_s: float = 90.0
    """From an order until the node joins; what is measured soon counts more."""
    keep_s: float | None = None
    """How long an empty node is kept; None: as long as one takes to come."""
    nodes_min: int = 0


class NodesFailed(Event, frozen=True):
    """So many of the nodes ordered will not come. For `retry_s` none is ordered there."""

    pool: str
    count: int
    why: str
    retry_s: float = 60.0


class NodeChanged(Event, frozen=True):
    """What a node holds (images by digest, snapshots by function), and why nothing more is to be placed on it (empty:
    it is fit). `drain`: what runs there is to end too."""

    node: str
    holds: tuple[str, ...] = ()
    unfit: str = ""
    drain: bool = False


class ContainerReady(Event, frozen=True):
    container: str
    how: str
    start_ms: float


class ContainerEnded(Event, frozen=True):
    """`status` is a `wire.Status`; OK is an ordinary end. `ref`, when not None, is the failure that waiting inputs
    get if the function cannot start at all."""

    container: str
    status: int
    why: str
    ref: Any = None


class AttemptsEnded(Event, frozen=True):
    """Columns: `indexes[i]` of `call` ended in `container` with `statuses[i]`; `refs[i]` is its payload."""

    container: str
    call: str
    indexes: tuple[int, ...]
    statuses: tuple[int, ...]
    refs: tuple[Any, ...]
    spent_s: float = -1.0
    """How long they ran, together, as their container says; negative when it does not."""


class InputsReturned(Event, frozen=True):
    """Inputs that were sent to `container` and that it has not begun and will not."""

    container: str
    call: str
    indexes: tuple[int, ...]


class Tick(Event, frozen=True):
    """Time passed; sent when a `WakeAt` is due, and about once a second."""


class Restored(Event, frozen=True):
    """First event after a restart: what rows say. Functions, then durable calls with the ranges [a, b) of inputs that
    have no result yet."""

    functions: tuple[FunctionAdded, ...]
    calls: tuple[tuple[CallArrived, tuple[tuple[int, int], ...]], ...]


AnyEvent = (
    FunctionAdded
    | FunctionRemoved
    | FunctionReplaced
    | ScaleOverridden
    | CallArrived
    | InputsArrived
    | CallEnded
    | CallCancelled
    | CallForgotten
    | NodeJoined
    | NodeHeld
    | NodeLeft
    | NodeChanged
    | PoolJoined
    | NodesFailed
    | ContainerReady
    | ContainerEnded
    | AttemptsEnded
    | InputsReturned
    | Tick
    | Restored
)
