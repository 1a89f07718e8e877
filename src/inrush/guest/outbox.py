"""The queue of results, items and logs, which it batches into columnar frames.

A frame costs some 20 µs whatever it holds, so results that follow one another closely share one. The first entry after
a pause is sent at once. Entries within `LATENCY_S` of the last frame are held, and are sent with the next later entry,
when the worker becomes idle, or with the pump's tick, whichever is first. Logs, items and results keep their order.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from inrush import frames
from inrush.guest.channel import Channel
from inrush.guest.descriptors import Descriptors
from inrush.guest.protocol import ASGI, BLOB, ERROR, INLINE_LIMIT_BYTES, MAX_PAYLOAD_BYTES, OK, system_failure

if TYPE_CHECKING:
    from inrush.guest.attempt import Attempt
    from inrush.guest.results import Payload

LATENCY_S = 0.0003
MAX_ALONE, ALONE_S = 32, 0.01
"""Lines that leave in frames of their own in such a time; more of them are gathered."""
MAX_HELD_ENTRIES = 256
MAX_HELD_BYTES = 512 * 1024

Entry = tuple[tuple[Any, ...], Any, bytes]
"""A key (entries of one key may share a frame), the values that are columns of the frame, and the payload."""


class Outbox:
    """Batches entries into frames and sends them. All threads may use it."""

    def __init__(self, channel: Channel, descriptors: Descriptors) -> None:
        self._channel = channel
        self._descriptors = descriptors
        self._lock = channel.lock
        self._entries: list[Entry] = []
        self._held_bytes = 0
        self._flushed_at = 0.0
        self._flushing = False
        self._few_until = 0.0
        self._alone = 0
        self._blob_ids = itertools.count(1)
        self.max_payload_bytes = MAX_PAYLOAD_BYTES
        self.on_hold: Callable[[], None] = lambda: None
        """Called when an entry is held that only a tick would send."""

    def ended(self, attempt: Attempt, status: int, payload: Payload, elapsed_s: float) -> None:
        """Queues the end of an attempt; the caller then calls `flush` or `promise`. A large result of `spawn` is sent
        in pieces, since the server keeps it in a file."""
        if not isinstance(payload, bytes) or len(payload) > INLINE_LIMIT_BYTES:
            status, payload = self.blob(status, payload, attempt.kind != "spawn")
        self._put((("out", attempt.call), (attempt.index, status, elapsed_s), payload))

    def dropped(self, call: str, index: int, status: int, payload: bytes) -> None:
        """Queues an end that the pump decided, without waiting for a slow agent."""
        with self._lock:
            self._entries.append((("out", call), (index, status, -1.0), payload))

    def item(self, call: str, index: int, number: int, payload: Payload) -> None:
        """Queues what a generator yielded, or a piece of a web response, which is never sent as a blob, since the
        gateway passes it on."""
        if not isinstance(payload, bytes) or (len(payload) > INLINE_LIMIT_BYTES and payload[:1] != ASGI):
            _, payload = self.blob(OK, payload)
        self._put((("item", call, index), number, payload))
        self.promise()

    def log(self, call: str, stream: str, text: str, at_once: bool = False) -> None:
        """Output of user code. What is flushed leaves `at_once`, for this process may crash next, or hold the GIL. So
        do other lines, while they are few."""
        if text:
            self._put((("log", call, stream), None, text.encode("utf-8", "replace")))
        if at_once or self._few():
            self.flush()
        else:
            self.promise()

    def _few(self) -> bool:
        """Whether one more line may leave on its own."""
        now = time.monotonic()
        if now >= self._few_until:
            self._few_until, self._alone = now + ALONE_S, 0
        self._alone += 1
        return self._alone <= MAX_ALONE

    def _put(self, entry: Entry) -> None:
        self._channel.await_room()
        with self._lock:
            self._entries.append(entry)
            self._held_bytes += len(entry[2])
            full = len(self._entries) >= MAX_HELD_ENTRIES or self._held_bytes > MAX_HELD_BYTES
            if full or time.monotonic() - self._flushed_at > LATENCY_S:
                self.flush()

    def promise(self) -> None:
        """Has the pump send what is held within about `LATENCY_S`, for a sender that adds nothing more."""
        if self._entries:
            self.on_hold()

    @property
    def holding(self) -> bool:
        return bool(self._entries)

    @property
    def overdue(self) -> bool:
        """Whether what is held has waited for `LATENCY_S`."""
        return bool(self._entries) and time.monotonic() - self._flushed_at > LATENCY_S

    def flush(self, wait: bool = True) -> None:
        """Sends what is held. The pump passes `wait=False`, since it must not block on a slow agent."""
        with self._lock:
            if self._flushing or not self._entries:
                return
            self._flushing = True
            try:
                while self._entries:
                    entries, self._entries, self._held_bytes = self._entries, [], 0
                    for key, group in itertools.groupby(entries, lambda entry: entry[0]):
                        for part in _parts(list(group)):
                            self._send(key, part, wait)
            finally:
                self._flushing = False
                self._flushed_at = time.monotonic()

    def _send(self, key: tuple[Any, ...], group: list[Entry], wait: bool) -> None:
        payloads = [payload for _, _, payload in group]
        if key[0] == "out":
            indexes, statuses, elapsed = zip(*[column for _, column, _ in group], strict=True)
            spent_us = int(sum(elapsed) * 1e6) if min(elapsed) >= 0 else -1
            header: dict[str, Any] = {"t": "out", "c": key[1], "i": indexes, "s": statuses, "w": spent_us}
        elif key[0] == "item":
            header = {"t": "item", "c": key[1], "i": [key[2]], "f": group[0][1]}
        else:
            header = {"t": "log", "c": key[1], "s": key[2]}
            payloads = [b"".join(payloads)]
        self._channel.send(frames.pack(header, payloads), wait)

    def blob(self, status: int, payload: Payload, in_memory: bool = False) -> tuple[int, bytes]:
        """Sends a large payload, as a memory descriptor or in pieces. Returns its status, and the reference to it; an
        error if it is over `max_payload_bytes`."""
        size = len(payload)
        if size > self.max_payload_bytes:
            why = f"a result of {size:,} bytes is over the limit of {self.max_payload_bytes:,} (max_payload_mib)"
            return ERROR, system_failure("RequestSizeError", f"{why}: return less, or write it to a file or a Volume")
        id = f"g{next(self._blob_ids)}"
        whole = [payload] if isinstance(payload, bytes) else payload.pieces
        try:
            if not in_memory or not self._descriptors.give(id, whole):
                self._send_pieces(id, whole, size)
        finally:
            if not isinstance(payload, bytes):
                payload.release()
        return status, BLOB + b'{"id":"%s","bytes":%d}' % (id.encode(), size)

    def _send_pieces(self, id: str, whole: Sequence[bytes | memoryview], left: int) -> None:
        for part in whole:
            view = memoryview(part).cast("B")
            for start in range(0, len(view), frames.CHUNK_BYTES):
                piece = bytes(view[start : start + frames.CHUNK_BYTES])
                left -= len(piece)
                self._channel.send(frames.pack({"t": "blob", "id": id, "last": not left}, (piece,)))

    def say(self, header: dict[str, Any], payloads: tuple[bytes, ...] = (), wait: bool = True) -> None:
        """Sends what is held, and then one frame with this header."""
        self.flush(wait)
        self._channel.send(frames.pack(header, payloads), wait)


def _parts(group: list[Entry]) -> list[list[Entry]]:
    """Splits entries into those that share a frame, within the agent's limits on entries and bytes."""
    if len(group) <= MAX_HELD_ENTRIES and sum(len(entry[2]) for entry in group) <= 2 * MAX_HELD_BYTES:
        return [group]
    parts: list[list[Entry]] = [[]]
    size = 0
    for entry in group:
        if parts[-1] and (len(parts[-1]) >= MAX_HELD_ENTRIES or size + len(entry[2]) > MAX_HELD_BYTES):
            parts.append([])
            size = 0
        parts[-1].append(entry)
        size += len(entry[2])
    return parts
