"""The one schema: what is said between client, server, agent and (as JSON) guest.

Specs describe what a user asked for; messages are the unions at the end of each section. Fields are only ever added,
with defaults, so that neighbours of different age understand each other.

A link carries *batches*: one frame is a msgpack list of messages (`encode`, `*_decoder`). On a unix socket a frame is
preceded by its length (`FRAME`); on a WebSocket one binary message is one frame; between server and embedded agent
the message objects are handed over as they are.

Payloads are opaque bytes. Their first byte is the codec (`Codec`), and nobody but client and guest looks behind it.
Messages about inputs are columnar (one message, many inputs of one call), because a message an input costs 50 µs and
a row of a column costs one.
"""

from __future__ import annotations

import enum
import functools
import struct
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

PROTOCOL = 1
"""Raised when neighbours of different versions can no longer understand each other."""

FRAME = struct.Struct("!I")
"""Length prefix of a frame on a byte stream; the length excludes these four bytes."""

INLINE_LIMIT_BYTES = 256 * 1024
"""A larger payload travels as a blob, and the message carries its id."""

FRAME_LIMIT_BYTES = 64 * 1024 * 1024
"""A longer frame is a protocol error, and the link is closed."""


class Codec(bytes, enum.Enum):
    """First byte of a payload."""

    PICKLE = b"P"
    """cloudpickle: `(args, kwargs)` of an input, the value of a result."""
    JSON = b"J"
    """UTF-8 JSON: system errors (`SystemFailure`), results for callers that do not speak pickle."""
    ASGI = b"A"
    """A web request (`{"scope": …}` JSON, newline, first body bytes) or an ASGI message back (JSON, newline, body
    bytes)."""
    PARTS = b"O"
    """As PICKLE, with the large buffers outside of it (`parts`)."""
    BLOB = b"B"
    """UTF-8 JSON `{"id": …, "bytes": n}`: the payload, with its own codec byte, is that blob."""


class Status(enum.IntEnum):
    """How an input, or one attempt at it, ended."""

    OK = 0
    ERROR = 1
    """User code raised: payload is a pickle of `(exception, traceback text)`, or JSON `SystemFailure` where it does
    not pickle."""
    TIMEOUT = 2
    CRASHED = 3
    """The container died under it."""
    OUT_OF_MEMORY = 4
    STARTUP = 5
    """The container could not start."""
    CANCELLED = 6
    LOST = 7
    """The node or the link went away; says nothing about the input, so it costs no retry."""
    INTERNAL = 8


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of specs: immutable, compared by value."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag=True, array_like=True):
    """Base of messages: positional on the wire, tagged by class name."""


# ── specs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class GpuRequest(Struct, frozen=True):
    """One alternative of a `gpu=` parameter. `type` is upper case, `"ANY"` takes whatever there is."""

    type: str
    count: int = 1
    share: float = 1.0
    """Below 1: that part of one device, which others have too. They take turns on it; its memory is not divided."""


class Resources(Struct, frozen=True):
    """What one container asks of its node. Units last; None means no limit of its own."""

    cpu: float = 0.125
    cpu_limit: float | None = None
    memory_mib: int = 64
    memory_limit_mib: int | None = None
    disk_mib: int | None = None
    gpu: tuple[GpuRequest, ...] = ()
    """In order of preference; the first that fits is taken."""


class ScalePolicy(Struct, frozen=True):
    """How many containers a function may have, and how many inputs each takes."""

    min_containers: int = 0
    max_containers: int | None = None
    buffer_containers: int = 0
    scaledown_window_s: float = 60.0
    max_inputs: int = 1
    """Inputs at once in one container."""
    target_inputs: int | None = None
    """What scaling aims at; None means `max_inputs`."""
    single_use: bool = False
    """A container is let go after its first input."""


class Retries(Struct, frozen=True):
    """The n-th retry waits `min(initial_delay_s * backoff_coefficient ** (n - 1), max_delay_s)`."""

    max_retries: int = 0
    backoff_coefficient: float = 2.0
    initial_delay_s: float = 1.0
    max_delay_s: float = 60.0


class Step(Struct, frozen=True):
    """One step of a recipe. `kind` names it (`from`, `pip`, `apt`, `run`, `function`, `copy`, `env`, `workdir`),
    `args` are its parameters in a fixed order, `files` the content digests of local files it reads (blobs, by path in
    the step)."""

    kind: str
    args: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    """Names (never values) of the environment variables that the step may read."""
    force: bool = False


