"""Generator functions: each item is sent as it is yielded, no faster than the consumer takes items.

The consumer grants credit, and each item uses one. A generator without credit waits at its `yield`, where a
cancellation can interrupt it.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from inrush.errors import InputCancellation
from inrush.guest.attempt import Attempt
from inrush.guest.interrupt import Interrupter
from inrush.guest.outbox import Outbox
from inrush.guest.protocol import PICKLE
from inrush.guest.results import encode

if TYPE_CHECKING:
    import asyncio


class Credit:
    """The number of items that a generator may still send."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._left = 0
        self._over = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def grant(self, more: int) -> None:
        """Adds credit, on the pump's thread."""
        with self._changed:
            self._left += more
            self._tell()

    def end(self) -> None:
        """Ends the attempt at its next item, on the pump's thread."""
        with self._changed:
            self._over = True
            self._tell()

    def spend(self) -> None:
        """Waits for credit, and uses one. Raises `InputCancellation` after `end`."""
        with self._changed:
            self._changed.wait_for(lambda: self._left > 0 or self._over)
            if self._over:
                raise InputCancellation("the input was cancelled")
            self._left -= 1

    async def spend_async(self) -> None:
        """Waits for credit on the event loop, and uses one. A cancellation comes through the task, not through
        `end`."""
        import asyncio

        while True:
            event = asyncio.Event()
            with self._changed:
                if self._left > 0:
                    self._left -= 1
                    return
                self._waiter = (asyncio.get_running_loop(), event)
            await event.wait()

    def _tell(self) -> None:
        self._changed.notify_all()
        if self._waiter is not None:
            loop, event = self._waiter
            self._waiter = None
            loop.call_soon_threadsafe(event.set)


def iterate(iterator: Iterator[Any], attempt: Attempt, interrupter: Interrupter, outbox: Outbox) -> None:
    """Sends what a sync generator yields. Its `finally` blocks have run on return."""
    try:
        for number, value in enumerate(iterator):
            with interrupter:
                payload = encode(value, PICKLE)
                attempt.mailbox.spend()
                outbox.item(attempt.call, attempt.index, number, payload)
    finally:
        if hasattr(iterator, "close"):
            iterator.close()


async def iterate_async(iterator: AsyncIterator[Any], attempt: Attempt, outbox: Outbox) -> None:
    """Sends what an async generator yields. Its `finally` blocks have run on return."""
    number = 0
    try:
        async for value in iterator:
            payload = encode(value, PICKLE)
            await attempt.mailbox.spend_async()
            outbox.item(attempt.call, attempt.index, number, payload)
            number += 1
    finally:
        if hasattr(iterator, "aclose"):
            await iterator.aclose()
