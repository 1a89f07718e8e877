"""When links write. A link that has something to send adds its `write`, and all of them are called once in each turn of
the loop.

With few calls under way they are called at the end of the very turn that added them, since the event loop's next turn
would cost a warm call more than the system call does. With many calls, or when turns follow one another closely,
messages are gathered and leave in the event loop's next turn, in fewer and larger writes.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

log = logging.getLogger(__name__)

PAUSE_S = 0.00005
"""Turns that follow one another faster than this share their writes."""
FEW_CALLS = 8
"""Up to so many calls are served one by one."""


class Writes:
    """Links that have something to write."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []
        self._scheduled = self._held = False
        self._written_at = -math.inf

    def add(self, write: Callable[[], None]) -> None:
        """Has `write` called once and soon."""
        self._due.append(write)
        if not self._held:
            self._schedule()

    def hold(self) -> None:
        """Has writes that are added from here on wait for `release`."""
        self._held = True

    def release(self, now: float, calls: int) -> None:
        """Ends a turn in which so many calls are under way."""
        self._held = False
        if not self._due or self._scheduled:
            return
        if calls <= FEW_CALLS and now - self._written_at > PAUSE_S:
            self._written_at = now
            self._write()
        else:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._write_scheduled)

    def _write_scheduled(self) -> None:
        self._scheduled = False
        self._write()

    def _write(self) -> None:
        due, self._due = self._due, []
        for write in due:
            try:
                write()
            except Exception:
                log.exception("a defect: what was to be written could not be")
