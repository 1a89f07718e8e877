"""Flow control of requests: a window bounds what a caller has sent and the app has not yet taken.

A container keeps received data in its own memory, and its node kills one that lets too much wait. So a piece of a body,
or a message of a WebSocket, is passed on only while less than the window waits for the app; until then the caller's
connection is not read. The windows of all slots of a container add up to `CONTAINER_BYTES` at most. A message that is
larger than a window passes alone, one at a time for an endpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from inrush import frames

CONTAINER_BYTES = 64 * 1024 * 1024
WINDOW_BYTES = 1024 * 1024
LEAST_BYTES = 64 * 1024
PIECE_BYTES = 32 * 1024
"""A larger piece of a body is passed on as several."""


def window(slots: int) -> int:
    """The window of one request in bytes, if a container has so many slots."""
    return max(LEAST_BYTES, min(WINDOW_BYTES, CONTAINER_BYTES // max(1, slots)))


class Inflow:
    """The window of one request. `large` returns the lock that a message larger than the window holds, of which an
    endpoint has one."""

    def __init__(self, window_bytes: int, large: Callable[[], asyncio.Lock]) -> None:
        self._window, self._large = window_bytes, large
        self._waiting = 0
        self._taken: asyncio.Event | None = None
        """Made only when a piece has to wait, which is rare."""
        self._holds: asyncio.Lock | None = None

    async def room(self, size: int) -> None:
        """Waits until a piece of this size may pass, and counts it."""
        cost = size + frames.FEED_COST_BYTES
        if cost > self._window and self._holds is None:
            lock = self._large()
            await lock.acquire()
            self._holds = lock
        while self._waiting and self._waiting + cost > self._window:
            self._taken = asyncio.Event()
            await self._taken.wait()
        self._waiting += cost

    def took(self, size: int) -> None:
        """Frees room in the window that the app has taken from it."""
        self._waiting = max(0, self._waiting - size)
        if self._taken is not None:
            self._taken.set()
        if not self._waiting:
            self._release()

    def end(self) -> None:
        """Frees the lock for large messages when the request is over."""
        self._release()

    def _release(self) -> None:
        if self._holds is not None:
            self._holds.release()
            self._holds = None
