"""Runs one job per key, however many callers ask for it at once.

The first caller starts the job. Later callers wait for the same job, and are told its reports so far. The job is
cancelled only when no caller waits for it any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

Progress = Callable[[str, str], None]
"""Takes a report on a build: its kind (`step`, `line`, `cached`, `done`) and a text."""


def silent(kind: str, text: str) -> None:
    """Drops the report."""


_BACKLOG = 200
"""The number of reports that are kept for later callers."""


class Once(Generic[T]):
    """The running jobs, by key."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job[T]] = {}

    async def run(self, key: str, start: Callable[[Progress], Awaitable[T]], progress: Progress) -> T:
        """Returns the result of the job `key`, and starts it with `start` unless it is running."""
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job(start)
            job.task.add_done_callback(lambda _: self._jobs.pop(key, None))
        return await job.wait(progress)

    def __contains__(self, key: str) -> bool:
        return key in self._jobs


class _Job(Generic[T]):
    def __init__(self, start: Callable[[Progress], Awaitable[T]]) -> None:
        self._said: deque[tuple[str, str]] = deque(maxlen=_BACKLOG)
        self._listeners: list[Progress] = []
        self.task: asyncio.Task[T] = asyncio.ensure_future(self._run(start))

    async def _run(self, start: Callable[[Progress], Awaitable[T]]) -> T:
        return await start(self._say)

    def _say(self, kind: str, text: str) -> None:
        self._said.append((kind, text))
        for listener in self._listeners:
            listener(kind, text)

    async def wait(self, progress: Progress) -> T:
        for kind, text in self._said:
            progress(kind, text)
        self._listeners.append(progress)
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if len(self._listeners) == 1 and not self.task.done():
                self.task.cancel()
                await asyncio.gather(self.task, return_exceptions=True)
            raise
        finally:
            self._listeners.remove(progress)
