"""A call between client and server: its inputs one way, its results and items the other.

Both sides know an input by (call, index), so that after a reconnect either may send again what the other lacks.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from inrush.wire.structs import Count, Id, Index, Kind, Message, Name, Payloads, Spans, Total

MAX_CREDIT = 65_536
"""Items of a generator that its consumer may have granted and not yet got."""


class StartCall(Message, frozen=True):
    """A call, with its first inputs. `kind`: `remote` (one input), `map`, `gen` (one input that yields), `spawn`
    (durable: owned by the server from the `Accepted` on). `total` is -1 while the client does not know it yet
    (`EndInputs` says it). Sending the same call again, after a reconnect, is harmless: inputs are known by (call,
    index)."""

    call: Id
    function: Id
    kind: Kind = "remote"
    method: Name = ""
    payloads: Payloads = ()
    first: Index = 0
    total: Total = 1
    parent: Id = ""


class Inputs(Message, frozen=True):
    """More inputs of a map: indexes `first`, `first + 1`, …"""

    call: Id
    first: Index
    payloads: Payloads


class EndInputs(Message, frozen=True):
    call: Id
    total: Count


class ResumeCall(Message, frozen=True):
    """After a reconnect: `have` are indexes (ranges [a, b)) whose results the client holds already. The server
    answers `Resend` with what it lost, and sends the results that it still holds."""

    call: Id
    have: Spans = ()


class AwaitCall(Message, frozen=True):
    """Results of a durable call, of the inputs `first` … `first + count - 1`, as `Results`; all from `first` on where
    `count` is 0. The client may not be the one who spawned it. Who wants many asks for them bit by bit, as it takes
    them."""

    call: Id
    first: Index = 0
    count: Count = 0


class CancelCall(Message, frozen=True):
    """Queued inputs are dropped, running ones cancelled; each ends with `CANCELLED`. `terminate` also ends their
    containers."""

    call: Id
    terminate: bool = False


class ForgetCall(Message, frozen=True):
    """The client has all it wants of a call it owns (or leaves a durable one alone): the server may drop it. Cancels
    what still runs."""

    call: Id


class Grant(Message, frozen=True):
    """The consumer of a generator takes `credit` more items."""

    call: Id
    credit: Annotated[int, Meta(ge=0, le=MAX_CREDIT)]


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