class Recipe(Struct, frozen=True):
    """An image: its base and its steps, in order. `base` is `"host"` or `"debian_slim"`."""

    base: str = "host"
    python: str = ""
    """Minor version, such as "3.11"; empty for the node's own."""
    steps: tuple[Step, ...] = ()


class Parameter(Struct, frozen=True):
    """One `inrush.parameter()` of a class. `type` is one of str, int, bool, bytes."""

    name: str
    type: str
    required: bool = True


class Web(Struct, frozen=True):
    """How a function is served over HTTP. `kind` is `asgi` (function returns an ASGI app), `wsgi`, or `fastapi`
    (function is the handler)."""

    kind: str
    label: str = ""
    method: str = "GET"
    docs: bool = False


class FunctionSpec(Struct, frozen=True):
    """Everything needed to run one function, or one class with all its methods.

    `source` and `mounts` are digests of tar blobs, unpacked at `/` of the container, above the image. `module` is
    imported by that name with `/root` first on `sys.path`; where `pickled` is set (notebooks, `serialized=True`) it
    is the blob id of a cloudpickle of the function or class instead.
    """

    name: str
    """Unique in its app: the function's name, or the class's."""
    module: str = ""
    qualname: str = ""
    pickled: str = ""
    is_class: bool = False
    methods: tuple[str, ...] = ()
    generators: tuple[str, ...] = ()
    """Methods (or `""` for a plain function) that yield."""
    parameters: tuple[Parameter, ...] = ()
    image: Recipe = Recipe()
    source: str = ""
    mounts: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    """Ids of Secrets, later wins; resolved by the server when a container starts."""
    resources: Resources = Resources()
    scale: ScalePolicy = ScalePolicy()
    retries: Retries = Retries()
    timeout_s: float = 300.0
    startup_timeout_s: float = 300.0
    snapshot: bool = False
    has_snap_hooks: bool = False
    block_network: bool = False
    restrict_access: bool = False
    """No SDK calls from inside."""
    web: tuple[tuple[str, Web], ...] = ()
    """Endpoints: method name (`""` for a plain function) and how it is served."""
    cloud: str = ""
    region: tuple[str, ...] = ()
    nonpreemptible: bool = False
    priority: int = 0
    node_labels: tuple[tuple[str, str], ...] = ()
    """Labels that a node must have."""
    cluster_size: int = 0
    """Above 1: each input runs in so many containers at once, all or none of them; the first one's result counts."""


