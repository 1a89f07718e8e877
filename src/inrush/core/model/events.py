"""What `Cluster.step` takes: things that happened, in the order in which the shell learned of them.

Events are facts with ids and carry no payloads: `refs` are opaque objects that the core hands back in
`effects.Resolve`, and the journal leaves them out. An event about inputs covers many inputs of one call, in columns.
"""

from __future__ import annotations

from typing import Any

import msgspec

from inrush.wire import FunctionSpec, Inventory


class Event(msgspec.Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """Base of all events. Each has a tag, so that a journal can be read back."""


class FunctionAdded(Event, frozen=True):
    """A function of an app version, or a variant of a class, may take calls from now on. The same id again replaces its
    spec (policies) and keeps its queue."""

    function: str
    app: str
    spec: FunctionSpec
    durable: bool = False
    """True for a deployed function: a crash loop slows its starts down instead of failing what waits."""
    trial: str = ""
    """`beside` or `alone`: one container of it is started, and `effects.Tried` tells how that went. `beside` the
    function whose place it is to take it may find no room, which is told too; `alone` it waits for room."""


class FunctionRemoved(Event, frozen=True):
    """A function takes no more calls: its inputs end as cancelled, and its containers stop with grace; with `drain`
    they first finish what they run."""

    function: str
    why: str
    drain: bool = False


class FunctionReplaced(Event, frozen=True):
    """A rolling deploy: queued inputs of `old` move to `new`, and containers of `old` finish what they run and stop."""

    old: str
    new: str


class ScaleOverridden(Event, frozen=True):
    function: str
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window_s: float | None = None


class CallArrived(Event, frozen=True):
    """A call began. `total` is -1 while its number of inputs is unknown. The server owns `durable` calls. `caller` is
    the container that made the call and waits for it, if one did. The first inputs may come with it: `first` … `first +
    count - 1`."""

    call: str
    function: str
    kind: str
    total: int
    durable: bool = False
    caller: str = ""
    first: int = 0
    count: int = 0


class InputsArrived(Event, frozen=True):
    """Inputs `first` … `first + count - 1` of a call arrived. Inputs that are known already are passed over."""

    call: str
    first: int
    count: int


class CallEnded(Event, frozen=True):
    """A call gets no more inputs, so its `total` is known now."""

    call: str
    total: int


class CallCancelled(Event, frozen=True):
    call: str
    why: str
    terminate: bool = False


class CallForgotten(Event, frozen=True):
    """Nobody waits for a call: what runs is cancelled, and nothing is resolved."""

    call: str


class NodeJoined(Event, frozen=True):
    """An agent has a new link. `containers` still run there; the core has those stopped that it does not know."""

    node: str
    inventory: Inventory
    containers: tuple[str, ...] = ()
    pool: str = ""
    """The pool that the node belongs to, as told by `PoolJoined`; empty for none."""


class NodeHeld(Event, frozen=True):
    """Templates on a node hold this much of its memory."""

    node: str
    memory_mib: int


class CpuUsed(Event, frozen=True):
    """A node measured what containers use of its processors: for each function the cores that one would keep busy on an
    idle machine while it serves and while it starts, and the seconds of a core that a start has taken; negative where
    nothing was seen. Without functions it says that the node measures."""

    node: str
    uses: tuple[tuple[str, float, float, float], ...] = ()


class NodeLeft(Event, frozen=True):
    node: str
    why: str


class PoolJoined(Event, frozen=True):
    """Nodes may be ordered from a pool, each with this `inventory`. The same id again replaces what was told."""

    pool: str
    inventory: Inventory
    nodes_max: int
    price: float = 1.0
    """The price of a node for an hour, in one currency for all pools."""
    node_s: float = 90.0
    """The seconds from an order until the node joins. Measured times soon count more than this."""
    keep_s: float | None = None
    """How long an empty node is kept; None for as long as a node takes to come."""
    nodes_min: int = 0


class NodesFailed(Event, frozen=True):
    """So many of the ordered nodes will not come. For `retry_s` none is ordered from that pool."""

    pool: str
    count: int
    why: str
    retry_s: float = 60.0


class NodeChanged(Event, frozen=True):
    """A node reports what it holds (images by digest, snapshots by function), and why nothing more may be placed on it;
    an empty reason means that it is fit. With `drain` its containers finish what they run and stop."""

    node: str
    holds: tuple[str, ...] = ()
    unfit: str = ""
    drain: bool = False


class NodeContainers(Event, frozen=True):
    """A node's answer to `effects.ListContainers`: the containers that have not ended there. It has reported all starts
    and ends that it knows of before this event."""

    node: str
    number: int
    containers: tuple[str, ...] = ()


class ContainerReady(Event, frozen=True):
    container: str
    how: str
    start_ms: float


class ContainerEnded(Event, frozen=True):
    """A container has ended. `status` is a `wire.Status`, and OK is an ordinary end. Waiting inputs get `ref` as their
    failure if the function cannot start at all."""

    container: str
    status: int
    why: str
    ref: Any = None


class ContainerLeaving(Event, frozen=True):
    """A container ends by itself, such as after a SIGTERM that its own code sent: it takes no more inputs, and finishes
    what it runs."""

    container: str
    why: str


class ContainerDrained(Event, frozen=True):
    """Somebody wants a container gone: it takes no more inputs, and stops when it has finished what it runs."""

    container: str
    why: str


class AttemptsEnded(Event, frozen=True):
    """Inputs of a call ended in a container: `indexes[i]` with `statuses[i]` and the payload `refs[i]`."""

    container: str
    call: str
    indexes: tuple[int, ...]
    statuses: tuple[int, ...]
    refs: tuple[Any, ...]
    spent_s: float = -1.0
    """The seconds that they ran together, as their container reports; negative when it does not."""


class InputsReturned(Event, frozen=True):
    """A container gave back inputs that it had not begun."""

    container: str
    call: str
    indexes: tuple[int, ...]


class Tick(Event, frozen=True):
    """Time has passed: a `WakeAt` is due, or about a second has gone by."""


class Restored(Event, frozen=True):
    """The first event after a restart, from the database: functions, then durable calls with the ranges [a, b) of
    inputs that have no result yet."""

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
    | CpuUsed
    | NodeLeft
    | NodeChanged
    | NodeContainers
    | PoolJoined
    | NodesFailed
    | ContainerReady
    | ContainerLeaving
    | ContainerDrained
    | ContainerEnded
    | AttemptsEnded
    | InputsReturned
    | Tick
    | Restored
)
