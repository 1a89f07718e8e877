"""Reports of an agent to the server: about its node, the start and end of containers, results, logs and builds."""

from __future__ import annotations

from inrush.wire.batches import PROTOCOL, BatchDecoder
from inrush.wire.resources import Inventory
from inrush.wire.structs import Message


class NodeHello(Message, frozen=True):
    """The first message of an agent. After a reconnect, `containers` are those that it still runs."""

    node: str
    inventory: Inventory
    containers: tuple[str, ...] = ()
    protocol: int = PROTOCOL
    pool: str = ""
    """The declared pool to which the node belongs; empty for none."""


class ContainerReady(Message, frozen=True):
    """A container has run its enter hooks and takes inputs. `how` is the tier of its start (`fork`, `snapshot`, `exec`,
    `process`), `phases_ms` are the parts of the start in order, and `why` says what it lacks of what was asked."""

    container: str
    how: str
    start_ms: float
    phases_ms: tuple[tuple[str, float], ...] = ()
    why: str = ""


class ContainerLeaving(Message, frozen=True):
    """Its own code told it to end (SIGTERM): it takes no more inputs, and `ContainerEnded` follows."""

    container: str
    why: str


class ContainerEnded(Message, frozen=True):
    """A container has ended. `status` is a `Status`, OK for an ordinary end. `payload`, if not empty, is the failure
    for inputs that wait for the function."""

    container: str
    status: int
    why: str
    payload: bytes = b""


class Ran(Message, frozen=True):
    """Attempts that ended, in columns as in `Results`. `spent_s` is how long they ran together, as the guest measured
    it; negative if it did not."""

    container: str
    call: str
    indexes: tuple[int, ...]
    statuses: tuple[int, ...]
    payloads: tuple[bytes, ...]
    spent_s: float = -1.0


class Returned(Message, frozen=True):
    """Inputs that a container gives back: it has not begun them, and will not."""

    container: str
    call: str
    indexes: tuple[int, ...]


class Yielded(Message, frozen=True):
    """Items of a generator, or pieces of a web response, from item `first` on."""

    container: str
    call: str
    index: int
    first: int
    payloads: tuple[bytes, ...]


class Took(Message, frozen=True):
    """A web app has taken `taken_bytes` more of its request. Each piece counts `frames.FEED_COST_BYTES` beyond its
    bytes."""

    container: str
    call: str
    taken_bytes: int


class ContainerLog(Message, frozen=True):
    """Output of a container. `call` is empty for output that belongs to no call; `time` is in seconds since the
    epoch."""

    container: str
    call: str
    stream: str
    time: float
    text: str


class BuildLine(Message, frozen=True):
    """Progress of an image build, with `kind` and `text` as in `Progress`."""

    build: str
    kind: str
    text: str


class Built(Message, frozen=True):
    """An image build has ended. On failure `code` names a class of `errors`; on success it is empty."""

    build: str
    image: str = ""
    python: str = ""
    code: str = ""
    message: str = ""


class FromGuestLink(Message, frozen=True):
    """A frame (a batch of `FromClient`) of the SDK inside a container. The agent sets `container`, so that the server
    can rely on it."""

    container: str
    frame: bytes


class ExecOutput(Message, frozen=True):
    """Output of a command: `stream` is 1 or 2. When the command has ended, `code` is at least 0 (128 + n for signal n).
    `error` says why it could not be started."""

    exec: str
    stream: int = 1
    data: bytes = b""
    code: int = -1
    error: str = ""


class NodeState(Message, frozen=True):
    """The state of a node, sent whenever it changes. `holds` are the images (`image_key` of their recipes) and
    snapshots (function ids) that it holds. `unfit` says why no more containers should be placed on it; empty if they
    may. `drain` asks to end those that run there too."""

    node: str
    holds: tuple[str, ...] = ()
    unfit: str = ""
    drain: bool = False


class NodeContainers(Message, frozen=True):
    """The containers that have not ended, in answer to `ListContainers`. The ends of all others have been reported
    before it."""

    node: str
    number: int
    containers: tuple[str, ...]


class NodeNote(Message, frozen=True):
    """A warning for people, such as why a snapshot could not be taken. `about` is a function id, or empty."""

    about: str
    text: str


class NodeHeld(Message, frozen=True):
    """The memory that the node's zygotes and snapshots hold, which placing does not give to containers."""

    node: str
    memory_mib: int


class Use(Message, frozen=True):
    """The cores that a container of a function would keep busy on an idle machine: one that runs inputs, and one that
    starts; and the seconds of a core that its longest start has taken so far. Negative where none was seen."""

    function: str
    serving: float = -1.0
    starting: float = -1.0
    start_s: float = -1.0


class NodeCpu(Message, frozen=True):
    """What containers of the functions at work on a node use of its processors; sent when it changes. An empty one says
    that the node measures it."""

    node: str
    uses: tuple[Use, ...] = ()


FromNode = (
    NodeHello
    | NodeHeld
    | ContainerReady
    | ContainerLeaving
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
    | NodeContainers
    | NodeCpu
)

from_node_decoder: BatchDecoder[FromNode] = BatchDecoder(FromNode)
