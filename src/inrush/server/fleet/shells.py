"""Containers of their own for shells: each is the one container of a function that has the image, files, environment
and resources of another, and none of its code, so that what does not start can be looked into.

The scheduler places it as any other container, so its memory and its GPU are nobody else's.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from inrush import wire
from inrush.core.model import effects, events
from inrush.errors import InvalidError, ResourceExhaustedError, StartupError
from inrush.server.apps.functions import Function, Functions
from inrush.server.fleet.containers import Containers

MAX_SHELLS = 64


class Shells:
    """All shells that are open, or wait for their containers."""

    def __init__(self, post: Callable[[Any], None], functions: Functions, containers: Containers) -> None:
        self._post, self._functions, self._containers = post, functions, containers
        self._open: dict[str, asyncio.Future[effects.Tried]] = {}

    @asynccontextmanager
    async def open(self, function: Function, waits: Callable[[str], Awaitable[None]]) -> AsyncIterator[str]:
        """Has a container started as `function` has them; it goes at the end of the block. Gives the container's id;
        `waits` is told if there is no room for it yet. Raises `ResourceExhaustedError`, `InvalidError` for a function
        that cannot run here, and `StartupError`."""
        if function.impossible:
            raise InvalidError(f"{function.title} cannot run here: {function.impossible}")
        if len(self._open) >= MAX_SHELLS:
            raise ResourceExhaustedError(f"{MAX_SHELLS} shells are open already; try again later")
        own = _like(function)
        try:
            self._functions.add(own)
            tried = await self._try(own, "beside")
            if tried.outcome == "no room":
                await waits(tried.why)
                tried = await self._try(own, "alone")
            if tried.outcome != "ready":
                raise StartupError(f"no shell could be opened: {tried.why}")
            yield tried.container or next(c.id for c in self._containers.all() if c.function.id == own.id)
        finally:
            self._open.pop(own.id, None)
            self._functions.remove(own.id)
            self._post(events.FunctionRemoved(own.id, "its shell was closed"))

    async def _try(self, function: Function, how: str) -> effects.Tried:
        tried: asyncio.Future[effects.Tried] = asyncio.get_running_loop().create_future()
        self._open[function.id] = tried
        self._post(function.added(how))
        return await tried

    def tried(self, effect: effects.Tried) -> None:
        """Carries out `Tried`."""
        future = self._open.get(effect.function)
        if future is not None and not future.done():
            future.set_result(effect)


def _like(function: Function) -> Function:
    """A function with the same containers, one of which is kept, and no code of its own."""
    id = f"fn-{secrets.token_hex(16)}"
    name = f"{function.name}.shell-{id[3:7]}"
    spec = msgspec.structs.replace(
        function.spec,
        module="inrush.guest.standby",
        qualname="stand_by",
        pickled="",
        is_class=False,
        methods=(),
        generators=(),
        parameters=(),
        scale=wire.ScalePolicy(min_containers=1, max_containers=1),
        snapshot=False,
        has_snap_hooks=False,
        web=(),
        cluster_size=0,
    )
    return Function(id, function.app, function.app_name, name, spec, durable=False, environment=function.environment)
