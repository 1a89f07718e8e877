"""Builds the layer of one step, by unpacking files that the user sent or by running a program on the layers below."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from inrush.agent.images.build import DEFAULT_TIMEOUT_S, Builder, Command
from inrush.agent.images.chain import BuiltImage, Chain
from inrush.agent.images.download_cache import DownloadCache
from inrush.agent.images.fetch import fetch
from inrush.agent.images.layerstore import LayerStore
from inrush.agent.images.once import Progress
from inrush.agent.images.places import Places
from inrush.agent.images.room import Room
from inrush.agent.images.steps import Program, program
from inrush.agent.images.unpack import unpack
from inrush.agent.images.workshop import Supplies, Workshop
from inrush.agent.payloads.blobs import BlobReader
from inrush.errors import ImageBuildError
from inrush.wire import Step

Runtime = Callable[[BuiltImage], Awaitable[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Order:
    """Whose step is built: its environment, the uid range of its app, the values of its secrets, and its files."""

    environment: str
    uid_base: int
    secrets: Mapping[str, str]
    blobs: BlobReader


class StepBuilder:
    """Builds layers of steps. `runtime` returns the layers with the platform's own packages for an image."""

    def __init__(
        self, store: LayerStore, workshop: Workshop, builder: Builder, downloads: DownloadCache, runtime: Runtime
    ) -> None:
        self._store = store
        self._workshop = workshop
        self._builder = builder
        self._downloads = downloads
        self._runtime = runtime

    async def build(self, chain: Chain, step: Step, layer: Path, order: Order, progress: Progress) -> None:
        """Makes the layer of `step`, which follows the steps of `chain`."""
        if step.kind == "copy":
            places = Places(self._store.paths(chain.names), [bind.dst for bind in chain.base.binds])
            ids = [blob for _, blob in step.files]
            await asyncio.to_thread(unpack_blobs, ids, order.blobs, layer, self._store.room, places.lead)
            return
        supplies = await asyncio.to_thread(self._workshop.supplies, chain.base.release)
        async with AsyncExitStack() as stack:
            files = stack.enter_context(self._workshop.files(step, order.blobs))
            what = program(step, chain.base, files)
            above = await self._above(what, files, chain)
            wanted = await asyncio.to_thread(fetch, step, chain.steps, chain.base, files)
            cached = self._downloads.layers(wanted, chain, supplies, order.environment, progress)
            above = (*above, *await stack.enter_async_context(cached))
            await self._builder.layer(self._command(chain, step, what, supplies, order, above), layer, progress)

    async def _above(self, what: Program, files: Mapping[str, Sequence[Path]], chain: Chain) -> tuple[str, ...]:
        """The layers that only this step sees: the user's source and the platform's own packages."""
        if not what.needs_runtime:
            return ()
        found = await self._runtime(chain.image(self._store))
        for number, path in enumerate(files.get("source", ())):
            into = path.with_name(f"source-{number}")
            into.mkdir()
            with path.open("rb") as stream:
                await asyncio.to_thread(
                    unpack, stream, into, name="the source of the function", check=self._store.room.check
                )
            found = (str(into), *found)
        return found

    def _command(
        self, chain: Chain, step: Step, what: Program, supplies: Supplies, order: Order, above: tuple[str, ...]
    ) -> Command:
        return Command(
            argv=what.argv,
            layers=(*above, *self._store.paths(chain.names)),
            uid_base=order.uid_base,
            binds=(*chain.base.binds, *supplies.binds, *what.binds),
            env={**supplies.env, **chain.env(), **_secrets(step, order), **what.env},
            cwd=chain.workdir(),
            timeout_s=what.timeout_s or DEFAULT_TIMEOUT_S,
        )


def _secrets(step: Step, order: Order) -> dict[str, str]:
    """The step's secrets by name. Raises `ImageBuildError` if a value is not known, since the layer belongs to the
    values.
    """
    missing = [name for name in step.secrets if name not in order.secrets]
    if missing or (step.secrets and not step.key):
        raise ImageBuildError(
            f"its layer is not on this node (it was evicted, or never made here), and the values of its secrets "
            f"({', '.join(step.secrets)}) are known only while an image is built: run or deploy the app again"
        )
    return {name: order.secrets[name] for name in step.secrets}


def unpack_blobs(
    ids: Sequence[str], blobs: BlobReader, layer: Path, room: Room, lead: Callable[[str], str] = str
) -> None:
    """Unpacks tar blobs, one over the other, as a layer. `lead` says which directory is meant by the path of one.
    Raises `ResourceExhaustedError` when the disk has no more room."""
    layer.mkdir()
    layer.chmod(0o755)
    for id in ids:
        stream = blobs.open(id)
        try:
            unpack(stream, layer, name=f"the archive {id}", lead=lead, check=room.check)
        finally:
            stream.close()
