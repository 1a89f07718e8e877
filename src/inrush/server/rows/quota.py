"""Quotas: how many bytes of the store the rows of one environment may take.

Added rows are counted; removed or replaced ones are not, so the count can only be too high. The rows of an environment
are measured when it first writes, and again, at most every `MEASURE_S`, when its count is over the limit. Until then
further writes are refused, so an environment that has removed rows can write again within `MEASURE_S`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import sqlalchemy as sa

from inrush.errors import Error, ResourceExhaustedError
from inrush.server.rows.store import Store

log = logging.getLogger(__name__)

MEASURE_S = 30.0
"""How often an environment is measured at most, since that takes time of the reader thread."""
ROW_BYTES = 256
"""What a row counts beyond its content."""

Measure = Callable[[sa.Connection, str], int]
"""Measures the bytes of an environment's rows."""


class _Count:
    __slots__ = ("bytes", "measured_at", "measuring")

    def __init__(self) -> None:
        self.bytes = 0
        self.measured_at = float("-inf")
        self.measuring = False


class Quota:
    """The quota of one kind of rows in all environments; `what` names the kind in refusals. Only the event loop's
    thread may use it."""

    def __init__(self, store: Store, limit_bytes: int, measure: Measure, what: str) -> None:
        self._store, self._limit, self._measure, self._what = store, limit_bytes, measure, what
        self._counts: dict[str, _Count] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, environment: str, size: int) -> None:
        """Counts bytes that are written in any case."""
        count = self._counts.get(environment)
        if count is None:
            count = self._counts[environment] = _Count()
            self._look(environment, count)
        count.bytes += size + ROW_BYTES

    def charge(self, environment: str, size: int) -> None:
        """Counts bytes that will be written. Raises `ResourceExhaustedError`, and counts nothing, over the limit."""
        count = self._counts.get(environment)
        if count is not None and count.bytes + size > self._limit:
            self._look(environment, count)
            raise ResourceExhaustedError(
                f"{self._what} of environment {environment!r} take {count.bytes >> 20} of {self._limit >> 20} MiB "
                "(setting environment_gib); remove some, and try again in a moment"
            )
        self.add(environment, size)

    def _look(self, environment: str, count: _Count) -> None:
        if count.measuring or time.monotonic() - count.measured_at < MEASURE_S:
            return
        count.measuring = True
        task = asyncio.ensure_future(self._measured(environment, count))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _measured(self, environment: str, count: _Count) -> None:
        before = count.bytes
        try:
            found = await self._store.read(lambda connection: self._measure(connection, environment))
            count.bytes += found - before
        except Error as error:
            log.warning("what %s of environment %s take could not be measured: %s", self._what, environment, error)
        count.measuring, count.measured_at = False, time.monotonic()