class AppSpec(Struct, frozen=True):
    """What `run` and `deploy` send: an app whole, replaced atomically."""

    name: str
    functions: tuple[FunctionSpec, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()


class SystemFailure(Struct, frozen=True):
    """JSON payload of a result that is not user code's: `code` is a class name of `errors`. For a user exception that
    does not pickle, `type` and `traceback` say what it was."""

    code: str
    message: str
    type: str = ""
    traceback: str = ""


# ── client ⇄ server: asking ──────────────────────────────────────────────────────────────────────────────────────────
#
# `Ask(rid, body)` is answered by `Answer(rid, result)` or `Refused(rid, code, message)`. One client may have many asks
# in flight; answers come in any order.


class PutBlob(Message, frozen=True):
    """Result: the blob's id. Without `digest` the id is random. With `digest` (sha256 hex of `data`) the id is
    `sha256-<digest>`, and the content is checked. Larger blobs than a frame go in parts: `PutBlob` with `part` > 0
    appends to `upload`."""

    data: bytes
    digest: str = ""
    upload: str = ""
    last: bool = True


class HasBlobs(Message, frozen=True):
    """Result: list of those ids that the server does not have."""

    ids: tuple[str, ...]


class GetBlob(Message, frozen=True):
    """Result: up to `limit` bytes from `offset` (bytes)."""

    id: str
    offset: int = 0
    limit: int = 8 * 1024 * 1024


class BuildImage(Message, frozen=True):
    """Builds what is missing; result `{"image": id, "python": "3.11"}`. Progress arrives as `Progress(rid, …)`."""

    recipe: Recipe
    app: str
    secrets: tuple[str, ...] = ()
    force: bool = False


class StartApp(Message, frozen=True):
    """Registers an app, ephemeral (it ends with this client, unless `detach`) or deployed (it stays; a new version
    replaces the old one). Result: `{"app": id, "version": id, "functions": {name: id}, "urls": {function or
    function.method: url}}`."""

    spec: AppSpec
    deploy: bool = False
    detach: bool = False
    strategy: str = "rolling"


class CheckApp(Message, frozen=True):
    """Could these functions ever run here? Asked before images are built and code is sent, so only names, resources and
    where they may run need be told. Result: null; refused as `StartApp` would be."""

    spec: AppSpec


class StopApp(Message, frozen=True):
    """Ends an app by id or name: its calls are cancelled, its containers get their grace. Result: null."""

    app: str


class FindFunction(Message, frozen=True):
    """Result: `{"function": id, "spec": FunctionSpec, "urls": {method: url}}` of a function or class of a deployed
    app (or of the caller's own app)."""

    app: str
    name: str


class BindClass(Message, frozen=True):
    """The pool of a class for one set of parameters (canonical JSON object, sorted keys, bytes as {"b64": …});
    result: a function id. The same set gives the same id."""

    function: str
    parameters: bytes


class OverrideScale(Message, frozen=True):
    """Live override of a function's scale policy, until the next deploy; None leaves a field as it is. Result: null."""

    function: str
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window_s: float | None = None


class FunctionStats(Message, frozen=True):
    """Result: `{"backlog", "containers", "running_inputs", "input_headroom"}`."""

    function: str


class PutSecret(Message, frozen=True):
    """Creates or replaces. Without a `name` the secret is anonymous and goes with the app that uses it. Result: its
    id."""

    values: tuple[tuple[str, str], ...]
    name: str = ""
    overwrite: bool = True


class FindSecret(Message, frozen=True):
    """Result: id of a named secret; `required` keys must be in it."""

    name: str
    required: tuple[str, ...] = ()


class OpenDict(Message, frozen=True):
    """Result: id of a named Dict."""

    name: str
    create: bool = False


class DictOp(Message, frozen=True):
    """One operation on a Dict. Keys and values are opaque bytes. `op`, with its arguments and result: get(keys[0]) →
    bytes | null; put(pairs, if_absent) → bool (was it put); pop(keys[0]) → bytes | null; contains(keys[0]) → bool;
    len() → int; items(cursor in keys[0] or none) → {"pairs": [[key, value], …], "next": bytes | null}; clear() →
    null. Writes are acknowledged after their commit."""

    dict: str
    op: str
    keys: tuple[bytes, ...] = ()
    pairs: tuple[tuple[bytes, bytes], ...] = ()
    if_absent: bool = False


class DeleteDict(Message, frozen=True):
    """Result: null."""

    name: str


class ListDicts(Message, frozen=True):
    """Result: `[{"name", "items", "created"}, …]` of all named Dicts; `created` in seconds since the epoch."""


class FollowLogs(Message, frozen=True):
    """Lines of an app (id or name) as `Log` messages, tagged with `rid`, until `Unfollow(rid)`. With `backlog` the
    last n lines first."""

    app: str
    backlog: int = 0
    follow: bool = True


class FollowStates(Message, frozen=True):
    """What is going on in an app, for a progress display: `State` messages tagged with `rid`, until `Unfollow(rid)`."""

    app: str


class FindCall(Message, frozen=True):
    """Result: `{"function": id, "kind": str, "inputs": n, "done": n}` of a durable call."""

    call: str


Request = (
    PutBlob
    | HasBlobs
    | GetBlob
    | BuildImage
    | StartApp
    | CheckApp
    | StopApp
    | FindFunction
    | BindClass
    | OverrideScale
    | FunctionStats
    | PutSecret
    | FindSecret
    | OpenDict
    | DictOp
    | DeleteDict
    | ListDicts
    | FollowLogs
    | FollowStates
    | FindCall
)

# ── client ⇄ server: calls ───────────────────────────────────────────────────────────────────────────────────────────


class Hello(Message, frozen=True):
    """First message of a client. `client` is made by the client and stays the same when it connects again."""

    client: str
    token: str = ""
    protocol: int = PROTOCOL
    version: str = ""


class Ask(Message, frozen=True):
    rid: int
    body: Request


class Unfollow(Message, frozen=True):
    rid: int


class StartCall(Message, frozen=True):
    """A call, with its first inputs. `kind`: `remote` (one input), `map`, `gen` (one input that yields), `spawn`
    (durable: owned by the server from the `Accepted` on). `total` is -1 while the client does not know it yet
    (`EndInputs` says it). Sending the same call again, after a reconnect, is harmless: inputs are known by (call,
    index)."""

    call: str
    function: str
    kind: str = "remote"
    method: str = ""
    payloads: tuple[bytes, ...] = ()
    first: int = 0
    total: int = 1
    parent: str = ""


class Inputs(Message, frozen=True):
    """More inputs of a map: indexes `first`, `first + 1`, …"""

    call: str
    first: int
    payloads: tuple[bytes, ...]


class EndInputs(Message, frozen=True):
    call: str
    total: int


class ResumeCall(Message, frozen=True):
    """After a reconnect: `have` are indexes (ranges [a, b)) whose results the client holds already. The server
    answers `Resend` with what it lost, and sends the results that it still holds."""

    call: str
    have: tuple[tuple[int, int], ...] = ()


class AwaitCall(Message, frozen=True):
    """Results of a durable call, of the inputs `first` … `first + count - 1`, as `Results`; all from `first` on where
    `count` is 0. The client may not be the one who spawned it. Who wants many asks for them bit by bit, as it takes
    them."""

    call: str
    first: int = 0
    count: int = 0


class CancelCall(Message, frozen=True):
    """Queued inputs are dropped, running ones cancelled; each ends with `CANCELLED`. `terminate` also ends their
    containers."""

    call: str
    terminate: bool = False


class ForgetCall(Message, frozen=True):
    """The client has all it wants of a call it owns (or leaves a durable one alone): the server may drop it. Cancels
    what still runs."""

    call: str


class Grant(Message, frozen=True):
    """The consumer of a generator takes `credit` more items."""

    call: str
    credit: int


FromClient = (
    Hello | Ask | Unfollow | StartCall | Inputs | EndInputs | ResumeCall | AwaitCall | CancelCall | ForgetCall | Grant
)


class Welcome(Message, frozen=True):
    """The server takes the client. `boot` changes with each start of the server: a client that sees a new one resumes
    its calls."""

    boot: str
    version: str = ""


class Rejected(Message, frozen=True):
    """The server does not take the client; the link is closed after it."""

    code: str
    message: str


class Answer(Message, frozen=True):
    rid: int
    result: Any = None


class Refused(Message, frozen=True):
    rid: int
    code: str
    message: str


class Progress(Message, frozen=True):
    """Of an ask that takes long (an image build): `kind` is `step` (text: its title), `line` (a line of output),
    `done`, `cached`."""

    rid: int
    kind: str
    text: str


class Log(Message, frozen=True):
    """`stream` is `stdout`, `stderr`, `system` (ours) or `end` (how the container ended). `time` is in seconds since
    the epoch."""

    rid: int
    time: float
    container: str
    function: str
    call: str
    stream: str
    text: str


class State(Message, frozen=True):
    """`kind`: `container` (subject: its id, state: its new state) or `waiting` (subject: a function's name; why: what
    its calls wait for)."""

    rid: int
    kind: str
    subject: str
    state: str
    why: str = ""


class Accepted(Message, frozen=True):
    """The call is known to the server; a durable one is committed. `window`: how many inputs may be without a result
    at once."""

    call: str
    window: int


class CallRefused(Message, frozen=True):
    """The call (all of it) cannot be: unknown function, queue full, and so on. Final."""

    call: str
    code: str
    message: str


class Results(Message, frozen=True):
    """`indexes`, `statuses` and `payloads` are columns. A status other than OK is final too: retries are over."""

    call: str
    indexes: tuple[int, ...]
    statuses: tuple[int, ...]
    payloads: tuple[bytes, ...]


class Items(Message, frozen=True):
    """What a generator yielded, from item `first` on; its end is a `Results`."""

    call: str
    first: int
    payloads: tuple[bytes, ...]


class Resend(Message, frozen=True):
    """The server does not know this call, or not these inputs of it (ranges [a, b)): send `StartCall` and them
    again."""

    call: str
    unknown: bool = False
    ranges: tuple[tuple[int, int], ...] = ()


ToClient = (
    Welcome | Rejected | Answer | Refused | Progress | Log | State | Accepted | CallRefused | Results | Items | Resend
)

# ── server ⇄ agent ───────────────────────────────────────────────────────────────────────────────────────────────────


class Gpu(Struct, frozen=True):
    """One device of a node. `declared` ones stand for a card that is not there: no device goes into the container."""

    type: str
    index: int
    memory_mib: int = 0
    declared: bool = False


class Inventory(Struct, frozen=True):
    """What a node has to give."""

    cpu: float
    memory_mib: int
    gpus: tuple[Gpu, ...] = ()
    cloud: str = ""
    region: str = ""
    price: float = 0.0
    """Of an hour, in any unit that all nodes share."""
    labels: tuple[tuple[str, str], ...] = ()
    cpu_overcommit: float = 1.0
    """Containers may ask for so many times its cpu, together."""


class NodeHello(Message, frozen=True):
    """First message of an agent. `containers` are those it still runs (after a reconnect)."""

    node: str
    inventory: Inventory
    containers: tuple[str, ...] = ()
    protocol: int = PROTOCOL


class StartContainer(Message, frozen=True):
    """`env` holds the function's environment with its secrets resolved. `gpus` are device indexes on the node."""

    container: str
    function: str
    app: str
    spec: FunctionSpec
    env: tuple[tuple[str, str], ...] = ()
    gpus: tuple[int, ...] = ()
    gpu_type: str = ""
    parameters: bytes = b""
    gpu_share: float = 1.0
    rank: int = 0
    """Its number in a cluster of `spec.cluster_size` containers."""
    cluster: str = ""
    """The first container of its cluster, if it is in one."""


class Prepare(Message, frozen=True):
    """Containers of this function may be wanted soon: have its layers, its zygote and (if it asks for one) its
    snapshot ready."""

    function: str
    app: str
    spec: FunctionSpec
    env: tuple[tuple[str, str], ...] = ()
    parameters: bytes = b""


class StopContainer(Message, frozen=True):
    """No new inputs; running ones may end within `grace_s`, then exit hooks have their 30 s, then it is killed.
    `kill`: at once."""

    container: str
    grace_s: float = 30.0
    kill: bool = False


class Run(Message, frozen=True):
    """Inputs of one call for one container. The attempt's clock starts when the guest takes it."""

    container: str
    call: str
    method: str
    kind: str
    indexes: tuple[int, ...]
    payloads: tuple[bytes, ...]


class CancelRun(Message, frozen=True):
    container: str
    call: str
    indexes: tuple[int, ...]


class Recall(Message, frozen=True):
    """The container gives back the inputs that it has not begun; answered by `Returned`, one a call."""

    container: str


class GrantRun(Message, frozen=True):
    """More credit for a generator's items."""

    container: str
    call: str
    index: int
    credit: int


class Feed(Message, frozen=True):
    """A further piece of a web request's body; `last` ends it. An empty `last` piece is the client's disconnect when
    `gone`."""

    container: str
    call: str
    data: bytes
    last: bool = False
    gone: bool = False


class Build(Message, frozen=True):
    """Build an image on this node; answered by `BuildLine`s and one `Built`."""

    build: str
    recipe: Recipe
    app: str
    env: tuple[tuple[str, str], ...] = ()
    force: bool = False


class ToGuestLink(Message, frozen=True):
    """Bytes of a frame (a batch of `ToClient`) for the SDK inside a container."""

    container: str
    frame: bytes


class ExecIn(Message, frozen=True):
    """Run a command in a running container, or (with `spec`) in a fresh one of that function: `shell`. Streams by
    `ExecOutput`."""

    exec: str
    container: str
    argv: tuple[str, ...]
    tty: bool = False
    rows: int = 24
    columns: int = 80
    spec: FunctionSpec | None = None
    app: str = ""
    env: tuple[tuple[str, str], ...] = ()


class ExecInput(Message, frozen=True):
    """Bytes for its standard input; `close` ends it; rows > 0 resizes the terminal."""

    exec: str
    data: bytes = b""
    close: bool = False
    rows: int = 0
    columns: int = 0


ToNode = (
    StartContainer
    | Prepare
    | StopContainer
    | Run
    | CancelRun
    | Recall
    | GrantRun
    | Feed
    | Build
    | ToGuestLink
    | ExecIn
    | ExecInput
)


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
    | ContainerLog
    | BuildLine
    | Built
    | FromGuestLink
    | ExecOutput
    | NodeNote
    | NodeState
)

