"""Messages about a call: its inputs from client to server, its results and items back.

Both sides identify an input by (call, index), so that after a reconnect either can resend what the other lacks.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from inrush.wire.structs import Count, Id, Index, Kind, Message, Name, Payloads, Spans, Total

MAX_CREDIT = 65_536
"""The most items of a generator that its consumer may have granted and not yet received."""


class StartCall(Message, frozen=True):
    """Starts a call, with its first inputs. `kind` is `remote` (one input), `map`, `gen` (one input that yields) or
    `spawn` (durable: the server owns it from `Accepted` on). `total` is the number of inputs, or -1 while the client
    does not know it; then `EndInputs` tells it. Of a `watched` call the client is told which inputs are tried again.
    Sending the same call again after a reconnect changes nothing."""

    call: Id
    function: Id
    kind: Kind = "remote"
    method: Name = ""
    payloads: Payloads = ()
    first: Index = 0
    total: Total = 1
    parent: Id = ""
    watched: bool = False


class Inputs(Message, frozen=True):
    """More inputs of a map: indexes `first`, `first + 1`, …"""

    call: Id
    first: Index
    payloads: Payloads


class EndInputs(Message, frozen=True):
    """Tells how many inputs a call has, which was started without a `total`."""

    call: Id
    total: Count


class ResumeCall(Message, frozen=True):
    """Resumes a call after a reconnect. `have` are indexes (ranges [a, b)) whose results the client holds already. The
    server answers with a `Resend` for the inputs that it lost, and sends the results that it still holds."""

    call: Id
    have: Spans = ()


class AwaitCall(Message, frozen=True):
    """Asks for `Results` of a durable call: of `count` inputs from `first` on, or of all from there if `count` is 0.
    Any client may ask, not only the one that spawned the call. A client that wants many results asks for a few at a
    time, which bounds what waits for it."""

    call: Id
    first: Index = 0
    count: Count = 0


class CancelCall(Message, frozen=True):
    """Cancels a call: queued inputs are dropped and running ones interrupted, and each ends with `CANCELLED`.
    `terminate` also ends the containers that run them."""

    call: Id
    terminate: bool = False


class ForgetCall(Message, frozen=True):
    """The client needs nothing more of a call. The server cancels and drops a call that the client owns; a durable call
    goes on."""

    call: Id


class Grant(Message, frozen=True):
    """Allows a generator to send `credit` more items."""

    call: Id
    credit: Annotated[int, Meta(ge=0, le=MAX_CREDIT)]


class Received(Message, frozen=True):
    """The client has all results of a map that came before those of this input, and with them. The server need not keep
    them any more for a client that loses its link. It is sent once for each `RECEIVED_BYTES`."""

    call: Id
    index: Index


class Accepted(Message, frozen=True):
    """The server has the call; a durable one is committed. `window` is how many inputs may be without a result at
    once."""

    call: str
    window: int


class CallRefused(Message, frozen=True):
    """The server refuses the whole call, for good: the function is unknown, the queue is full, and so on."""

    call: str
    code: str
    message: str


class Results(Message, frozen=True):
    """Results of inputs, in columns. Every status is final: retries are over."""

    call: str
    indexes: tuple[int, ...]
    statuses: tuple[int, ...]
    payloads: tuple[bytes, ...]


class Items(Message, frozen=True):
    """What a generator yielded, from item `first` on. A `Results` follows when it ends."""

    call: str
    first: int
    payloads: tuple[bytes, ...]


class Retried(Message, frozen=True):
    """Inputs of a `watched` call are tried again. `function` is the function's name, and `why` says when."""

    call: str
    function: str
    indexes: tuple[int, ...]
    why: str


class Resend(Message, frozen=True):
    """The server does not know this call (`unknown`), or not the inputs in `ranges` ([a, b)). The client sends
    `StartCall`, or these inputs, again."""

    call: str
    unknown: bool = False
    ranges: tuple[tuple[int, int], ...] = ()
