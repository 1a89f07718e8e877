"""Orders of the server to an agent: start and stop containers, run inputs in them, build images, execute commands."""

from __future__ import annotations

from inrush.wire.batches import BatchDecoder
from inrush.wire.functions import MAIN, FunctionSpec, app_key
from inrush.wire.images import Recipe
from inrush.wire.resources import Gpu
from inrush.wire.structs import Message


class StartContainer(Message, frozen=True):
    """Start a container. `env` are the function's variables, with its secrets resolved. `gpus` are device indexes on
    the node. `environment`, here and in other orders, is the key of an environment (`environment_name`)."""

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
    """The container's number in a cluster of `spec.cluster_size` containers, from 0 on."""
    cluster: str = ""
    """The id of the first container of its cluster; empty if it is in none."""
    cards: tuple[Gpu, ...] = ()
    """The GPUs that `gpus` stand for on a simulated node, since the agent that acts for it does not have them; else
    empty."""
    environment: str = MAIN

    @property
    def app_key(self) -> str:
        """The key of its app, by which uid ranges, templates and caches are kept."""
        return app_key(self.environment, self.app)


class Prepare(Message, frozen=True):
    """Prepare for containers of this function, which may be needed soon: its layers, its zygote, and its snapshot if it
    asks for one."""

    function: str
    app: str
    spec: FunctionSpec
    env: tuple[tuple[str, str], ...] = ()
    parameters: bytes = b""
    environment: str = MAIN

    @property
    def app_key(self) -> str:
        """The key of its app, by which uid ranges, templates and caches are kept."""
        return app_key(self.environment, self.app)


class StopContainer(Message, frozen=True):
    """Stop a container: it takes no new inputs, running ones may end within `grace_s`, exit hooks have 30 s, and then
    it is killed; with `kill`, at once. `broke` says how its guest broke the protocol; it then ends as crashed, for that
    reason."""

    container: str
    grace_s: float = 30.0
    kill: bool = False
    broke: str = ""


class Run(Message, frozen=True):
    """Run inputs of one call in a container. The timeout of an attempt begins when the guest begins to run it."""

    container: str
    call: str
    method: str
    kind: str
    indexes: tuple[int, ...]
    payloads: tuple[bytes, ...]


class CancelRun(Message, frozen=True):
    """Cancel inputs that were sent to a container."""

    container: str
    call: str
    indexes: tuple[int, ...]


class Recall(Message, frozen=True):
    """Have a container give back the inputs that it has not begun, in a `Returned` for each call."""

    container: str


class ListContainers(Message, frozen=True):
    """Which containers does the node have? Answered by `NodeContainers` with the same number, once all orders that came
    before are taken."""

    node: str
    number: int


class GrantRun(Message, frozen=True):
    """Allow a generator to send `credit` more items, or a web response so many more pieces."""

    container: str
    call: str
    index: int
    credit: int


class Feed(Message, frozen=True):
    """Pass on a further piece of a web request's body; `last` ends the body. With `gone`, its client has left."""

    container: str
    call: str
    data: bytes
    last: bool = False
    gone: bool = False


class Build(Message, frozen=True):
    """Build an image on this node. The agent answers with `BuildLine`s and one `Built`."""

    build: str
    recipe: Recipe
    app: str
    env: tuple[tuple[str, str], ...] = ()
    force: bool = False
    environment: str = MAIN

    @property
    def app_key(self) -> str:
        """The key of its app, by which uid ranges, templates and caches are kept."""
        return app_key(self.environment, self.app)


class ToGuestLink(Message, frozen=True):
    """Pass on a frame (a batch of `ToClient`) to the SDK inside a container."""

    container: str
    frame: bytes


class ExecIn(Message, frozen=True):
    """Execute a command in a running container. `ExecOutput`s carry its output."""

    exec: str
    container: str
    argv: tuple[str, ...]
    tty: bool = False
    rows: int = 24
    columns: int = 80


class ExecInput(Message, frozen=True):
    """Write to a command's standard input; `close` ends that. With `rows` above 0, resize its terminal. `gone` says
    that its person has gone: its input ends, or its terminal hangs up."""

    exec: str
    data: bytes = b""
    close: bool = False
    rows: int = 0
    columns: int = 0
    gone: bool = False


ToNode = (
    StartContainer
    | Prepare
    | StopContainer
    | Run
    | CancelRun
    | Recall
    | ListContainers
    | GrantRun
    | Feed
    | Build
    | ToGuestLink
    | ExecIn
    | ExecInput
)

to_node_decoder: BatchDecoder[ToNode] = BatchDecoder(ToNode)
