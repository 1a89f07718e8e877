"""One job a key, however many ask for it at once.

Whoever asks first starts the job; later ones wait for the same one, and are told what it has said so far. The job ends
early only when nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

Progress = Callable[[str, str], None]
"""Told how a build goes: kind (`step`, `line`, `cached`, `done`) and text."""


def silent(kind: str, text: str) -> None:
    """Nobody listens."""


_BACKLOG = 200
"""Reports that a late asker is told."""


class Once(Generic[T]):
    """Jobs under way, by key."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job[T]] = {}

    async def run(self, key: str, start: Callable[[Progress], Awaitable[T]], progress: Progress) -> T:
        """The result of the job `key`, begun with `start` unless it is under way."""
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
