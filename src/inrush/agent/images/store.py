"""The images of a node: from a recipe to layers that a container can be started on.

    base (host | debian_slim)  ─▶  layer of step 1  ─▶  layer of step 2  ─▶  …      each built once, kept by digest
    archives (sources, mounts) and the runtime are layers too, put above an image by whoever starts a container

`ensure` builds what is missing, `find` only looks. Whoever starts containers from layers holds them (`hold`,
`release`), so that they are not evicted meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from inrush.agent.images import bases, runtime
from inrush.agent.images.base import Base
from inrush.agent.images.bases import Bases
from inrush.agent.images.build import Builder, Exits, Launcher
from inrush.agent.images.chain import BuiltImage, Chain
from inrush.agent.images.download_cache import DownloadCache
from inrush.agent.images.inherited import Inherited
from inrush.agent.images.layerstore import Fill, LayerStore
from inrush.agent.images.once import Progress, silent
from inrush.agent.images.places import Places
from inrush.agent.images.stepbuild import Order, StepBuilder, unpack_blobs
from inrush.agent.images.workshop import Workshop
from inrush.agent.payloads.blobs import BlobReader
from inrush.core.images import layers
from inrush.errors import ImageBuildError, InternalError
from inrush.wire import Recipe, Step

__all__ = ["BuiltImage", "ImageStore"]

MAX_MOVED = 4096
"""Pairs of an archive and an image of which it is remembered whether links move anything."""
_GIB, _MIB = 1 << 30, 1 << 20
_NO_SPACE = "No space left on device"


class ImageStore:
    """All images of a node, below its directory `root`. Call `start` once before anything else."""

    def __init__(
        self,
        root: Path,
        launcher: Launcher,
        exits: Exits,
        platform_uid: Callable[[str], int],
        *,
        budget_gib: float = 50,
        free_floor_mib: int = 512,
        inherited: Inherited | None = None,
    ) -> None:
        """`platform_uid` tells the first uid of the range that the platform's own containers run in: those that work
        for an environment, or, by an empty name, for all of them. `inherited` are the node's package settings, where
        this process could not read them itself.
        """
        budget, floor = int(budget_gib * _GIB), free_floor_mib * _MIB
        self._layers = LayerStore(root / "layers", launcher, budget_bytes=budget, floor_bytes=floor)
        self._platform_uid = platform_uid
        self._workshop = Workshop(root / "cache", launcher, inherited or Inherited.read())
        self._builder = Builder(launcher, exits, self._layers.room)
        self._bases = Bases(self._layers, self._workshop, self._builder)
        self._moved: dict[tuple[str, tuple[str, ...]], bool] = {}
        """Archives by images that they were laid over: whether links of the image move anything."""
        downloads = DownloadCache(self._layers, self._builder, platform_uid)
        self._steps = StepBuilder(self._layers, self._workshop, self._builder, downloads, self.runtime)

    async def start(self) -> None:
        """Learns which layers exist, removes what an earlier process left, and begins to check fingerprints."""
        await self._layers.sweep()
        await self._workshop.sweep()
        self._checking = asyncio.create_task(self._check())

    async def _check(self) -> None:
        """Checks the platform's layers ahead of their first use. An error here is raised again by that first use."""
        with suppress(InternalError):
            await self._layers.check()

    async def ensure(
        self,
        recipe: Recipe,
        *,
        app: str,
        environment: str,
        uid_base: int,
        env: Mapping[str, str],
        blobs: BlobReader,
        force: bool = False,
        progress: Progress = silent,
    ) -> BuiltImage:
        """Returns the image of a recipe in an environment, and builds its missing layers in the uid range of `app`.
        `env` holds the secrets by name.

        Raises `InvalidError` for a recipe that cannot be, `ImageBuildError` naming the step that failed, with the end
        of its output, `ResourceExhaustedError` for a full disk.
        """
        began = time.monotonic()
        order = Order(environment, uid_base, env, blobs)
        for step in recipe.steps:
            layers.parameters(step)
        with ExitStack() as held:
            chain = Chain.on(await self._base(recipe, force, progress))
            held.enter_context(self._layers.holding(chain.names))
            for number, step in enumerate(recipe.steps, 1):
                force = force or step.force
                await self._step(chain, step, f"{number}/{len(recipe.steps)}", order, force, progress)
                held.enter_context(self._layers.holding(chain.names[:1]))
            image = chain.image(self._layers)
        progress("done", f"image {image.id} of {app} is ready after {time.monotonic() - began:.1f} s")
        return image

    def find(self, recipe: Recipe, environment: str) -> BuiltImage | None:
        """Returns the image of a recipe in an environment if all of its layers exist. Nothing is built."""
        name = self._layers.find(bases.digest(recipe))
        if name is None:
            return None
        chain = Chain.on(bases.base(recipe, name))
        for step in recipe.steps:
            digest = layers.digest(chain.parent, step, environment)
            found = self._layers.find(digest) if layers.makes_layer(step) else digest
            if found is None:
                return None
            chain.advance(step, found)
        return chain.image(self._layers)

    async def archive(self, digest: str, blobs: BlobReader, over: BuiltImage | None = None) -> str:
        """The directory of a tar blob, unpacked as a layer `over` an image. Directories of it for which the image has
        links are put where those lead; few archives have any, and those share one layer for all images. Raises
        `InvalidError` for what would be hidden."""
        plain = await self._archive([digest], blobs, str)
        if over is None:
            return plain
        key = digest, over.layers
        if key not in self._moved:
            while len(self._moved) >= MAX_MOVED:
                del self._moved[next(iter(self._moved))]
            places = Places(over.layers, [bind.dst for bind in over.binds])
            self._moved[key] = await asyncio.to_thread(places.moved, Path(plain))
        if not self._moved[key]:
            return plain
        places = Places(over.layers)
        return await self._archive([digest, *(Path(layer).name for layer in over.layers)], blobs, places.lead)

    async def _archive(self, what: Sequence[str], blobs: BlobReader, lead: Callable[[str], str]) -> str:
        async def fill(layer: Path, progress: Progress) -> None:
            await asyncio.to_thread(unpack_blobs, what[:1], blobs, layer, self._layers.room, lead)

        name = await self._layers.make(layers.base_digest("archive", list(what)), fill, silent)
        return str(self._layers.path(name))

    async def runtime(self, image: BuiltImage) -> tuple[str, ...]:
        """Returns layers, top first, that hold `/opt/inrush/lib` and `/opt/inrush/deps` for the Python of an image."""

        async def fill(layer: Path, progress: Progress) -> None:
            supplies = await asyncio.to_thread(self._workshop.supplies, "")
            with self._layers.holding(image.base.layers):
                under = self._layers.paths(image.base.layers)
                await runtime.make(image.base, under, layer, self._platform_uid(""), self._builder, supplies, progress)

        digest = await asyncio.to_thread(runtime.digest, image.python_version)
        what = f"the packages of inrush for Python {image.python_version}"
        return self._layers.paths([await self._make(digest, fill, what, "runtime", False, silent, fingerprinted=True)])

    def hold(self, paths: Iterable[str]) -> None:
        """Keeps these layers from eviction until `release` has been called as often."""
        self._layers.hold([Path(path).name for path in paths])

    def release(self, paths: Iterable[str]) -> None:
        """Releases layers that were held."""
        self._layers.release([Path(path).name for path in paths])

    async def _base(self, recipe: Recipe, force: bool, progress: Progress) -> Base:
        digest = bases.digest(recipe)
        if recipe.base == "host":
            return await self._bases.host()

        async def fill(layer: Path, say: Progress) -> None:
            await self._bases.make(recipe, layer, self._platform_uid(""), say)

        what = f"Debian with Python {bases.python_of(recipe)}"
        return bases.base(recipe, await self._make(digest, fill, what, "base", force, progress, fingerprinted=True))

    async def _step(self, chain: Chain, step: Step, place: str, order: Order, force: bool, progress: Progress) -> None:
        digest = layers.digest(chain.parent, step, order.environment)
        if not layers.makes_layer(step):
            chain.advance(step, digest)
            return

        async def fill(layer: Path, say: Progress) -> None:
            await self._steps.build(chain, step, layer, order, say)

        chain.advance(step, await self._make(digest, fill, layers.title(step), place, force, progress))

    async def _make(
        self,
        digest: str,
        fill: Fill,
        what: str,
        place: str,
        force: bool,
        progress: Progress,
        *,
        fingerprinted: bool = False,
    ) -> str:
        """Finds or makes a layer, and reports progress and errors in terms of the recipe's step."""
        if not force and (name := await self._layers.found(digest)):
            progress("cached", f"[{place}] {what}")
            return name

        async def told(layer: Path, say: Progress) -> None:
            say("step", f"[{place}] {what}")
            await fill(layer, say)

        try:
            return await self._layers.make(digest, told, progress, force=force, fingerprinted=fingerprinted)
        except (ImageBuildError, InternalError) as error:
            if _NO_SPACE in str(error) or self._layers.room.lacks():
                raise self._layers.room.full() from None
            raise ImageBuildError(f"image step {place} ({what}) failed: {error}") from error
