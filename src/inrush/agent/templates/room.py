"""Memory of a node between its containers and its idle templates: what containers have been promised is theirs, so
templates that nobody lives from give way when it is wanted."""

from __future__ import annotations

import asyncio
from typing import Any

from inrush.agent.templates.templates import Templates


class Room:
    """`memory_mib` is what the node has for containers and templates."""

    def __init__(self, templates: Templates, memory_mib: int) -> None:
        self._templates = templates
        self._memory_mib = memory_mib
        self._promised_mib = 0

    async def make(self, mib: int) -> None:
        """A container that asks for so much is about to start."""
        await self._templates.make_room(self._memory_mib - self._promised_mib - mib - self._templates.held_mib)

    def take(self, mib: int, exited: asyncio.Future[Any]) -> None:
        """It starts, and lives until `exited`."""
        self._promised_mib += mib
        exited.add_done_callback(lambda _: self._leave(mib))

    def _leave(self, mib: int) -> None:
        self._promised_mib -= mib
