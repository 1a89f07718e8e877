"""The structs that the API takes and returns. The JSON on the wire and the OpenAPI description are both made from them.
Times are in seconds since the epoch, and 0 for what has not happened.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from inrush.wire.structs import Amount, Quantity


class Body(msgspec.Struct, kw_only=True):
    """The base of all structs of the API."""


class Problem(Body):
    """The body of every answer with a status from 400 on. `code` names a class of `inrush.errors`."""

    code: str
    message: str


class Status(Body):
    """The server, and its load."""

    version: str
    pid: int
    url: str
    boot: str
    started: float
    apps: int
    functions: int
    containers: int
    nodes: int
    clients: int
    calls: int
    durable_calls: int
    stopping: bool


class App(Body):
    """An app. `state` is `deployed`, `running` (ephemeral), `detached` or `stopped`. `urls` are its endpoints' URLs by
    path, for programs; `pages` are their URLs by host name, for browsers."""

    name: str
    id: str
    environment: str
    state: str
    version: int
    functions: list[str]
    containers: int
    created: float
    ended: float
    urls: dict[str, str]
    pages: dict[str, str]


class Function(Body):
    """A function, or the variant of a class for one set of parameters."""

    id: str
    name: str
    waiting: str
    decided: str
    backlog: int
    containers: int
    running_inputs: int
    input_headroom: int


class FunctionDetail(Function):
    """A function with what it asks for, and how it scales now. `gpu` lists alternatives, as `gpu=` takes them; without
    `max_containers` it has no limit of its own."""

    app: str
    cpu: float
    memory_mib: int
    gpu: list[str]
    timeout_s: float
    max_inputs: int
    min_containers: int
    max_containers: int | None
    buffer_containers: int
    scaledown_window_s: float


class Version(Body):
    """One deploy of an app. `serves` is true for the one that takes its traffic; `tag` is its author's name for it."""

    number: int
    id: str
    created: float
    serves: bool
    tag: str


class RollBack(Body):
    """Which version to deploy again; by default the one before the one that serves."""

    version: int | None = None
    strategy: Literal["rolling", "recreate"] = "rolling"


class RollOver(Body):
    """How to replace the containers of an app: as for a deploy."""

    strategy: Literal["rolling", "recreate"] = "rolling"


class AppDetail(App):
    """An app with its functions in full."""

    details: list[Function]


class Container(Body):
    """A container. `state` is `starting`, `ready`, `stopping` or `ended`; `how` is the tier of its start, and
    `phases_ms` are the parts of the start in order."""

    id: str
    environment: str
    app_name: str
    function_name: str
    state: str
    why: str
    how: str
    start_ms: float
    node: str
    gpu_type: str
    gpus: list[int]
    app: str
    function: str
    created: float
    ready: float
    ended: float
    phases_ms: list[tuple[str, float]]


class LogLine(Body):
    """A line of a log stream."""

    time: float
    container: str
    function: str
    call: str
    stream: str
    text: str


class Secret(Body):
    """A named secret, without its values."""

    name: str
    id: str
    environment: str
    keys: list[str]
    created: float
    updated: float


class NewSecret(Body):
    """A secret to create, or with `overwrite` to replace."""

    name: str
    values: dict[str, str]
    overwrite: bool = False


class Why(Body):
    """Sentences about a function: what scaling decided, what its calls wait for, and how long starts took."""

    lines: list[str]


class Scale(Body):
    """An override of a function's scale policy until its next deploy. Fields that are left out stay as they are."""

    min_containers: Amount | None = None
    max_containers: Amount | None = None
    buffer_containers: Amount | None = None
    scaledown_window_s: Quantity | None = None


class Gpu(Body):
    """A GPU of a node. A declared one stands for a card that does not exist."""

    type: str
    index: int
    memory_mib: int
    declared: bool
    used_by: str


class Node(Body):
    """An attached machine, or a simulated node of a `pool`."""

    id: str
    pool: str
    cpu: float
    memory_mib: int
    containers: int
    gpus: list[Gpu]


class Pool(Body):
    """A pool: nodes of one kind, cloud, region and price. `kind` is `declared` or `simulated`. It has `nodes` nodes,
    and may have `nodes_max`. `coming` are ordered, the first for `coming_s` seconds of about `node_s`. `blocked` says
    why none can be ordered now, and `blocked_s` for how long. An empty node is kept for `keep_s`. `told` lists the
    latest orders, refusals and returns."""

    name: str
    kind: str
    cloud: str
    region: str
    labels: dict[str, str]
    gpu_type: str
    gpus: int
    cpu: float
    memory_mib: int
    price: float
    nodes: int
    node_ids: list[str]
    coming: int
    coming_s: float
    nodes_max: int
    node_s: float
    keep_s: float
    blocked: str
    blocked_s: float
    told: list[str]


class Dict(Body):
    """A named Dict."""

    name: str
    id: str
    items: int
    created: float


class Shown(Body):
    """A value that was read without executing it. `text` is JSON, or empty if the value is not plain data; `type` then
    names its type, if that is known."""

    text: str
    type: str
    bytes: int


class DictItem(Body):
    """A key of a Dict and its value."""

    key: Shown
    value: Shown


class Environment(Body):
    """A trust domain of user code, with the number of its apps that run or are deployed."""

    name: str
    created: float
    apps: int


class NewEnvironment(Body):
    """An environment to make. Its name has up to 32 lower-case letters, digits and single dashes."""

    name: str


class Token(Body):
    """A token. An empty `environment` means all; `expires` 0 means never."""

    id: str
    name: str
    environment: str
    rights: list[str]
    created: float
    expires: float


class NewToken(Body):
    """A token to make. `rights` are one or more of `admin`, `deploy`, `call`, `read`. An empty `environment` means all;
    `lasts_s` 0 means that it does not expire."""

    name: str
    rights: list[str]
    environment: str = "main"
    lasts_s: float = 0.0


class CreatedToken(Token):
    """A new token. `token` is the text to send as `Authorization: Bearer`; it is shown only this once."""

    token: str


class Act(Body):
    """An entry of the audit log: `who` did `what` in an `environment`, to what it is `about`, or was refused that
    `times` times. `token` is the id of the token, or `owner`."""

    time: float
    who: str
    token: str
    what: str
    environment: str
    about: str
    times: int = 1


class Done(Body):
    """The answer of operations that have no other result."""

    done: bool = True


class Journal(Body):
    """The latest events of the scheduler, for `inrush sim replay`. It has no payloads, and no values of secrets."""

    file: bytes


class Command(Body):
    """The first text message of an exec or shell WebSocket. An empty `argv` means `bash`, or `sh` if the image has no
    `bash`."""

    argv: list[str] = []
    tty: bool = False
    rows: int = 24
    columns: int = 80


class Resize(Body):
    """A later text message: it sets the size of the terminal, or with `close` ends the input, or with `leave` hangs the
    terminal up."""

    rows: int = 0
    columns: int = 0
    close: bool = False
    leave: bool = False


class Waits(Body):
    """A text message of a shell WebSocket: why there is no container yet."""

    why: str


class Exit(Body):
    """The last text message of an exec or shell WebSocket."""

    code: int
    error: str = ""


ALL: tuple[Any, ...] = (
    Problem, Status, Shown, DictItem, Environment, NewEnvironment, Token, NewToken, CreatedToken, Act,
    App, AppDetail, Version, RollBack, RollOver, Function, FunctionDetail, Container, LogLine, Secret, NewSecret, Why,
    Scale, Gpu, Node, Pool, Dict, Done, Command, Resize, Waits, Exit,
)  # fmt: skip
