"""One call: which of its inputs wait, which are done, and what its owner may have missed.

A client can lose its link with results under way, so the latest `WINDOW_INPUTS` results of a call are kept: a client
never has more than that many inputs without a result, hence they are all that it can have missed. Large ones are let
go sooner, as it says that it has received them. Of a generator, the items are kept that its consumer's credit does not
yet prove to have arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from inrush import wire
from inrush.core.model import effects
from inrush.errors import NotFoundError
from inrush.server.apps.functions import Function
from inrush.server.trust.principal import Principal, owns_call
from inrush.wire import Results, Status

WINDOW_INPUTS = 2048
"""Inputs of a map that may be without a result at once."""
MESSAGE_BYTES = 8 * 1024 * 1024
"""Results of more bytes are split over messages."""
TRIM_INPUTS = 4096
UNKNOWN, WAITING, DONE = 0, 1, 2
_WAITING = bytes((WAITING,))

CODES = {
    Status.TIMEOUT: "FunctionTimeoutError",
    Status.CRASHED: "ExecutionError",
    Status.OUT_OF_MEMORY: "OutOfMemoryError",
    Status.STARTUP: "StartupError",
    Status.CANCELLED: "CancelledError",
    Status.LOST: "ExecutionError",
    Status.INTERNAL: "InternalError",
    Status.ERROR: "ExecutionError",
}
"""The error of a result that came without a payload."""


class Begun(NamedTuple):
    """Tells the owner of a web request that a container has it, and takes the rest of its body."""

    call: str


class Owner(Protocol):
    """Whoever waits for a call: a client's session, or a web request."""

    container: str
    """The container it is in; empty for those outside."""
    principal: Principal
    calls: set[str]
    """Calls that it owns."""
    awaits: set[str]
    """Durable calls whose results it waits for."""
    payer: str
    """The app of a container, or the environment of a token, that pays for what the server holds; empty for others."""

    def send(self, message: Any) -> None: ...


class Call:
    """One call and its inputs. `seen[i - base]` says what is known of input i; all below `base` are done.

    A map that a client begins without inputs is one that an earlier server lost: what the client does not send by the
    end of its inputs it has results of (`resumed`).
    """

    __slots__ = (
        "base",
        "blobs",
        "caller",
        "container",
        "credit",
        "first_grant",
        "function",
        "granted",
        "held",
        "id",
        "items",
        "kept",
        "kept_inputs",
        "kind",
        "lossless",
        "method",
        "owner",
        "payer",
        "resumed",
        "seen",
        "settled",
        "total",
        "waiting",
        "watched",
    )  # fmt: skip

    def __init__(self, message: wire.StartCall, function: Function, owner: Owner | None, payer: str = "") -> None:
        self.id, self.kind, self.method = message.call, message.kind, message.method
        self.function, self.owner, self.payer, self.watched = function, owner, payer, message.watched
        self.lossless = False
        """Whether its owner is a container, whose link does not break and so loses nothing."""
        self.caller = ""
        """Name of the app whose code made it; empty for a program outside."""
        self.resumed = message.kind == "map" and not message.payloads
        self.total = -1 if self.resumed else message.total
        self.base = message.first
        self.seen = bytearray()
        self.waiting: dict[int, bytes] = {}
        self.kept: list[Results] = []
        self.kept_inputs = 0
        self.settled = 0
        self.held = 0
        self.container = ""
        self.credit = self.granted = self.first_grant = 0
        self.items: list[wire.Items] = []
        self.blobs: list[str] = []

    @property
    def durable(self) -> bool:
        return self.kind == "spawn"

    def owned_by(self, principal: Principal) -> bool:
        """Whether a principal may find, await and cancel it."""
        function = self.function
        return owns_call(principal, function.environment, function.app_name, self.caller)

    @property
    def finished(self) -> bool:
        return self.settled == self.total

    def add(self, first: int, payloads: Sequence[bytes]) -> bool:
        """Notes inputs; those that are known already are passed over. Whether any was new."""
        if not self.seen and not self.settled:
            return self._add_first(first, payloads)
        start = first - self.base
        if start < 0:
            payloads, first, start = payloads[-start:], self.base, 0
        seen, end = self.seen, start + len(payloads)
        if len(seen) < end:
            self.held += max(0, start - len(seen))  # a gap costs a byte for each input that is left out
            seen.extend(bytes(end - len(seen)))
        if seen.count(UNKNOWN, start, end) == len(payloads):
            seen[start:end] = _WAITING * len(payloads)
            self.waiting.update(zip(range(first, first + len(payloads)), payloads, strict=True))
            self.held += sum(map(len, payloads))
            return bool(payloads)
        new = [i for i in range(len(payloads)) if seen[start + i] == UNKNOWN]
        for i in new:
            seen[start + i] = WAITING
            self.waiting[first + i] = payloads[i]
            self.held += len(payloads[i])
        return bool(new)

    def _add_first(self, first: int, payloads: Sequence[bytes]) -> bool:
        self.base = first
        self.seen = bytearray(_WAITING * len(payloads))
        self.waiting.update(zip(range(first, first + len(payloads)), payloads, strict=True))
        self.held += sum(map(len, payloads))
        return bool(payloads)

    def settle(self, indexes: Sequence[int]) -> int:
        """Notes inputs that have their result now. Returns how many bytes that frees."""
        freed, waiting, seen, base = 0, self.waiting, self.seen, self.base
        for i in indexes:
            payload = waiting.pop(i, None)
            if payload is not None:
                freed += len(payload)
                seen[i - base] = DONE
        self.settled += len(indexes)
        self.held -= freed
        if len(seen) > TRIM_INPUTS and seen.count(DONE, 0, TRIM_INPUTS) == TRIM_INPUTS:
            del seen[:TRIM_INPUTS]
            self.base += TRIM_INPUTS
        return freed

    def retried(self, effect: effects.Retried, waiting: Iterable[Owner]) -> None:
        """Tells its owner which inputs are tried again, if that is watched; of a durable call, those who are `waiting`
        for its results."""
        if self.watched:
            for owner in waiting if self.owner is None else (self.owner,):
                owner.send(wire.Retried(self.id, self.function.title, effect.indexes, effect.why))

    def grant(self, credit: int) -> int:
        """Adds credit for a generator, up to `MAX_CREDIT` in all, and returns how much was added. The consumer grants
        more only after it has received items, so all but the latest ones, as many as its first grant allowed, need not
        be kept any more."""
        if self.kind == "gen":
            credit = min(credit, wire.MAX_CREDIT - self.credit)
        self.credit += credit
        self.granted += credit
        self.first_grant = self.first_grant or credit
        while self.items and self.items[0].first + len(self.items[0].payloads) <= self.granted - self.first_grant:
            del self.items[0]
        return credit

    def yielded(self, items: wire.Items) -> None:
        """Remembers what a generator yielded, for a client that lost its link; a container loses none."""
        self.credit -= len(items.payloads)
        if not self.lossless:
            self.items.append(items)

    def received(self, index: int) -> None:
        """Forgets results that the client has: those that were sent before the ones of this input, and with them."""
        sent = next((n for n, message in enumerate(self.kept, 1) if index in message.indexes), 0)
        for message in self.kept[:sent]:
            self._let_go(message)
        del self.kept[:sent]

    def _let_go(self, message: Results) -> None:
        self.kept_inputs -= len(message.indexes)
        self.held -= sum(map(len, message.payloads))

    def keep(self, message: Results) -> None:
        """Remembers results for a client that lost its link, until it has received them; a container loses none."""
        if self.lossless:
            return
        self.kept.append(message)
        self.kept_inputs += len(message.indexes)
        size = sum(map(len, message.payloads))
        self.held += size
        while self.kept_inputs - len(self.kept[0].indexes) >= WINDOW_INPUTS:
            self._let_go(self.kept.pop(0))


