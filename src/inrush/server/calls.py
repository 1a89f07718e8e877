"""Who waits for which call, and the payloads of inputs that have no result yet.

The core knows inputs by number; this table knows their bytes and their owner. Results go straight to the owner. A
client can lose its link with results under way, so the latest `window` results of a call are kept: a client never has
more than that many inputs without a result, hence they are all that it can have missed. What a client resends is known
by (call, index) and not run twice.

Calls of kind `spawn` are durable: `durable.py` saves them, their results, and serves who asks for those.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from inrush import wire
from inrush.core import effects, events
from inrush.errors import Error, NotFoundError, PermissionDeniedError, ResourceExhaustedError
from inrush.server.blobs import Blobs, referred_ids
from inrush.server.functions import Function, Functions
from inrush.wire import CallRefused, Results, Status

log = logging.getLogger(__name__)

WINDOW_INPUTS = 2048
"""Inputs of a map that may be without a result at once."""
MESSAGE_BYTES = 8 * 1024 * 1024
"""Results of more bytes are split over messages."""
FINISHED_CALLS = 4096
"""Finished calls of clients that are remembered, should the client have missed the result."""
HELD_BYTES = 2 * 1024 * 1024 * 1024
"""Payloads in memory, of all calls; more are refused."""
TRIM_INPUTS = 4096
MAX_GAP_INPUTS = 16 * 1024 * 1024
"""Inputs that a resent map may skip, because the client has their results."""

_UNKNOWN, _WAITING, _DONE = 0, 1, 2
_SPLIT_FROM = 64

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

    calls: set[str]

    def send(self, message: Any) -> None: ...


class Call:
    """One call and its inputs. `seen[i - base]` says what is known of input i; all below `base` are done.

    A map that a client begins without inputs is one that an earlier server lost: what the client does not send by the
    end of its inputs it has results of (`resumed`).
    """

    __slots__ = (
        "base", "blobs", "container", "credit", "function", "held", "id", "kept", "kept_inputs", "kind", "method",
        "owner", "resumed", "seen", "settled", "total", "waiting",
    )  # fmt: skip

    def __init__(self, message: wire.StartCall, function: Function, owner: Owner | None) -> None:
        self.id, self.kind, self.method = message.call, message.kind, message.method
        self.function, self.owner = function, owner
        self.resumed = message.kind == "map" and not message.payloads
        self.total = -1 if self.resumed else message.total
        self.base = message.first
        self.seen = bytearray()
        self.waiting: dict[int, bytes] = {}
        self.kept: deque[Results] = deque()
        self.kept_inputs = 0
        self.settled = 0
        self.held = 0
        self.container = ""
        self.credit = 0
        self.blobs: list[str] = []

    @property
    def durable(self) -> bool:
        return self.kind == "spawn"

    @property
    def finished(self) -> bool:
        return self.settled == self.total

    def add(self, first: int, payloads: Sequence[bytes]) -> bool:
        """Notes inputs; those that are known already are passed over. Whether any was new."""
        if not self.seen and not self.settled:
            self.base = first
        start = first - self.base
        if start < 0:
            payloads, first, start = payloads[-start:], self.base, 0
        seen, end = self.seen, start + len(payloads)
        if len(seen) < end:
            seen.extend(bytes(end - len(seen)))
        if seen.count(_UNKNOWN, start, end) == len(payloads):
            seen[start:end] = bytes((_WAITING,)) * len(payloads)
            self.waiting.update(zip(range(first, first + len(payloads)), payloads, strict=True))
            self.held += sum(map(len, payloads))
            return bool(payloads)
        new = [i for i in range(len(payloads)) if seen[start + i] == _UNKNOWN]
        for i in new:
            seen[start + i] = _WAITING
            self.waiting[first + i] = payloads[i]
            self.held += len(payloads[i])
        return bool(new)

    def settle(self, indexes: Sequence[int]) -> int:
        """Inputs that have their result now; how many bytes that frees."""
        freed, waiting, seen, base = 0, self.waiting, self.seen, self.base
        for i in indexes:
            payload = waiting.pop(i, None)
            if payload is not None:
                freed += len(payload)
                seen[i - base] = _DONE
        self.settled += len(indexes)
        self.held -= freed
        if len(seen) > TRIM_INPUTS and seen.count(_DONE, 0, TRIM_INPUTS) == TRIM_INPUTS:
            del seen[:TRIM_INPUTS]
            self.base += TRIM_INPUTS
        return freed

    def keep(self, message: Results) -> None:
        """Remembers results for a client that lost its link."""
        self.kept.append(message)
        self.kept_inputs += len(message.indexes)
        size = sum(map(len, message.payloads))
        self.held += size
        while self.kept_inputs - len(self.kept[0].indexes) >= WINDOW_INPUTS:
            oldest = self.kept.popleft()
            self.kept_inputs -= len(oldest.indexes)
            self.held -= sum(map(len, oldest.payloads))


class Calls:
    """All calls that are not over, and the client-owned ones that ended lately. Messages of owners come in, effects
    of the core too."""

    def __init__(
        self,
        post: Callable[[Any], None],
        functions: Functions,
        blobs: Blobs,
        to_container: Callable[[str, Any], None],
        *,
        max_queued_inputs: int,
    ) -> None:
        self.post = post
        self.functions = functions
        self.blobs = blobs
        self.max_queued = max_queued_inputs
        self._to_container = to_container
        self._calls: dict[str, Call] = {}
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._held = 0
        self.resolve_durable: Callable[[Call, effects.Resolve, tuple[bytes, ...]], None] = (
            lambda call, effect, payloads: None
        )

    def __len__(self) -> int:
        return len(self._calls) - len(self._finished)

    def get(self, id: str) -> Call | None:
        return self._calls.get(id)

    # ── from owners ──────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, owner: Owner, message: wire.StartCall) -> Call | None:
        """A call begins, or is sent again. None when it was refused; the owner was told."""
        call = self._calls.get(message.call)
        if call is None:
            try:
                call = self._begin(owner, message)
            except Error as error:
                owner.send(CallRefused(message.call, type(error).__name__, str(error)))
                return None
        elif call.owner is not owner and not call.durable:
            why = f"call {message.call} belongs to somebody else"
            owner.send(CallRefused(message.call, PermissionDeniedError.__name__, why))
            return None
        if call.kind == "map":
            owner.send(wire.Accepted(call.id, WINDOW_INPUTS))
        if message.payloads:
            self.inputs(owner, message.call, message.first, message.payloads)
        return call

    def _begin(self, owner: Owner, message: wire.StartCall) -> Call:
        function = self.functions.need(message.function)
        if self._held > HELD_BYTES:
            raise ResourceExhaustedError(
                f"the server holds {self._held >> 20} MiB of arguments already; try again later"
            )
        if function.queued + len(message.payloads) > self.max_queued:
            raise ResourceExhaustedError(
                f"{function.queued} inputs wait for {function.title!r} already, of at most {self.max_queued} "
                "(setting max_queued_inputs); try again later"
            )
        call = Call(message, function, None if message.kind == "spawn" else owner)
        self._calls[call.id] = call
        if not call.durable:
            owner.calls.add(call.id)
        self.post(events.CallArrived(call.id, function.id, call.kind, call.total, call.durable))
        return call

    def inputs(self, owner: Owner, id: str, first: int, payloads: Sequence[bytes]) -> Call | None:
        """More inputs of a call; the call, if any of them was new."""
        call = self._calls.get(id)
        if call is None or (call.owner is not owner and not call.durable):
            owner.send(wire.Resend(id, unknown=True))
            return None
        over = len(call.waiting) + len(payloads) > 2 * WINDOW_INPUTS and not call.durable
        far = bool(call.seen) and first - call.base > len(call.seen) + MAX_GAP_INPUTS
        if over or far or first < 0:
            self._refuse(
                call, f"more than {2 * WINDOW_INPUTS} inputs without a result in call {id}; keep to the window"
            )
            return None
        waiting, held = len(call.waiting), call.held
        if not call.add(first, payloads):
            return None
        call.function.queued += len(call.waiting) - waiting
        self._held += call.held - held
        self._hold_blobs(call, payloads)
        self.post(events.InputsArrived(id, first, len(payloads)))
        return call

    def _refuse(self, call: Call, why: str) -> None:
        owner = call.owner
        self.forget(call)
        if owner is not None:
            owner.send(CallRefused(call.id, "ResourceExhaustedError", why))

    def end_inputs(self, owner: Owner, message: wire.EndInputs) -> None:
        """The total of a map is known now."""
        call = self._calls.get(message.call)
        if call is None or call.total >= 0 or (call.owner is not owner and not call.durable):
            return
        call.total = message.total
        if call.resumed:
            call.settled = message.total - len(call.waiting)
        self.post(events.CallEnded(message.call, message.total))
        if call.finished and not call.durable:
            self._finish(call)

    def resume(self, owner: Owner, message: wire.ResumeCall) -> None:
        """A client is back: it gets what it missed, and is told what to send again."""
        call = self._calls.get(message.call)
        if call is None or call.durable or call.owner is not owner:
            owner.send(wire.Resend(message.call, unknown=True))
            return
        have = message.have
        missed = sum(b - a for a, b in have) < call.settled or not have
        for results in call.kept if missed else ():
            owner.send(results)
        ranges = tuple(_unknown_ranges(call, have))
        if ranges:
            owner.send(wire.Resend(call.id, ranges=ranges))

    def cancel(self, id: str, why: str, terminate: bool = False) -> bool:
        """Cancels what is not over; each input ends as cancelled."""
        call = self._calls.get(id)
        if call is None or call.finished:
            return call is not None
        self.post(events.CallCancelled(id, why, terminate))
        return True

    def forget(self, call: Call) -> None:
        """Nobody waits for it any more."""
        if not call.finished or call.resumed:
            self.post(events.CallForgotten(call.id))
        self._drop(call)

    def left(self, owner: Owner) -> None:
        """The owner is gone for good."""
        for id in sorted(owner.calls):
            call = self._calls.get(id)
            if call is not None:
                self.forget(call)
        owner.calls.clear()

    def grant(self, owner: Owner, message: wire.Grant) -> None:
        """A generator may yield more."""
        call = self._calls.get(message.call)
        if call is None or call.owner is not owner:
            return
        call.credit += message.credit
        if call.container:
            self._to_container(call.container, wire.GrantRun(call.container, call.id, 0, message.credit))

    def feed(self, call: Call, data: bytes, last: bool = False, gone: bool = False) -> None:
        """A further piece of a web request's body."""
        if call.container:
            self._to_container(call.container, wire.Feed(call.container, call.id, data, last, gone))

    # ── from the core and the nodes ──────────────────────────────────────────────────────────────────────────────────

    def dispatch(self, effect: effects.Dispatch) -> None:
        """Sends inputs to their container."""
        call = self._calls.get(effect.call)
        if call is None:
            return
        if call.kind == "web" and call.container and call.owner is not None:
            call.owner.send(CallRefused(call.id, "ExecutionError", "the container died while it served this request"))
            self.forget(call)
            return
        call.container = effect.container
        waiting = call.waiting
        payloads = tuple([waiting[i] for i in effect.indexes])
        run = wire.Run(effect.container, call.id, call.method, call.kind, effect.indexes, payloads)
        self._to_container(effect.container, run)
        if call.credit > 0:
            self._to_container(effect.container, wire.GrantRun(effect.container, call.id, 0, call.credit))
        if call.kind == "web" and call.owner is not None:
            call.owner.send(Begun(call.id))

    def resolve(self, effect: effects.Resolve) -> None:
        """Final results of inputs."""
        call = self._calls.get(effect.call)
        if call is None:
            return
        payloads = effect.refs if None not in effect.refs else _filled(effect)
        self._held -= call.held
        call.settle(effect.indexes)
        call.function.queued -= len(effect.indexes)
        if call.durable:
            self._hold_blobs(call, payloads)
            self.resolve_durable(call, effect, payloads)
        else:
            self._answer(call, effect, payloads)
        self._held += call.held
        if call.finished and not call.durable:
            self._finish(call)

    def _answer(self, call: Call, effect: effects.Resolve, payloads: tuple[bytes, ...]) -> None:
        owner = call.owner
        self._hold_blobs(call, payloads)
        for message in split_results(call.id, effect.indexes, effect.statuses, payloads):
            call.keep(message)
            if owner is not None:
                owner.send(message)

    def yielded(self, message: wire.Yielded) -> None:
        """Items of a generator, or pieces of a web response; from the container that runs it now."""
        call = self._calls.get(message.call)
        if call is not None and call.owner is not None and call.container == message.container:
            self._hold_blobs(call, message.payloads)
            call.credit -= len(message.payloads)
            call.owner.send(wire.Items(call.id, message.first, message.payloads))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _finish(self, call: Call) -> None:
        if call.resumed:
            self.post(events.CallForgotten(call.id))
        self._finished[call.id] = None
        while len(self._finished) > FINISHED_CALLS or (self._held > HELD_BYTES // 2 and self._finished):
            self._drop(self._calls[next(iter(self._finished))])

    def restore(self, call: Call) -> None:
        """A durable call that was saved before a restart."""
        self._calls[call.id] = call
        call.function.queued += len(call.waiting)
        self._held += call.held

    def drop(self, call: Call) -> None:
        """A durable call is over, and saved."""
        self._drop(call)

    def _drop(self, call: Call) -> None:
        if self._calls.pop(call.id, None) is None:
            return
        self._finished.pop(call.id, None)
        if call.owner is not None:
            call.owner.calls.discard(call.id)
        call.function.queued -= len(call.waiting)
        self._held -= call.held
        if call.blobs and not call.durable:
            self.blobs.release(call.blobs)

    def _hold_blobs(self, call: Call, payloads: Iterable[bytes]) -> None:
        ids = referred_ids(payloads)
        if ids:
            call.blobs.extend(ids)
            self.blobs.hold(ids, durable=call.durable)


def split_results(
    call: str, indexes: tuple[int, ...], statuses: tuple[int, ...], payloads: tuple[bytes, ...]
) -> list[Results]:
    """Results as messages of bounded size."""
    if len(payloads) < _SPLIT_FROM and len(payloads) * wire.INLINE_LIMIT_BYTES <= MESSAGE_BYTES:
        return [Results(call, indexes, statuses, payloads)]
    if len(payloads) < 2 or sum(map(len, payloads)) <= MESSAGE_BYTES:
        return [Results(call, indexes, statuses, payloads)]
    half = len(indexes) // 2
    return split_results(call, indexes[:half], statuses[:half], payloads[:half]) + split_results(
        call, indexes[half:], statuses[half:], payloads[half:]
    )


def _filled(effect: effects.Resolve) -> tuple[bytes, ...]:
    """Payloads, with failures made for ends that have none."""
    return tuple(
        [
            ref if ref is not None else wire.system_failure(CODES.get(Status(status), "InternalError"), effect.why)
            for ref, status in zip(effect.refs, effect.statuses, strict=True)
        ]
    )


def _unknown_ranges(call: Call, have: tuple[tuple[int, int], ...]) -> Iterable[tuple[int, int]]:
    """Ranges of inputs that the call does not know and the client has no results of. How far the client has sent is
    not known here, so the last range goes a window further than the highest known input."""
    had = bytearray(len(call.seen))
    for a, b in have:
        a, b = max(a - call.base, 0), min(b - call.base, len(had))
        had[a:b] = b"\1" * max(b - a, 0)
    start = None
    for i, state in enumerate(call.seen):
        missing = state == _UNKNOWN and not had[i]
        if missing and start is None:
            start = i
        elif not missing and start is not None:
            yield start + call.base, i + call.base
            start = None
    high = call.base + len(call.seen)
    end = high + WINDOW_INPUTS if call.total < 0 else min(call.total, high + WINDOW_INPUTS)
    if start is not None or end > high:
        yield high if start is None else start + call.base, max(end, high)


def not_found(id: str) -> NotFoundError:
    """Of a call that is nowhere."""
    return NotFoundError(f"there is no call {id!r}; results are kept for the time that the setting result_ttl_s says")
