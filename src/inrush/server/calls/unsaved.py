"""Results that the disk did not take. They are kept in memory and written again when there is room.

One of them is tried now and then; once it is saved, all others follow together. So a full disk costs one write a
second, however many results wait for it. The log tells when that begins, when the reason changes, and when no write has
failed for a while: on a disk that is nearly full, some still succeed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

RETRY_S = 1.0


class Unsaved:
    """The writes that have failed, the oldest first."""

    def __init__(self) -> None:
        self._writes: deque[Callable[[], None]] = deque()
        self._why = ""
        self._timer: asyncio.TimerHandle | None = None
        self._calm: asyncio.TimerHandle | None = None
        """Runs out when no write has failed for `RETRY_S` since one succeeded."""

    def again(self, why: str, write: Callable[[], None]) -> None:
        """Has a write repeated that failed. It has to say how it ended, by `again` or `saved`."""
        if why != self._why:
            self._why = why
            log.error("results of spawned calls cannot be saved, and are kept and tried again: %s", why)
        if self._calm is not None:
            self._calm.cancel()
            self._calm = None
        self._writes.append(write)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RETRY_S, self._try)

    def saved(self) -> None:
        """A write has succeeded, so those that failed are repeated."""
        if not self._why:
            return
        writes, self._writes = self._writes, deque()
        for write in writes:
            write()
        if self._calm is None:
            self._calm = asyncio.get_running_loop().call_later(RETRY_S, self._over)

    def close(self) -> None:
        """Ends the repetition."""
        for timer in (self._timer, self._calm):
            if timer is not None:
                timer.cancel()

    def _over(self) -> None:
        self._calm, self._why = None, ""
        log.info("results of spawned calls can be saved again")

    def _try(self) -> None:
        self._timer = None
        if self._writes:
            self._writes.popleft()()
