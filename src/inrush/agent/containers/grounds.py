"""What a function's containers stand on: its image, its source and mounts, and what the platform brings along.

source, mounts            the tiny layers of one function, on top
runtime                   `/opt/inrush`: the package and its needs, one layer per Python
image                     its layers, with the binds that belong to its base
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inrush import wire
from inrush.agent.containers.environment import DEPS, LIB
from inrush.agent.containers.uids import UidRanges
from inrush.agent.images.store import BuiltImage, ImageStore
from inrush.agent.payloads.blobs import Blobs
from inrush.errors import RequestSizeError
from inrush.launcher.specs import Bind, RootSpec

HOME = "/root"
MAX_PICKLED_BYTES = 48 * 1024 * 1024


@dataclass(frozen=True)
class Ground:
    """`layers` are directories, top first: those of the image with the platform's; `above` are the function's own."""

    layers: tuple[str, ...]
    above: tuple[str, ...]
    binds: tuple[Bind, ...]
    env: dict[str, str]
    workdir: str
    python: str
    sys_path: tuple[str, ...] = (LIB,)
    sys_path_end: tuple[str, ...] = (DEPS,)

    def root(self, hostname: str, binds: Sequence[tuple[str, str]] = (), disk_mib: int | None = None) -> RootSpec:
        """The file system of one container. `binds` are further read-only mounts (host path, container path)."""
        more = tuple(Bind(src, dst) for src, dst in binds)
        return RootSpec((*self.above, *self.layers), (*self.binds, *more), hostname=hostname, disk_mib=disk_mib)

    def template_root(self, with_source: bool) -> RootSpec:
        """The file system of a zygote, or of a snapshot (which imports the function's source)."""
        above = self.above if with_source else ()
        return RootSpec((*above, *self.layers), self.binds, hostname="template")


class Grounds:
    """Finds or builds the grounds of functions."""

    def __init__(self, images: ImageStore, blobs: Blobs, uids: UidRanges) -> None:
        self._images = images
        self._blobs = blobs
        self._uids = uids
        self._runtimes: dict[tuple[str, ...], tuple[str, ...]] = {}

    async def find(self, spec: wire.FunctionSpec, app: str, environment: str) -> Ground:
        """The ground of a function. An image that is not here is built. Raises `Error`."""
        image = self._images.find(spec.image, environment) or await self._build(spec, app, environment)
        above = await self.archives(spec, image)
        runtime = await self._runtime(image)
        return Ground(
            layers=(*runtime, *image.layers),
            above=tuple(map(str, above)),
            binds=image.binds,
            env=dict(image.env),
            workdir=image.workdir or HOME,
            python=image.python,
        )

    def hold(self, root: RootSpec, until: asyncio.Future[Any]) -> None:
        """Keeps the layers of a running container from eviction."""
        self._images.hold(root.layers)
        until.add_done_callback(lambda _: self._images.release(root.layers))

    async def archives(self, spec: wire.FunctionSpec, over: BuiltImage | None = None) -> list[Path]:
        """The function's own layers `over` its image, top first: its source, then its mounts, of which later ones win.
        Each is there once, since the kernel stacks none twice."""
        digests = dict.fromkeys(digest for digest in (spec.source, *reversed(spec.mounts)) if digest)
        return [Path(await self._images.archive(digest, self._blobs, over)) for digest in digests]

    async def pickled(self, spec: wire.FunctionSpec) -> tuple[bytes, ...]:
        """The payload of its `load`: the function itself, where it is sent as a pickle."""
        return (await asyncio.to_thread(self._read, spec.pickled),) if spec.pickled else ()

    async def _build(self, spec: wire.FunctionSpec, app: str, environment: str) -> BuiltImage:
        """Values of secrets are not known here: a step that needs some, and has no layer, says so in its error."""
        return await self._images.ensure(
            spec.image,
            app=app,
            environment=environment,
            uid_base=self._uids.first_uid(app),
            env={},
            blobs=self._blobs,
        )

    async def _runtime(self, image: BuiltImage) -> tuple[str, ...]:
        """The runtime layers, made once per base and held for good."""
        found = self._runtimes.get(image.base.layers)
        if found is None:
            found = await self._images.runtime(image)
            self._images.hold(found)
            self._runtimes[image.base.layers] = found
        return found

    def _read(self, id: str) -> bytes:
        reader = self._blobs.open(id)
        try:
            data = reader.read(MAX_PICKLED_BYTES + 1)
        finally:
            reader.close()
        if len(data) > MAX_PICKLED_BYTES:
            raise RequestSizeError(f"a function's pickle is larger than {MAX_PICKLED_BYTES >> 20} MiB")
        return data