def split_results(
    call: str, indexes: tuple[int, ...], statuses: tuple[int, ...], payloads: tuple[bytes, ...]
) -> list[Results]:
    """Results as messages of bounded size."""
    if len(payloads) * wire.INLINE_LIMIT_BYTES <= MESSAGE_BYTES or sum(map(len, payloads)) <= MESSAGE_BYTES:
        return [Results(call, indexes, statuses, payloads)]
    half = len(indexes) // 2
    return split_results(call, indexes[:half], statuses[:half], payloads[:half]) + split_results(
        call, indexes[half:], statuses[half:], payloads[half:]
    )


def filled(effect: effects.Resolve) -> tuple[bytes, ...]:
    """Payloads, with failures made for ends that have none."""
    return tuple(
        [
            ref if ref is not None else wire.system_failure(CODES.get(Status(status), "InternalError"), effect.why)
            for ref, status in zip(effect.refs, effect.statuses, strict=True)
        ]
    )


def unknown_ranges(call: Call, have: tuple[tuple[int, int], ...]) -> Iterable[tuple[int, int]]:
    """Ranges of inputs that the call does not know and the client has no results of. How far the client has sent is
    not known here, so the last range goes a window further than the highest known input."""
    had = bytearray(len(call.seen))
    for a, b in have:
        a, b = max(a - call.base, 0), min(b - call.base, len(had))
        had[a:b] = b"\1" * max(b - a, 0)
    start = None
    for i, state in enumerate(call.seen):
        missing = state == UNKNOWN and not had[i]
        if missing and start is None:
            start = i
        elif not missing and start is not None:
            yield start + call.base, i + call.base
            start = None
    high = call.base + len(call.seen)
    end = high + WINDOW_INPUTS if call.total < 0 else min(call.total, high + WINDOW_INPUTS)
    if start is not None or end > high:
        yield high if start is None else start + call.base, max(end, high)


def may_go_on(call: Call, owner: Owner) -> bool:
    """Whether an owner may go on with a call."""
    return call.owner is owner or (call.durable and call.owned_by(owner.principal))


def not_found(id: str) -> NotFoundError:
    """The error for a call that does not exist."""
    return NotFoundError(f"there is no call {id!r}; results are kept for the time that the setting result_ttl_s says")
