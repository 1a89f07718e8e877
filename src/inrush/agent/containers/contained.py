"""A container that the launcher runs: from the wish for it to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from inrush.errors import Error
from inrush.launcher.client import Launcher
from inrush.launcher.specs import Exited, Started


class Contained:
    """A container that the launcher runs."""

    def __init__(self, launcher: Launcher, id: str, exited: asyncio.Future[Exited]) -> None:
        self._launcher = launcher
        self._id = id
        self._exited = exited
        self._killing: asyncio.Task[None] | None = None
        self.runs = False

    async def launched(self, launching: Coroutine[Any, Any, Started]) -> Started:
        """Returns when it runs. If nobody wants it any more, it is ended first. Raises what the launcher says."""
        task = asyncio.ensure_future(launching)
        try:
            started = await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            if task.exception() is None:
                self.runs = True
                self.kill()
                await self.wait()
            raise
        self.runs = True
        return started

    async def wait(self) -> Exited:
        return await self._exited

    def kill(self) -> None:
        if self._killing is None:
            self._killing = asyncio.create_task(self._kill())

    async def _kill(self) -> None:
        with suppress(Error, OSError):  # the launcher is gone, and its containers with it
            await self._launcher.kill(self._id)
