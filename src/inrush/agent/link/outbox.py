"""What the agent says to its server, gathered over one turn of the loop.

Guests answer in many small frames; the server takes one batch a turn. A result that comes alone, after a pause, goes to
the server at once: to a warm call the turn would be a good part of its way. Without a link nothing is kept: the server
that comes back learns from `NodeHello` what still runs, and resends what has no result.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from inrush.wire import FromNode, Ran

Deliver = Callable[[list[FromNode]], None]

PAUSE_S = 0.00025
"""Results that follow one another faster than this are gathered."""


class Outbox:
    """Messages for the server. `put` never blocks; the batch leaves at the end of the turn."""

    def __init__(self) -> None:
        self._batch: list[FromNode] = []
        self._deliver: Deliver | None = None
        self._alone = True
        self._flushed_at = -math.inf
        self.receiving = False
        """True while orders are carried out. What they cause is sent after all of them."""

    def open(self, deliver: Deliver) -> None:
        """Sends batches to `deliver` from now on."""
        self._deliver = deliver

    def close(self) -> None:
        """Drops whatever is put from now on, because the link is gone."""
        self._deliver = None
        self._batch = []

    def put(self, message: FromNode) -> None:
        if self._deliver is None:
            return
        if self._batch:
            self._batch.append(message)
            return
        self._batch.append(message)
        if type(message) is Ran and self._alone and not self.receiving:
            now = time.monotonic()
            if now - self._flushed_at > PAUSE_S:
                self._flushed_at = now
                self.flush()
                return
        asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Sends what there is now. An agent that stops calls this; otherwise the loop does."""
        batch, self._batch = self._batch, []
        self._alone = len(batch) <= 1
        if batch and self._deliver is not None:
            self._deliver(batch)