# ── codecs ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_encoder = msgspec.msgpack.Encoder()


class BatchDecoder(Generic[T]):
    """`decode` reads batches of one union. It is made when it is first used: reading all those types takes longer than
    the rest of this module."""

    def __init__(self, union: Any) -> None:
        self._union = union

    @functools.cached_property
    def decode(self) -> Callable[[bytes | memoryview], list[T]]:
        of: Any = list[self._union]  # type: ignore[name-defined]
        return msgspec.msgpack.Decoder(of).decode


from_client_decoder: BatchDecoder[FromClient] = BatchDecoder(FromClient)
to_client_decoder: BatchDecoder[ToClient] = BatchDecoder(ToClient)
to_node_decoder: BatchDecoder[ToNode] = BatchDecoder(ToNode)
from_node_decoder: BatchDecoder[FromNode] = BatchDecoder(FromNode)


def encode(batch: list[Any]) -> bytes:
    """One frame's body: a batch of messages of one union."""
    return _encoder.encode(batch)


def system_failure(code: str, message: str, type: str = "", traceback: str = "") -> bytes:
    """The payload of a result that ended by us and not by user code."""
    return Codec.JSON.value + msgspec.json.encode(
        SystemFailure(code=code, message=message, type=type, traceback=traceback)
    )
