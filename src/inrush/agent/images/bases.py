"""The base images that a recipe can name: their digests, and how a missing one is made."""

from __future__ import annotations

import asyncio
from pathlib import Path

from inrush.agent.images import debian, host
from inrush.agent.images.base import Base
from inrush.agent.images.build import Builder
from inrush.agent.images.layerstore import LayerStore
from inrush.agent.images.once import Progress, silent
from inrush.agent.images.workshop import Workshop
from inrush.errors import InvalidError
from inrush.wire import Recipe


def python_of(recipe: Recipe) -> str:
    """The minor version of Python that a recipe asks for. Raises `InvalidError` if its base cannot have it."""
    python = recipe.python or host.VERSION
    if recipe.base == "host" and python != host.VERSION:
        raise InvalidError(f"Image.host() has the server's Python {host.VERSION}, not {python}; {debian.WAYS}")
    try:
        major, minor = (int(part) for part in python.split("."))
    except ValueError:
        raise InvalidError(f"the Python version of an image is like '3.11', not {python!r}") from None
    if (major, minor) < (3, 11):
        raise InvalidError(f"images need Python 3.11 or later, not {python}; {debian.WAYS}")
    return python


def digest(recipe: Recipe) -> str:
    """The digest of a recipe's base. Raises `InvalidError` for an unknown base."""
    python = python_of(recipe)
    if recipe.base == "host":
        return host.digest()
    if recipe.base == "debian_slim":
        return debian.digest(python)
    raise InvalidError(f"no base image is called {recipe.base!r}; there are 'host' and 'debian_slim'")


def base(recipe: Recipe, layer: str) -> Base:
    """A recipe's base, given the name of its layer."""
    return host.base(layer) if recipe.base == "host" else debian.base(layer, python_of(recipe))


class Bases:
    """Makes base images."""

    def __init__(self, store: LayerStore, workshop: Workshop, builder: Builder) -> None:
        self._store = store
        self._workshop = workshop
        self._builder = builder

    async def host(self) -> Base:
        """The base `host`. If it is missing it is generated, which takes milliseconds."""

        async def fill(layer: Path, progress: Progress) -> None:
            await asyncio.to_thread(host.generate, layer)

        return host.base(await self._store.make(host.digest(), fill, silent, fingerprinted=True))

    async def make(self, recipe: Recipe, layer: Path, uid_base: int, progress: Progress) -> None:
        """Makes the layer of a recipe's base `debian_slim`."""
        under = await self.host()
        supplies = await asyncio.to_thread(self._workshop.supplies, "")
        means = debian.Means(
            builder=self._builder,
            work=self._workshop.work,
            host=under,
            host_layers=self._store.paths(under.layers),
            settings=supplies.apt,
            env=supplies.env,
            binds=supplies.binds,
        )
        with self._store.holding(under.layers):
            await debian.make(python_of(recipe), layer, uid_base, means, progress)
