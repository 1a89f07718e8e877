"""Asks: the requests of a client beside calls, about blobs, images, apps, functions, secrets, Dicts, logs and states.

`Ask(rid, body)` is answered by `Answer(rid, result)` or `Refused(rid, code, message)` (`answers.py`). A client may have
many asks in flight; answers come in any order. Names are looked up in the `environment` of the ask, or in the client's
own if that is empty.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from inrush.wire.functions import AppSpec
from inrush.wire.images import Recipe
from inrush.wire.structs import Amount, Id, Message, Name, Quantity

MAX_BLOB_PIECE_BYTES = 32 * 1024 * 1024
"""The most bytes of a blob in one `PutBlob`."""
MAX_ASKED_IDS = 100_000
MAX_PAIRS = 100_000
"""The most keys, or items, of one operation on a Dict."""
MAX_PARAMETERS_BYTES = 64 * 1024

Pair = tuple[bytes, bytes]


class PutBlob(Message, frozen=True):
    """Stores a blob, or a piece of it. A large blob is sent in pieces: all but the final one have `last=False`, and all
    but the first name the `upload` that the first one returned. Result: the upload's id, and after the last piece the
    blob's id. With `digest` (sha256 hex of the whole content) that is `sha256-<digest>`, and the content is checked;
    without, it is random."""

    data: Annotated[bytes, Meta(max_length=MAX_BLOB_PIECE_BYTES)]
    digest: Id = ""
    upload: Id = ""
    last: bool = True


class HasBlobs(Message, frozen=True):
    """Result: a list of those ids that the server does not have."""

    ids: Annotated[tuple[Id, ...], Meta(max_length=MAX_ASKED_IDS)]


class GetBlob(Message, frozen=True):
    """Reads a blob. Result: up to `limit` bytes from `offset` on."""

    id: Id
    offset: Annotated[int, Meta(ge=0, lt=2**62)] = 0
    limit: Annotated[int, Meta(ge=0, lt=2**62)] = 8 * 1024 * 1024


class BuildImage(Message, frozen=True):
    """Builds the steps of an image that are missing. Result: `{"image": id, "python": "3.11", "keys": [of each step]}`.
    `Progress` messages come before it."""

    recipe: Recipe
    app: str
    secrets: tuple[str, ...] = ()
    force: bool = False
    environment: str = ""


class StartApp(Message, frozen=True):
    """Registers an app in the environment of the ask, or else of its spec. It is ephemeral (it ends with this client,
    unless `detach`) or deployed (it stays; a new version replaces the old one). Result: `{"app": id, "version": id,
    "functions": {name: id}, "urls": {function or function.method: url}, "pages": {the same: url by host name},
    "warnings": [sentence]}`. A new version of a deployed app takes the traffic once a container of each function that
    it changes is ready; it is refused if one does not start."""

    spec: AppSpec
    deploy: bool = False
    detach: bool = False
    strategy: str = "rolling"
    environment: str = ""


class CheckApp(Message, frozen=True):
    """Checks whether these functions could ever run here. A client asks before it builds images and uploads code, so
    the spec needs only names, resources and constraints on nodes. Result: sentences about those that could not; it is
    refused, as `StartApp` would be, if none could."""

    spec: AppSpec


class StopApp(Message, frozen=True):
    """Stops an app by id or name: its calls are cancelled, and its containers have their grace. Result: null."""

    app: str
    environment: str = ""


class FindFunction(Message, frozen=True):
    """Finds a function or class of a deployed app, or of the client's own app. Result: `{"function": id, "spec":
    FunctionSpec, "urls": {method: url}, "pages": {method: url by host name}}`, where the spec has only what a caller
    needs: name, methods and parameters."""

    app: Name
    name: Name
    environment: str = ""


class BindClass(Message, frozen=True):
    """Finds or makes the variant of a class for one set of parameters (a canonical JSON object: sorted keys, bytes as
    {"b64": …}). Result: a function id; the same parameters give the same id."""

    function: Name
    parameters: Annotated[bytes, Meta(max_length=MAX_PARAMETERS_BYTES)]


class OverrideScale(Message, frozen=True):
    """Overrides a function's scale policy until the next deploy. None leaves a field as it is. Result: null."""

    function: Name
    min_containers: Amount | None = None
    max_containers: Amount | None = None
    buffer_containers: Amount | None = None
    scaledown_window_s: Quantity | None = None


class FunctionStats(Message, frozen=True):
    """Result: `{"backlog", "containers", "running_inputs", "input_headroom"}` of a function, all numbers."""

    function: Name


class PutSecret(Message, frozen=True):
    """Creates a secret, or replaces it if `overwrite`. A secret without a `name` is deleted with the app that uses it.
    Result: its id."""

    values: tuple[tuple[str, str], ...]
    name: Name = ""
    overwrite: bool = True
    environment: str = ""


class FindSecret(Message, frozen=True):
    """Finds a named secret, which must have the keys `required`. Result: its id."""

    name: Name
    required: tuple[str, ...] = ()
    environment: str = ""


class OpenDict(Message, frozen=True):
    """Finds a named Dict, or makes it if it is missing and `create` is set. Result: its id."""

    name: Name
    create: bool = False
    environment: str = ""


class DictOp(Message, frozen=True):
    """One operation on a Dict, whose keys and values are opaque bytes. A write is answered after its commit.

    The values of `op`, with the fields that each uses and its result:

        get(keys[0]) → bytes | null
        put(pairs, if_absent) → bool: whether it was put
        pop(keys[0]) → bytes | null
        contains(keys[0]) → bool
        len() → int
        items(cursor in keys[0], or none) → {"pairs": [[key, value], …], "next": bytes | null}
        clear() → null
    """

    dict: Id
    op: Id
    keys: Annotated[tuple[bytes, ...], Meta(max_length=MAX_PAIRS)] = ()
    pairs: Annotated[tuple[Pair, ...], Meta(max_length=MAX_PAIRS)] = ()
    if_absent: bool = False


class DeleteDict(Message, frozen=True):
    """Deletes a named Dict with its items. Result: null."""

    name: Name
    environment: str = ""


class ListDicts(Message, frozen=True):
    """Result: `[{"name", "items", "created"}, …]` of all named Dicts; `created` in seconds since the epoch."""

    environment: str = ""


class FollowLogs(Message, frozen=True):
    """Sends the log of an app (id or name) as `Log` messages: first the last `backlog` lines, and with `follow` new
    lines until `Unfollow(rid)`."""

    app: Name
    backlog: int = 0
    follow: bool = True
    environment: str = ""


class FollowStates(Message, frozen=True):
    """Sends the changes in an app as `State` messages until `Unfollow(rid)`, for a progress display. `interactive` says
    that a person sits at a terminal there, whom code of the app may ask for it."""

    app: Name
    environment: str = ""
    interactive: bool = False


class Interact(Message, frozen=True):
    """Asks the person who runs this container's app to join its terminal to the code that waits at the socket `place`
    of the container, by the Python `program`. Raises `InvalidError` if there is nobody."""

    program: Name
    place: Name


class FindCall(Message, frozen=True):
    """Finds a durable call. Result: `{"function": id, "kind": str, "inputs": n, "done": n}`."""

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
    | Interact
    | FindCall
)


class Ask(Message, frozen=True):
    rid: Annotated[int, Meta(ge=0, lt=2**53)]
    body: Request


class Unfollow(Message, frozen=True):
    """Ends what the ask `rid` follows."""

    rid: int
