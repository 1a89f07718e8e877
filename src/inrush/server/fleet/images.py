"""Image builds: asked for by clients, done by a node, their output passed on as it comes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from inrush import wire
from inrush.errors import ResourceExhaustedError, from_code
from inrush.server.fleet.nodes import Nodes
from inrush.server.things.secrets import Secrets

Progress = Callable[[str, str], None]

MAX_BUILDS = 256


class Images:
    """Builds in flight. Nodes see to it that one layer is built once."""

    def __init__(self, nodes: Nodes, secrets: Secrets, force: bool) -> None:
        self._nodes, self._secrets, self._force = nodes, secrets, force
        self._builds: dict[str, tuple[Progress, asyncio.Future[wire.Built]]] = {}
        nodes.handlers[wire.BuildLine] = self._line
        nodes.handlers[wire.Built] = self._built

    async def build(self, ask: wire.BuildImage, environment: str, progress: Progress) -> dict[str, str]:
        """The image's id and its Python. Raises `ImageBuildError` with the failed step and its output."""
        if len(self._builds) >= MAX_BUILDS:
            raise ResourceExhaustedError(f"{MAX_BUILDS} images are being built already; try again later")
        env = tuple(self._secrets.values(ask.secrets).items())
        id = f"bu-{secrets.token_hex(8)}"
        future: asyncio.Future[wire.Built] = asyncio.get_running_loop().create_future()
        self._builds[id] = (progress, future)
        try:
            order = wire.Build(id, ask.recipe, ask.app, env, ask.force or self._force, environment)
            (await self._nodes.first()).send(order)
            built = await future
        finally:
            del self._builds[id]
        if built.code:
            raise from_code(built.code, built.message)
        return {"image": built.image, "python": built.python}

    def _line(self, message: wire.BuildLine) -> None:
        build = self._builds.get(message.build)
        if build is not None:
            build[0](message.kind, message.text)

    def _built(self, message: wire.Built) -> None:
        build = self._builds.get(message.build)
        if build is not None and not build[1].done():
            build[1].set_result(message)
