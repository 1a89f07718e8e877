"""Caches of package tools that builds read and only the platform fills, so that builds need not download again.

    step ──▶ fetch, in a container on the base: no user code ──▶ cache layer: what was new in the tools' cache
    build of the step: root = its image's layers, with all cache layers of its environment over them, read-only

A build reads the cache layers and writes to a root of its own, which is removed with the build. A cache layer therefore
holds what an index served, checked by the tool that downloaded it, and nothing that user code could change. The build
itself downloads what cannot be fetched in this way.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from inrush.agent.images.build import Builder, Command
from inrush.agent.images.chain import Chain
from inrush.agent.images.fetch import Fetch
from inrush.agent.images.layerstore import LayerStore
from inrush.agent.images.once import Once, Progress, silent
from inrush.agent.images.steps import CACHE
from inrush.agent.images.workshop import Supplies
from inrush.errors import ImageBuildError

log = logging.getLogger(__name__)

MAX_LAYERS = 24
"""Cache layers of an environment; the oldest is removed first."""
MAX_BYTES = 10 << 30
"""Bytes of all cache layers of an environment."""
FRESH_S = 600.0
"""A step's packages are not fetched again within this time, which is the usual lifetime of an index's pages."""
TIMEOUT_S = 900.0
_REMEMBERED = 1_000
_TOLD = ("Downloading", " Downloaded", "Get:")


class DownloadCache:
    """The cache layers of all environments. `platform_uid` returns the first uid of the range that fetches run in."""

    def __init__(self, store: LayerStore, builder: Builder, platform_uid: Callable[[str], int]) -> None:
        self._store = store
        self._builder = builder
        self._platform_uid = platform_uid
        self._fetched: OrderedDict[str, float] = OrderedDict()
        self._once: Once[None] = Once()
        self._numbers = 0
        self._newest = 0

    @asynccontextmanager
    async def layers(
        self, fetch: Fetch | None, chain: Chain, supplies: Supplies, environment: str, progress: Progress
    ) -> AsyncIterator[tuple[str, ...]]:
        """Runs `fetch` if it is due, then yields the cache layers, top first, and keeps them from eviction."""
        if fetch:
            key = _digest(environment, *chain.base.layers, *fetch.argv, *fetch.env.values())
            if time.monotonic() - self._fetched.get(key, -FRESH_S) >= FRESH_S:
                await self._once.run(
                    key, lambda say: self._fetch(fetch, key, chain, supplies, environment, say), progress
                )
        names = self._names(environment)
        with self._store.holding(names):
            yield self._store.paths(names)

    async def _fetch(
        self, fetch: Fetch, key: str, chain: Chain, supplies: Supplies, environment: str, progress: Progress
    ) -> None:
        """Downloads what is missing into a new cache layer. A failure is only logged: the build downloads again."""
        self._numbers += 1
        upper = str(self._store.root / f".tmp-fetch-{os.getpid()}-{self._numbers}")
        names = (*self._names(environment), *chain.base.layers)
        command = Command(
            argv=fetch.argv,
            layers=self._store.paths(names),
            uid_base=self._platform_uid(environment),
            binds=(*chain.base.binds, *supplies.binds),
            env={**supplies.env, **chain.base.env, **fetch.env},
            timeout_s=TIMEOUT_S,
        )
        try:
            with self._store.holding(names):
                await self._builder.run(command, upper, lambda kind, text: _tell(progress, kind, text))
            if await asyncio.to_thread(_has_files, f"{upper}{CACHE}/{fetch.news}"):
                await self._keep(upper, command.uid_base, environment)
            self._remember(key)
        except ImageBuildError as error:
            log.info("packages are not fetched ahead of a build: %s", error)
        finally:
            await asyncio.shield(self._builder.discard(upper, f"{upper}.work"))

    async def _keep(self, upper: str, uid_base: int, environment: str) -> None:
        async def fill(layer: Path, progress: Progress) -> None:
            await self._builder.publish(upper, uid_base, layer)

        self._newest = max([self._newest, *(_number(name) for name in self._names(environment))]) + 1
        await self._store.make(f"{_prefix(environment)}{self._newest:010}", fill, silent)
        await self._trim(environment)

    def _names(self, environment: str) -> tuple[str, ...]:
        """The names of the cache layers of an environment, newest first. Each counts as used."""
        found = sorted(self._store.names(_prefix(environment)), reverse=True)
        return tuple(name for name in found if self._store.find(name))

    async def _trim(self, environment: str) -> None:
        total = 0
        for place, name in enumerate(self._names(environment)):
            total += self._store.bytes_of(name)
            if place >= MAX_LAYERS or total > MAX_BYTES:
                await self._store.drop(name)

    def _remember(self, key: str) -> None:
        self._fetched[key] = time.monotonic()
        self._fetched.move_to_end(key)
        if len(self._fetched) > _REMEMBERED:
            self._fetched.popitem(last=False)


def _tell(progress: Progress, kind: str, text: str) -> None:
    """Reports only the downloads of a fetch, since the build that follows reports everything else."""
    if text.startswith(_TOLD):
        progress(kind, text)


def _has_files(directory: str) -> bool:
    return os.path.isdir(directory) and any(entry.name not in ("partial", "lock") for entry in os.scandir(directory))


def _prefix(environment: str) -> str:
    return f"downloads-{_digest(environment)[:24]}-"


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
