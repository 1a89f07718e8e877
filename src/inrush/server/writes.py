"""When links write. Whoever has something to say adds its `write`, and all of them are called once a turn.

Where few calls are under way they are called at the end of the very turn that made them speak: the next turn of the
event loop would cost a warm call more than the system call does. Where there are many, or turns follow one another
closely, what they say is gathered and leaves with the event loop's next turn, in fewer and larger writes.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

log = logging.getLogger(__name__)

PAUSE_S = 0.00005
"""Turns that follow one another faster share their writes."""
FEW_CALLS = 8
"""Up to so many calls are served one by one."""


class Writes:
    """Who has something to write."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []
        self._scheduled = self._held = False
        self._written_at = -math.inf

    def add(self, write: Callable[[], None]) -> None:
        """Has `write` called, once, and soon."""
        self._due.append(write)
        if not self._held:
            self._schedule()

    def hold(self) -> None:
        """What is added from here on waits for `release`."""
        self._held = True

    def release(self, now: float, calls: int) -> None:
        """The turn is over; so many calls are under way."""
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
