"""What the server tells an agent to do on its node: start and stop containers, run inputs in them, build, execute."""

from __future__ import annotations

from inrush.wire.batches import BatchDecoder
from inrush.wire.functions import MAIN, FunctionSpec, app_key
from inrush.wire.images import Recipe
from inrush.wire.resources import Gpu
from inrush.wire.structs import Message


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
    cards: tuple[Gpu, ...] = ()
    """What `gpus` stand for on a simulated node, whose cards the agent that acts for it does not have; else empty."""
    environment: str = MAIN

    @property
    def app_key(self) -> str:
        """Whose uid range, templates and caches it has."""
        return app_key(self.environment, self.app)


class Prepare(Message, frozen=True):
    """Containers of this function may be wanted soon: have its layers, its zygote and (if it asks for one) its
    snapshot ready."""

    function: str
    app: str
    spec: FunctionSpec
    env: tuple[tuple[str, str], ...] = ()
    parameters: bytes = b""
    environment: str = MAIN

    @property
    def app_key(self) -> str:
        """Whose uid range, templates and caches it has."""
        return app_key(self.environment, self.app)


class StopContainer(Message, frozen=True):
    """No new inputs; running ones may end within `grace_s`, then exit hooks have their 30 s, then it is killed.
    `kill`: at once. `broke` says what its guest did wrong: then it ends by that, as having crashed."""

    container: str
    grace_s: float = 30.0
    kill: bool = False
    broke: str = ""


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
    environment: str = MAIN

    @property
    def app_key(self) -> str:
        """Whose uid range, templates and caches it has."""
        return app_key(self.environment, self.app)


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
    environment: str = MAIN

    @property
    def app_key(self) -> str:
        """Whose uid range, templates and caches it has."""
        return app_key(self.environment, self.app)


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

to_node_decoder: BatchDecoder[ToNode] = BatchDecoder(ToNode)
