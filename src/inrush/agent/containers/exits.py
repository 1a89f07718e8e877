"""Ends of containers and commands, as the launcher reports them, for whoever waits for one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from inrush.launcher.specs import Exited


class Exits:
    """The launcher's `on_exit`. `unexpected` hears of ends that nobody waits for: templates that died by themselves."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Exited]] = {}
        self.unexpected: Callable[[Exited], None] = lambda exited: None

    def expect(self, id: str) -> asyncio.Future[Exited]:
        """To be called before the start is asked for; `forget` it if that fails."""
        future = self._waiting[id] = asyncio.get_running_loop().create_future()
        return future

    def forget(self, id: str) -> None:
        self._waiting.pop(id, None)

    def __call__(self, exited: Exited) -> None:
        future = self._waiting.pop(exited.id, None)
        if future is None:
            self.unexpected(exited)
        elif not future.done():
            future.set_result(exited)

    def all_gone(self) -> None:
        """The launcher has ended, and with it everything."""
        for id in list(self._waiting):
            self(Exited(id, -1, signal=signal.SIGKILL))
