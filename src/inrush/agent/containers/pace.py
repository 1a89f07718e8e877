"""How many frames of one guest are handled at once, and in a second.

Handling a frame costs the event loop some 10 µs, which all containers and the server share. So a guest that sends more
than an honest one ever does (its own outbox gathers what it has to say into some 3,000 frames a second) is read more
slowly: its frames wait in its socket, and it in `send`.
"""

from __future__ import annotations

import time

FRAMES_PER_S = 20_000
MAX_FRAMES_AT_ONCE = 512


class Pace:
    """A token bucket of a tenth of a second's frames. `allows` is on the way of every result."""

    def __init__(self) -> None:
        self._tokens = self._full = FRAMES_PER_S / 10
        self._at = time.monotonic()

    def allows(self, count: int) -> bool:
        """Takes so many, if they may be handled now."""
        if count > MAX_FRAMES_AT_ONCE:
            return False
        if count > self._tokens:
            self._refill()
            if count > self._tokens:
                return False
        self._tokens -= count
        return True

    def spend(self, more: int) -> None:
        """A frame that was handled costs so many more."""
        self._tokens -= more

    def take(self) -> int:
        """Takes what may be handled now."""
        self._refill()
        taken = max(0, min(int(self._tokens), MAX_FRAMES_AT_ONCE))
        self._tokens -= taken
        return taken

    def rest_s(self) -> float:
        """When to try again."""
        return MAX_FRAMES_AT_ONCE / FRAMES_PER_S if self._tokens < MAX_FRAMES_AT_ONCE else 0.001

    def _refill(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._full, self._tokens + (now - self._at) * FRAMES_PER_S)
        self._at = now
