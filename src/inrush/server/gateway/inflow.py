"""How much of what a caller sends may be on its way to a container: what the app has not yet taken, within a window.

A container holds what it is fed in its own memory, and its node ends one that lets too much wait. So a piece of a body
or a message of a web socket is passed on only while less than the window waits for the app, and until then the caller's
connection is not read. The windows of all slots of a container are `CONTAINER_BYTES` together. A message that is larger
than a window passes alone, one at a time for an endpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from inrush import frames

CONTAINER_BYTES = 64 * 1024 * 1024
WINDOW_BYTES = 1024 * 1024
LEAST_BYTES = 64 * 1024
PIECE_BYTES = 32 * 1024
"""A larger piece of a body passes as several."""


def window(slots: int) -> int:
    """Of one request, where so many share a container."""
    return max(LEAST_BYTES, min(WINDOW_BYTES, CONTAINER_BYTES // max(1, slots)))


class Inflow:
    """What was fed to one request and not taken. `large` gives the lock that the one large message of its endpoint
    holds."""

    def __init__(self, window_bytes: int, large: Callable[[], asyncio.Lock]) -> None:
        self._window, self._large = window_bytes, large
        self._waiting = 0
        self._taken: asyncio.Event | None = None
        """Made when something has to wait, which is seldom."""
        self._holds: asyncio.Lock | None = None

    async def room(self, size: int) -> None:
        """Returns when a piece of this size may pass, and counts it."""
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
        """The app has taken so much more."""
        self._waiting = max(0, self._waiting - size)
        if self._taken is not None:
            self._taken.set()
        if not self._waiting:
            self._release()

    def end(self) -> None:
        """The request is over."""
        self._release()

    def _release(self) -> None:
        if self._holds is not None:
            self._holds.release()
            self._holds = None
