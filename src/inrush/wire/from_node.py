"""What an agent reports to the server: its node, how containers start and end, what ran in them, and what was said."""

from __future__ import annotations

from inrush.wire.batches import PROTOCOL, BatchDecoder
from inrush.wire.resources import Inventory
from inrush.wire.structs import Message


class NodeHello(Message, frozen=True):
    """First message of an agent. `containers` are those it still runs (after a reconnect)."""

    node: str
    inventory: Inventory
    containers: tuple[str, ...] = ()
    protocol: int = PROTOCOL
    pool: str = ""
    """The declared pool that it is one of; empty for none."""


class ContainerReady(Message, frozen=True):
    """Its enter hooks have run. `how` is the tier of the start (`fork`, `snapshot`, `exec`, `process`); `phases_ms`
    its parts in order."""

    container: str
    how: str
    start_ms: float
    phases_ms: tuple[tuple[str, float], ...] = ()
    why: str = ""


class ContainerEnded(Message, frozen=True):
    """`status` is a `Status`; OK is an ordinary end. `payload` (when not empty) is the failure for the inputs that
    wait for the function."""

    container: str
    status: int
    why: str
    payload: bytes = b""


class Ran(Message, frozen=True):
    """Attempts that ended; columns as in `Results`. `spent_s` is how long they ran, together, as the guest measured
    it; negative where it did not."""

    container: str
    call: str
    indexes: tuple[int, ...]
    statuses: tuple[int, ...]
    payloads: tuple[bytes, ...]
    spent_s: float = -1.0


class Returned(Message, frozen=True):
    """Inputs that the container was sent, and has not begun and will not."""

    container: str
    call: str
    indexes: tuple[int, ...]


class Yielded(Message, frozen=True):
    """Items of a generator or pieces of a web response, from item `first` on."""

    container: str
    call: str
    index: int
    first: int
    payloads: tuple[bytes, ...]


class Took(Message, frozen=True):
    """A web app has taken so many bytes more of what it was fed (`frames.FEED_COST_BYTES` more for each piece)."""

    container: str
    call: str
    taken_bytes: int


class ContainerLog(Message, frozen=True):
    container: str
    call: str
    stream: str
    time: float
    text: str


class BuildLine(Message, frozen=True):
    build: str
    kind: str
    text: str


class Built(Message, frozen=True):
    """`code` is empty on success."""

    build: str
    image: str = ""
    python: str = ""
    code: str = ""
    message: str = ""


class FromGuestLink(Message, frozen=True):
    """A frame (a batch of `FromClient`) of the SDK inside a container; the agent vouches for `container`."""

    container: str
    frame: bytes


class ExecOutput(Message, frozen=True):
    """`stream` 1 or 2; `code` ≥ 0 when the command has ended (128 + n for signal n)."""

    exec: str
    stream: int = 1
    data: bytes = b""
    code: int = -1
    error: str = ""


class NodeState(Message, frozen=True):
    """How a node is, whenever that changes: images (`image_key` of their recipes) and snapshots (function id) that it
    holds, and why nothing more should be placed on it (empty: all is well). `drain`: what runs there is to end too."""

    node: str
    holds: tuple[str, ...] = ()
    unfit: str = ""
    drain: bool = False


class NodeNote(Message, frozen=True):
    """Something people should see: why a snapshot could not be taken, a loud warning. `about` is a function id, or
    empty."""

    about: str
    text: str


class NodeHeld(Message, frozen=True):
    """Snapshots and zygotes of the node that containers were forked from hold so much memory; for other containers it
    is not there."""

    node: str
    memory_mib: int


FromNode = (
    NodeHello
    | NodeHeld
    | ContainerReady
    | ContainerEnded
    | Ran
    | Returned
    | Yielded
    | Took
    | ContainerLog
    | BuildLine
    | Built
    | FromGuestLink
    | ExecOutput
    | NodeNote
    | NodeState
)

from_node_decoder: BatchDecoder[FromNode] = BatchDecoder(FromNode)
