"""Blobs in memory: sealed memfds that a client or a container of this machine passed, by id.

They last as long as the server's process, so payloads that must outlive it are never put here. When they exceed their
budget, or their number `MAX_BLOBS`, blobs whose call is forgotten are dropped; if that is not enough, a new one is
refused and sent as a file. Blobs of containers of one app may take one part in `SHARE_OF_ONE_APP` of both limits.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Collection, Iterable
from typing import NamedTuple

from inrush.errors import ResourceExhaustedError
from inrush.linux import memory
from inrush.server.shares import SHARE_OF_ONE_APP

SHARE_OF_MEMORY = 4
"""Blobs may take one part in so many of this machine's memory."""

MAX_BLOBS = 256
"""The most blobs, since each takes a descriptor."""

READING_S = 1.0
"""A client that reads a blob in pieces asks for the next piece within this time."""


class _Blob(NamedTuple):
    fd: int
    size: int
    owner: str
    """The app whose container made it; empty for those of clients."""
    until: float
    """When it expires unless it is held, in seconds since the epoch."""
    lingers_since: float = math.inf
    """When its call was forgotten, or when it was last read after that."""


class MemoryBlobs:
    """All blobs in memory. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blobs: dict[str, _Blob] = {}
        self._budget = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // SHARE_OF_MEMORY
        self._bytes = 0

    def __contains__(self, id: str) -> bool:
        return id in self._blobs

    def size(self, id: str) -> int | None:
        blob = self._blobs.get(id)
        return blob.size if blob is not None else None

    def add(self, id: str, fd: int, size: int, keep_s: float, held: Collection[str] = (), owner: str = "") -> None:
        """Adds a blob, and takes over its descriptor. Raises `ResourceExhaustedError`, and leaves the descriptor with
        the caller, if there is no room."""
        with self._lock:
            if id in self._blobs:
                os.close(fd)
                return
            if not self._room(size, owner):
                self._make_room(size, held, owner)
            if not self._room(size, owner):
                raise ResourceExhaustedError(
                    f"{len(self._blobs)} payloads hold {self._bytes >> 20} of {self._budget >> 20} MiB of memory"
                )
            self._blobs[id] = _Blob(fd, size, owner, time.time() + keep_s)
            self._bytes += size

    def _room(self, size: int, owner: str) -> bool:
        if self._bytes + size > self._budget or len(self._blobs) >= MAX_BLOBS:
            return False
        if not owner:
            return True
        own = [blob.size for blob in self._blobs.values() if blob.owner == owner]
        return sum(own) + size <= self._budget // SHARE_OF_ONE_APP and len(own) < MAX_BLOBS // SHARE_OF_ONE_APP

    def _make_room(self, size: int, held: Collection[str], owner: str) -> None:
        """Drops blobs whose call is forgotten and which nobody reads, the oldest first, until there is room."""
        unread = time.time() - READING_S
        lingering = [(b.lingers_since, id) for id, b in self._blobs.items() if b.lingers_since < unread]
        for _, id in sorted(lingering):
            if id not in held and not self._room(size, owner):
                self._drop(id)

    def open(self, id: str) -> int | None:
        """A descriptor for reading a blob, which the caller closes; None if the blob is not in memory."""
        with self._lock:
            blob = self._blobs.get(id)
            if blob is None:
                return None
            if blob.lingers_since < math.inf:
                self._blobs[id] = blob._replace(lingers_since=time.time())
            return memory.reopened(blob.fd)

    def keep(self, id: str, seconds: float) -> None:
        """Has a blob expire after so many seconds unless it is held, and be the next to make room."""
        with self._lock:
            blob = self._blobs.get(id)
            if blob is not None:
                self._blobs[id] = blob._replace(until=time.time() + seconds, lingers_since=time.time())

    def drop(self, id: str) -> None:
        """Drops a blob. Processes that have mapped it keep their mapping."""
        with self._lock:
            self._drop(id)

    def _drop(self, id: str) -> None:
        blob = self._blobs.pop(id, None)
        if blob is not None:
            self._bytes -= blob.size
            os.close(blob.fd)

    def sweep(self, held: Iterable[str]) -> None:
        """Drops blobs that have expired and are not held."""
        now = time.time()
        for id, blob in list(self._blobs.items()):
            if blob.until < now and id not in held:
                self.drop(id)
