"""The journal: what the core was told lately, and where it stood before, so that any recent minute can be replayed with
exactly the decisions that were taken.

A ring of two parts. A part begins with a checkpoint of the core's whole state (the first of all with the core as it was
made) and goes on with the events since, as they were encoded. When the latest has its half of the ring, a new one is
begun, and of the others only the one before it is kept. So what is there begins with a checkpoint, from half a ring ago
or longer, and memory is bounded by the ring, but for an event that is larger than what is left of it.

A checkpoint holds up the loop: some 8 ms for 1,000 calls or containers. Where it would be too large it is postponed:
the latest part grows, at first at the cost of the older one, then of its own beginning. Then the journal says that it
is no longer `complete`, until a checkpoint can be taken again, with which it begins then.

It holds references, never payloads: an event's `refs` are left out, and the state has none.

It is also the way back. When a step fails in the middle, the state is a half-changed one; `rewound` makes the core as
it stood before that step, by the same replay.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from inrush.core.cluster import Cluster
from inrush.core.model.events import AnyEvent, AttemptsEnded, ContainerEnded

log = logging.getLogger(__name__)

JOURNAL_BYTES = 8 * 1024 * 1024
CHECKPOINT_LIMIT = 200_000
"""A checkpoint is taken only of a state of up to so many values: some 5,000 calls and containers, or 40 ms."""

_STEPS = 16
"""In so many steps a ring without room lets its beginning go. After a half of them a checkpoint that was postponed is
tried again, for that may cost as much as taking it."""


class _Part:
    """Events since a checkpoint, or since the core was made. A part that lost its beginning is not `complete`."""

    def __init__(self, checkpoint: bytes = b"") -> None:
        self.checkpoint, self.complete = checkpoint, True
        self.entries: deque[tuple[float, bytes]] = deque()
        self.size_bytes = len(checkpoint)

    def read(self) -> Iterator[tuple[float, AnyEvent]]:
        """The events with their times. In place of payloads there is nothing."""
        decode = msgspec.msgpack.Decoder(AnyEvent).decode
        for now, entry in self.entries:
            event = decode(entry)
            if type(event) is AttemptsEnded:
                event = msgspec.structs.replace(event, refs=(None,) * len(event.indexes))
            yield now, event

    def lose(self, size: int) -> None:
        """Drops the oldest events until so many bytes are free or none are left."""
        least = self.size_bytes - size
        self.size_bytes -= len(self.checkpoint)
        self.checkpoint, self.complete = b"", False
        while self.size_bytes > least and self.entries:
            self.size_bytes -= len(self.entries.popleft()[1])


class Journal:
    """The latest events of a core since a checkpoint, bounded in bytes."""

    def __init__(self, limit_bytes: int = JOURNAL_BYTES, core: Cluster | None = None) -> None:
        """`core` is the one whose events are recorded, before its first step. Without one there are no checkpoints."""
        self._limit, self._core = limit_bytes, core
        self._encode = msgspec.msgpack.Encoder(enc_hook=lambda _: None).encode
        self._rest = 0
        """For so many further times no checkpoint is tried."""
        self._part, self._due = _Part(), limit_bytes // 2
        """The latest part, and how many bytes it may reach before something has to be done."""
        self._parts = deque([self._part])

    def add(self, now: float, event: AnyEvent) -> None:
        """Appends an event that is about to be stepped."""
        if type(event) is AttemptsEnded:
            event = AttemptsEnded(event.container, event.call, event.indexes, event.statuses, (), event.spent_s)
        elif type(event) is ContainerEnded:
            event = ContainerEnded(event.container, event.status, event.why)
        entry = self._encode(event)
        if self._part.size_bytes + len(entry) > self._due:
            self._make_room(len(entry))
        self._part.entries.append((now, entry))
        self._part.size_bytes += len(entry)

    def file(self, version: str) -> bytes:
        """All of it as a file that `inrush sim replay` steps again: one msgpack map, with the events as they were
        encoded. It is `complete` when these events led to the decisions from the `checkpoint` on, or where there is
        none, from the start of the server."""
        first = self._parts[0]
        told: dict[str, Any] = {"format": 2, "version": version, "complete": first.complete}
        if self._core is not None:
            told |= {"seed": self._core.seed, "quotas": dict(self._core.quotas)}
        if first.checkpoint:
            told["checkpoint"] = msgspec.Raw(first.checkpoint)
        return msgspec.msgpack.encode({**told, "events": [entry for part in self._parts for entry in part.entries]})

    def read(self) -> Iterable[tuple[float, AnyEvent]]:
        """The events with their times, oldest first."""
        return [entry for part in self._parts for entry in part.read()]

    def rewound(self) -> Cluster | None:
        """Drops the last event, and returns a core that has stepped all others; None where the beginning is missing."""
        part, core = self._part, self._core
        part.size_bytes -= len(part.entries.pop()[1])
        if core is None or not part.complete:
            return None
        if part.checkpoint:
            again = Cluster.restored(msgspec.msgpack.decode(part.checkpoint))
        else:
            again = Cluster(core.seed, quotas=core.quotas)
        for now, event in part.read():
            again.step(event, now)
        return again

    @property
    def size_bytes(self) -> int:
        """The encoded bytes that are held."""
        return sum(part.size_bytes for part in self._parts)

    def _make_room(self, size: int) -> None:
        """Makes room for so many bytes, because the latest part has its half of the ring or all that it may have for
        now."""
        if self._part.size_bytes + size <= self._limit // 2:  # a part before it has more than its half, or had
            self._parts, self._due = deque([self._part]), self._limit // 2
        elif checkpoint := self._checkpoint():
            self._begin(_Part(checkpoint), size)
        else:
            self._go_on(max(size, self._limit // _STEPS))

    def _begin(self, part: _Part, size: int) -> None:
        """Begins a new part. The one before it is kept, if it can be replayed, for as long as there is room for
        both."""
        left = self._limit - part.size_bytes - size
        before = [old for old in self._parts if old.complete and old.size_bytes <= left][-1:]
        self._parts = deque([*before, part])
        self._part = part
        self._due = min(self._limit // 2, self._limit - sum(old.size_bytes for old in before))

    def _go_on(self, size: int) -> None:
        """Goes on without a checkpoint for now: the oldest events are dropped, so that the latest part may grow by so
        many bytes."""
        while len(self._parts) > 1 and self.size_bytes + size > self._limit:
            self._parts.popleft()
        if (over := self.size_bytes + size - self._limit) > 0:
            self._part.lose(over)
        self._due = self._part.size_bytes + size

    def _checkpoint(self) -> bytes:
        """The core's state, encoded; empty when it cannot be taken now or would leave too little room for events."""
        self._rest -= 1
        if self._core is None or self._rest > 0:
            return b""
        try:
            plain = self._core.checkpoint(CHECKPOINT_LIMIT)
            checkpoint = msgspec.msgpack.encode(plain) if plain is not None else b""
        except Exception:
            log.exception("a defect: no checkpoint of the core could be taken; its journal goes on without")
            checkpoint = b""
        if 0 < len(checkpoint) <= self._limit // 4:
            return checkpoint
        self._rest = _STEPS // 2
        return b""
