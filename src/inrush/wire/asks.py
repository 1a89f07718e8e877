"""What a client asks the server, beside calls: blobs, images, apps, functions, secrets, Dicts, and what goes on.

`Ask(rid, body)` is answered by `Answer(rid, result)` or `Refused(rid, code, message)`, of `answers.py`. One client may
have many asks in flight; answers come in any order.

What is named is looked up in the `environment` of the ask; where that is empty, in the asker's own.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from inrush.wire.functions import AppSpec
from inrush.wire.images import Recipe
from inrush.wire.structs import Id, Message, Name

MAX_BLOB_PIECE_BYTES = 32 * 1024 * 1024
"""Of a blob that is put, in one message."""
MAX_ASKED_IDS = 100_000
MAX_PAIRS = 100_000
"""Keys, or items, of one operation on a Dict."""
MAX_PARAMETERS_BYTES = 64 * 1024

Pair = tuple[bytes, bytes]


class PutBlob(Message, frozen=True):
    """Result: the blob's id. Without `digest` the id is random. With `digest` (sha256 hex of `data`) the id is
    `sha256-<digest>`, and the content is checked. Larger blobs than a frame go in parts: `PutBlob` with `part` > 0
    appends to `upload`."""

    data: Annotated[bytes, Meta(max_length=MAX_BLOB_PIECE_BYTES)]
    digest: Id = ""
    upload: Id = ""
    last: bool = True


class HasBlobs(Message, frozen=True):
    """Result: list of those ids that the server does not have."""

    ids: Annotated[tuple[Id, ...], Meta(max_length=MAX_ASKED_IDS)]


class GetBlob(Message, frozen=True):
    """Result: up to `limit` bytes from `offset` (bytes)."""

    id: Id
    offset: Annotated[int, Meta(ge=0, lt=2**62)] = 0
    limit: Annotated[int, Meta(ge=0, lt=2**62)] = 8 * 1024 * 1024


class BuildImage(Message, frozen=True):
    """Builds what is missing; result `{"image": id, "python": "3.11", "keys": [of each step]}`. Progress arrives as
    `Progress(rid, …)`.
    """

    recipe: Recipe
    app: str
    secrets: tuple[str, ...] = ()
    force: bool = False
    environment: str = ""


class StartApp(Message, frozen=True):
    """Registers an app in the environment of the ask, or else of its spec. It is ephemeral (it ends with this client,
    unless `detach`) or deployed (it stays; a new version replaces the old one). Result: `{"app": id, "version": id,
    "functions": {name: id}, "urls": {function or function.method: url}, "pages": {the same: url by host name}}`."""

    spec: AppSpec
    deploy: bool = False
    detach: bool = False
    strategy: str = "rolling"
    environment: str = ""


class CheckApp(Message, frozen=True):
    """Could these functions ever run here? Asked before images are built and code is sent, so only names, resources and
    where they may run need be told. Result: null; refused as `StartApp` would be."""

    spec: AppSpec


class StopApp(Message, frozen=True):
    """Ends an app by id or name: its calls are cancelled, its containers get their grace. Result: null."""

    app: str
    environment: str = ""


class FindFunction(Message, frozen=True):
    """Result: `{"function": id, "spec": FunctionSpec, "urls": {method: url}, "pages": {method: url by host name}}` of a
    function or class of a deployed app (or of the caller's own app). Of the spec only what a caller needs is told:
    name, methods and parameters."""

    app: Name
    name: Name
    environment: str = ""


class BindClass(Message, frozen=True):
    """The variant of a class for one set of parameters (canonical JSON object, sorted keys, bytes as {"b64": …});
    result: a function id. The same set gives the same id."""

    function: Name
    parameters: Annotated[bytes, Meta(max_length=MAX_PARAMETERS_BYTES)]


class OverrideScale(Message, frozen=True):
    """Live override of a function's scale policy, until the next deploy; None leaves a field as it is. Result: null."""

    function: Name
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window_s: float | None = None


class FunctionStats(Message, frozen=True):
    """Result: `{"backlog", "containers", "running_inputs", "input_headroom"}`."""

    function: Name


class PutSecret(Message, frozen=True):
    """Creates or replaces. Without a `name` the secret is anonymous and goes with the app that uses it. Result: its
    id."""

    values: tuple[tuple[str, str], ...]
    name: Name = ""
    overwrite: bool = True
    environment: str = ""


class FindSecret(Message, frozen=True):
    """Result: id of a named secret; `required` keys must be in it."""

    name: Name
    required: tuple[str, ...] = ()
    environment: str = ""


class OpenDict(Message, frozen=True):
    """Result: id of a named Dict."""

    name: Name
    create: bool = False
    environment: str = ""


class DictOp(Message, frozen=True):
    """One operation on a Dict. Keys and values are opaque bytes. `op`, with its arguments and result: get(keys[0]) →
    bytes | null; put(pairs, if_absent) → bool (was it put); pop(keys[0]) → bytes | null; contains(keys[0]) → bool;
    len() → int; items(cursor in keys[0] or none) → {"pairs": [[key, value], …], "next": bytes | null}; clear() →
    null. Writes are acknowledged after their commit."""

    dict: Id
    op: Id
    keys: Annotated[tuple[bytes, ...], Meta(max_length=MAX_PAIRS)] = ()
    pairs: Annotated[tuple[Pair, ...], Meta(max_length=MAX_PAIRS)] = ()
    if_absent: bool = False


class DeleteDict(Message, frozen=True):
    """Result: null."""

    name: Name
    environment: str = ""


class ListDicts(Message, frozen=True):
    """Result: `[{"name", "items", "created"}, …]` of all named Dicts; `created` in seconds since the epoch."""

    environment: str = ""


class FollowLogs(Message, frozen=True):
    """Lines of an app (id or name) as `Log` messages, tagged with `rid`, until `Unfollow(rid)`. With `backlog` the
    last n lines first."""

    app: Name
    backlog: int = 0
    follow: bool = True
    environment: str = ""


class FollowStates(Message, frozen=True):
    """What is going on in an app, for a progress display: `State` messages tagged with `rid`, until `Unfollow(rid)`."""

    app: Name
    environment: str = ""


class FindCall(Message, frozen=True):
    """Result: `{"function": id, "kind": str, "inputs": n, "done": n}` of a durable call."""

    call: Name


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


class Ask(Message, frozen=True):
    rid: Annotated[int, Meta(ge=0, lt=2**53)]
    body: Request


class Unfollow(Message, frozen=True):
    rid: int
