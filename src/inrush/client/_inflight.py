"""Calls that are in flight: what the link keeps of each, so that it can be resumed on another connection, or on another
server process.

The link's thread hands messages in; one coroutine waits for what comes out. All of a call that has no result yet stays
here, so that `resend` can send it again: that is what makes `.remote` and `.map` survive a restart of the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from inrush.client._dual import Mailbox, Waiter
from inrush.errors import Error, ExecutionError
from inrush.parts import Parts
from inrush.wire import Codec, EndInputs, Inputs, Received, ResumeCall, StartCall

if TYPE_CHECKING:
    from inrush.client._shared import Shared

BLOB = Codec.BLOB.value

FIRST_WINDOW = 512
"""Inputs that may be sent before the server has said what it takes."""

CHUNK_INPUTS = 256
CHUNK_BYTES = 4 * 1024 * 1024
AHEAD_INPUTS = 100_000
"""Results kept behind a slow one, where they are wanted in order, at most."""

RESULT_BYTES = 256 * 1024 * 1024
"""Results of one map that its caller has not taken, at most, with those that are still to come, if they are as large as
those before; beyond that no more inputs are sent."""

RECEIVED_BYTES = 1024 * 1024
"""After so many bytes of results the server is told that they came, so that it keeps them no longer."""

FAILURES_KEPT = 20
"""Inputs of one map whose failure is told by their index; further ones are counted."""

WINDOW_BYTES = 64 * 1024 * 1024
"""Payloads of one map without a result, at most."""


class Result(NamedTuple):
    status: int
    payload: bytes


class Chunk(NamedTuple):
    """Results as they came; columns."""

    indexes: Sequence[int]
    statuses: Sequence[int]
    payloads: Sequence[bytes]


class InFlight:
    """One call. The defaults suit calls that do not care."""

    call: str
    holds = True
    """Whether the server keeps something large, or something that runs, for it."""

    def start(self) -> list[Any]:
        """The messages that begin it."""
        raise NotImplementedError

    def resume(self) -> list[Any]:
        """The messages after a reconnect."""
        return [ResumeCall(self.call)]

    def resend(self, unknown: bool, ranges: Sequence[tuple[int, int]]) -> list[Any]:
        """The server lost the call, or some inputs of it."""
        return self.start()

    def accepted(self, window: int) -> None:
        return

    def results(self, indexes: Sequence[int], statuses: Sequence[int], payloads: Sequence[bytes]) -> None:
        return

    def received(self, index: int) -> Sequence[Any]:
        """The messages that tell the server which results came, the latest for this input."""
        return ()

    def items(self, first: int, payloads: Sequence[bytes]) -> None:
        return

    def payloads(self) -> Sequence[bytes]:
        """What it would send again."""
        return ()

    def fail(self, error: Error) -> None:
        """It cannot be: refused, or the link is gone for good."""
        raise NotImplementedError


class One(InFlight):
    """A call of one input that returns."""

    __slots__ = ("_start", "call", "holds", "result")

    def __init__(self, start: StartCall) -> None:
        self.call = start.call
        self.holds = True
        self._start = start
        self.result: Waiter[Result] = Waiter()

    def start(self) -> list[Any]:
        return [self._start]

    def payloads(self) -> Sequence[bytes]:
        return self._start.payloads

    def results(self, indexes: Sequence[int], statuses: Sequence[int], payloads: Sequence[bytes]) -> None:
        self.holds = BLOB in (payloads[0][:1], self._start.payloads[0][:1])
        self.result.set(Result(statuses[0], payloads[0]))

    def fail(self, error: Error) -> None:
        self.result.fail(error)


class Stream(InFlight):
    """A call of one input that yields. What comes out are payloads, then a `Result` or an error."""

    def __init__(self, start: StartCall) -> None:
        self.call = start.call
        self._start = start
        self._received = 0
        self.out: Mailbox[bytes | Result | Error] = Mailbox()

    def start(self) -> list[Any]:
        return [self._start]

    def payloads(self) -> Sequence[bytes]:
        return self._start.payloads

    def resend(self, unknown: bool, ranges: Sequence[tuple[int, int]]) -> list[Any]:
        if not self._received:
            return self.start()
        self.fail(
            ExecutionError(
                "the server was restarted while the generator ran; what it yielded so far has arrived, call it again"
            )
        )
        return []

    def items(self, first: int, payloads: Sequence[bytes]) -> None:
        for payload in payloads[max(0, self._received - first) :]:
            self.out.put(payload)
        self._received = max(self._received, first + len(payloads))

    def results(self, indexes: Sequence[int], statuses: Sequence[int], payloads: Sequence[bytes]) -> None:
        self.out.put(Result(statuses[0], payloads[0]))

    def fail(self, error: Error) -> None:
        self.out.put(error)


class Fan(InFlight):
    """A call of many inputs whose results the caller waits for. Inputs have no result yet while they are in
    `_unanswered`."""

    def __init__(self, call: str, function: str, method: str, parent: str, watched: bool = False) -> None:
        self.call = call
        self.shared: Shared | None = None
        self._head = StartCall(call, function, "map", method, parent=parent, watched=watched)
        self._unanswered: dict[int, bytes] = {}
        self._bytes_sent = 0
        """Counted by the feeding side alone, as `_bytes_answered` by the link's: so neither needs a lock."""
        self._bytes_answered = 0
        self._sent = 0
        self._window = FIRST_WINDOW
        self._room: Waiter[None] | None = None
        self._results = 0
        self._bytes_results = 0
        self._bytes_received = 0
        """Of results, those that the server was told of."""
        self._bytes_taken = 0
        self._taken = 0
        self.failures = 0
        """Inputs that failed for good."""
        self.failed: list[tuple[int, int]] = []
        """The first of them, each with its status."""
        self.total = -1
        self.closed = False
        self.read: Mailbox[bytes | Parts | BaseException | None] = Mailbox()
        """Inputs that were read and not sent; None after the last."""
        self.reader: object = None
        """The task that reads, if it is one: a loop holds its tasks weakly."""
        self.out: Mailbox[Chunk | BaseException | None] = Mailbox()
        """None: look at `total` again."""

    def start(self) -> list[Any]:
        return []  # the first inputs begin it

    # -- the side that feeds --

    @property
    def sent(self) -> int:
        """Inputs that were sent."""
        return self._sent

    @property
    def answered(self) -> int:
        """Inputs that have a result."""
        return self._sent - len(self._unanswered)

    def free(self) -> int:
        """Inputs that may be read now."""
        if self._bytes_sent - self._bytes_answered >= WINDOW_BYTES or self._sent - self._taken >= AHEAD_INPUTS:
            return 0
        pending = len(self._unanswered) + len(self.read)
        if not self._bytes_results:
            return self._window - pending
        room_bytes = RESULT_BYTES - (self._bytes_results - self._bytes_taken)
        return min(self._window, room_bytes * self._results // self._bytes_results) - pending

    async def room(self) -> None:
        """Waits until an input may be read, or the call is over."""
        while self.free() <= 0 and not self.closed:
            waiter = self._room = Waiter[None]()
            if self.free() > 0 or self.closed:
                return
            await waiter

    def more(self, payloads: list[bytes], total: int = -1) -> list[Any]:
        """Takes the next inputs into the call; the messages that send them."""
        first = self._sent
        self._sent += len(payloads)
        self.total = total
        self._unanswered.update(zip(range(first, self._sent), payloads, strict=True))
        self._bytes_sent += sum(map(len, payloads))
        if first == 0:
            return [self._begin(tuple(payloads), 0)]
        return [Inputs(self.call, first, tuple(payloads))]

    def end(self) -> list[Any]:
        """No more inputs."""
        self.total = self._sent
        self.out.put(None)
        return [EndInputs(self.call, self.total)] if self._sent else []

    def took(self, count: int, size: int) -> None:
        """The caller has so many results by now, the latest of so many bytes."""
        self._taken = count
        self._bytes_taken += size
        if self._room is not None and self.free() >= min(CHUNK_INPUTS, self._window // 2):
            self._wake()

    def close(self) -> None:
        """Nobody wants more: whoever feeds stops."""
        self.closed = True
        self._wake()

    def _begin(self, payloads: tuple[bytes, ...], first: int) -> StartCall:
        h = self._head
        return StartCall(h.call, h.function, h.kind, h.method, payloads, first, self.total, h.parent, h.watched)

    def _wake(self) -> None:
        waiter = self._room
        if waiter is not None:
            self._room = None
            waiter.set(None)

    # -- the side of the link --

    def accepted(self, window: int) -> None:
        self._window = max(1, window)
        self._wake()

    def results(self, indexes: Sequence[int], statuses: Sequence[int], payloads: Sequence[bytes]) -> None:
        unanswered = self._unanswered
        known = [unanswered.pop(index, None) for index in indexes]
        if None in known:  # sent twice around a reconnect: only the first counts
            kept = [n for n, payload in enumerate(known) if payload is not None]
            indexes, statuses = [indexes[n] for n in kept], [statuses[n] for n in kept]
            payloads = [payloads[n] for n in kept]
        if self.shared is not None:
            self.shared.release([payload for payload in known if payload is not None])
        self._bytes_answered += sum(len(payload) for payload in known if payload is not None)
        if any(statuses):
            self._note_failures(indexes, statuses)
        if indexes:
            self._results += len(indexes)
            self._bytes_results += sum(map(len, payloads))
            self.out.put(Chunk(indexes, statuses, payloads))
        if self._room is not None and self.free() >= min(CHUNK_INPUTS, self._window // 2):
            self._wake()

    def _note_failures(self, indexes: Sequence[int], statuses: Sequence[int]) -> None:
        failed = [(index, status) for index, status in zip(indexes, statuses, strict=True) if status]
        self.failures += len(failed)
        self.failed += failed[: FAILURES_KEPT - len(self.failed)]

    def received(self, index: int) -> list[Any]:
        if self._bytes_results - self._bytes_received < RECEIVED_BYTES:
            return []
        self._bytes_received = self._bytes_results
        return [Received(self.call, index)]

    def payloads(self) -> Sequence[bytes]:
        return list(self._unanswered.values())

    def resume(self) -> list[Any]:
        """The server knows the inputs that it has, and answers with the ranges it has not."""
        have = tuple(_gaps(sorted(self._unanswered), self._sent))
        return [ResumeCall(self.call, have), *self._ended()]

    def resend(self, unknown: bool, ranges: Sequence[tuple[int, int]]) -> list[Any]:
        waiting = sorted(self._unanswered)
        if unknown:
            return [self._begin((), 0), *self._again(waiting)]
        return self._again([i for i in waiting if any(a <= i < b for a, b in ranges)])

    def _again(self, indexes: Sequence[int]) -> list[Any]:
        messages: list[Any] = []
        for first, last in _runs(indexes):
            for at in range(first, last, CHUNK_INPUTS):
                rows = tuple(self._unanswered[i] for i in range(at, min(last, at + CHUNK_INPUTS)))
                messages.append(Inputs(self.call, at, rows))
        return messages + self._ended()

    def _ended(self) -> list[Any]:
        return [EndInputs(self.call, self.total)] if self.total >= 0 else []

    def fail(self, error: Error) -> None:
        self.out.put(error)
        self.close()


def _runs(indexes: Sequence[int]) -> list[tuple[int, int]]:
    """Sorted indexes as ranges [a, b)."""
    runs: list[tuple[int, int]] = []
    for index in indexes:
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _gaps(indexes: Sequence[int], end: int) -> list[tuple[int, int]]:
    """The ranges of 0 … end that are not in the sorted indexes."""
    gaps = []
    at = 0
    for first, last in _runs(indexes):
        if at < first:
            gaps.append((at, first))
        at = last
    if at < end:
        gaps.append((at, end))
    return gaps
