"""What the agent says to its server, gathered over one turn of the loop.

Guests answer in many small frames; the server takes one batch a turn. Without a link nothing is kept: the server that
comes back learns from `NodeHello` what still runs, and resends what has no result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from inrush.wire import FromNode

Deliver = Callable[[list[FromNode]], None]


class Outbox:
    """`put` never blocks; the batch goes out at the end of the turn."""

    def __init__(self) -> None:
        self._batch: list[FromNode] = []
        self._deliver: Deliver | None = None

    def open(self, deliver: Deliver) -> None:
        """From now on batches go to `deliver`."""
        self._deliver = deliver

    def close(self) -> None:
        """The link is gone; what is said from now on is dropped."""
        self._deliver = None
        self._batch = []

    def put(self, message: FromNode) -> None:
        if self._deliver is None:
            return
        if not self._batch:
            asyncio.get_running_loop().call_soon(self.flush)
        self._batch.append(message)

    def flush(self) -> None:
        """Hand over what there is now; a shutting agent calls this, the loop does otherwise."""
        batch, self._batch = self._batch, []
        if batch and self._deliver is not None:
            self._deliver(batch)
