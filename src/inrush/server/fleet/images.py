"""Image builds, which clients ask for and a node carries out. Their output is passed on as it comes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from inrush import wire
from inrush.errors import ResourceExhaustedError, from_code
from inrush.server.fleet.nodes import Nodes
from inrush.server.secrets.secrets import Secrets

Progress = Callable[[str, str], None]

MAX_BUILDS = 256


class Images:
    """Builds in flight. Nodes make sure that one layer is built once."""

    def __init__(self, nodes: Nodes, secrets: Secrets, force: bool, key: Callable[[str], str]) -> None:
        """`key` says what nodes know an environment by."""
        self._nodes, self._secrets, self._force, self._key = nodes, secrets, force, key
        self._builds: dict[str, tuple[Progress, asyncio.Future[wire.Built]]] = {}
        nodes.handlers[wire.BuildLine] = self._line
        nodes.handlers[wire.Built] = self._built

    async def build(self, ask: wire.BuildImage, environment: str, progress: Progress) -> dict[str, Any]:
        """The image's id, its Python, and the key of each step, which belongs into the recipe of whoever runs it.
        Raises `ImageBuildError` with the failed step and its output.
        """
        if len(self._builds) >= MAX_BUILDS:
            raise ResourceExhaustedError(f"{MAX_BUILDS} images are being built already; try again later")
        env = self._secrets.values(ask.secrets, environment)
        key = self._key(environment)
        recipe = self._keyed(ask.recipe, key, env)
        id = f"bu-{secrets.token_hex(16)}"
        future: asyncio.Future[wire.Built] = asyncio.get_running_loop().create_future()
        self._builds[id] = (progress, future)
        try:
            force = ask.force or self._force
            order = wire.Build(id, recipe, ask.app, tuple(env.items()), force, key)
            (await self._nodes.first()).send(order)
            built = await future
        finally:
            del self._builds[id]
        if built.code:
            raise from_code(built.code, built.message)
        return {"image": built.image, "python": built.python, "keys": [step.key for step in recipe.steps]}

    def _keyed(self, recipe: wire.Recipe, environment: str, env: Mapping[str, str]) -> wire.Recipe:
        """The recipe in which each step with secrets has the key of their values, and no other step has one."""

        def keyed(step: wire.Step) -> wire.Step:
            values = {name: env[name] for name in step.secrets if name in env}
            key = self._secrets.mark(environment, values) if step.secrets else ""
            return msgspec.structs.replace(step, key=key)

        return msgspec.structs.replace(recipe, steps=tuple(keyed(step) for step in recipe.steps))

    def _line(self, message: wire.BuildLine) -> None:
        build = self._builds.get(message.build)
        if build is not None:
            build[0](message.kind, message.text)

    def _built(self, message: wire.Built) -> None:
        build = self._builds.get(message.build)
        if build is not None and not build[1].done():
            build[1].set_result(message)
