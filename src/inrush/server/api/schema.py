"""What the API takes and gives, as structs: the JSON on the wire and the OpenAPI page both come from them. Times are
seconds since the epoch; 0 where something has not happened.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Body(msgspec.Struct, kw_only=True):
    """Base of all."""


class Problem(Body):
    """Every answer with a status from 400 on. `code` is a class name of `inrush.errors`."""

    code: str
    message: str


class Status(Body):
    """The server and what it has to do."""

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
    """An app. `state` is `deployed`, `running` (ephemeral), `detached` or `stopped`. `urls` are its endpoints by
    path, for programs; `pages` the same by host name, for browsers."""

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


class AppDetail(App):
    """An app with its functions in full."""

    details: list[Function]


class Container(Body):
    """A container. `state` is `starting`, `ready`, `stopping` or `ended`; `how` the tier of its start, `phases_ms`
    its parts."""

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
    """A named secret; values are never given."""

    name: str
    id: str
    environment: str
    keys: list[str]
    created: float
    updated: float


class NewSecret(Body):
    """A secret to create, or to replace with `overwrite`."""

    name: str
    values: dict[str, str]
    overwrite: bool = False


class Why(Body):
    """Sentences about a function: what was decided, what waits, and what starts cost."""

    lines: list[str]


class Scale(Body):
    """A live override of a function's scale policy, until its next deploy; what is left out stays."""

    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window_s: float | None = None


class Gpu(Body):
    """A device of a node; a declared one has no card behind it."""

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
    """Nodes of one kind, cloud, region and price. `kind` is `declared` or `simulated`. Of its nodes `nodes` are there,
    up to `nodes_max` may be, and `coming` are on their way, the first for `coming_s` seconds of about `node_s`.
    `blocked` says why none can be ordered now, `blocked_s` for how long; an empty node is kept for `keep_s`. `told` is
    what was ordered, refused and given back last."""

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
    """A value, read without executing it: `text` is JSON. Where it is empty the value is not plain data, and `type`
    names what it is, as far as that is known."""

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
    """To make one: up to 32 lower-case letters, digits and single dashes."""

    name: str


class Token(Body):
    """A token. An empty `environment` stands for all; `expires` is 0 for one that does not."""

    id: str
    name: str
    environment: str
    rights: list[str]
    created: float
    expires: float


class NewToken(Body):
    """To make one. `rights`: one or more of `admin`, `deploy`, `call`, `read`. An empty `environment` stands for all;
    `lasts_s` 0: it does not expire."""

    name: str
    rights: list[str]
    environment: str = "main"
    lasts_s: float = 0.0


class CreatedToken(Token):
    """A new token, with what is to be sent as `Authorization: Bearer`; it is told this once."""

    token: str


class Act(Body):
    """An entry of the audit log: who (with the id of the token, or `owner`) did what, where, to what; or was refused
    it, so many times."""

    time: float
    who: str
    token: str
    what: str
    environment: str
    about: str
    times: int = 1


class Done(Body):
    """Something was done that has no other answer."""

    done: bool = True


class Journal(Body):
    """What the scheduler was told lately, for `inrush sim replay`: references, no payloads and no secrets' values."""

    file: bytes


class Command(Body):
    """First text message of an exec or shell WebSocket. For a shell, an empty `argv` is `/bin/bash` or what the
    image has."""

    argv: list[str] = []
    tty: bool = False
    rows: int = 24
    columns: int = 80


class Resize(Body):
    """A later text message: the terminal has another size; `close`: no more input."""

    rows: int = 0
    columns: int = 0
    close: bool = False


class Exit(Body):
    """Last text message of an exec or shell WebSocket."""

    code: int
    error: str = ""


ALL: tuple[Any, ...] = (
    Problem, Status, Shown, DictItem, Environment, NewEnvironment, Token, NewToken, CreatedToken, Act,
    App, AppDetail, Function, Container, LogLine, Secret, NewSecret, Why, Scale, Gpu, Node, Pool,
    Dict,    Done, Command, Resize, Exit,
)  # fmt: skip
