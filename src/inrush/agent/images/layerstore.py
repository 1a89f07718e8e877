"""The layers of this node: one directory per digest, which exists only when it is complete.

    layers/<digest>[.<n>]     a layer; n counts forced rebuilds, since one in use is never written again
    layers/.meta/<name>       its size, its fingerprint, the boot it was made in; a layer without this file is not there
    layers/.tmp-…             one in the making; swept at start

A layer is built in a temporary directory and renamed into place; its meta file is written last. The rename does not
wait for the disk: until a sync has gone through, the meta file names the boot, and after a crash of the machine a layer
of an earlier boot without a sync is thrown away. The meta file's modification time is the last use. Over the budget the
least recently used layers go first, never one that is held.

Layers of the platform have a fingerprint, taken when they are published. After a restart such a layer is not found
until its fingerprint has been taken again; one that has changed is removed, and made again by whoever needs it.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inrush.agent.images.once import Once, Progress, silent
from inrush.agent.images.room import Room

log = logging.getLogger(__name__)

FRESH_S = 600
"""A layer that was used this recently is not evicted, so that a caller has time to hold the layer that it was given."""

SETTLE_AFTER_S = 60
"""The delay before a sync. By then the kernel has written most data by itself, so the sync is short."""

Fill = Callable[[Path, Progress], Awaitable[None]]
"""Makes a layer at a path that does not exist yet."""


class Trees(Protocol):
    """The part of the launcher that this needs: it alone can read and remove files of other owners."""

    async def remove_tree(self, path: str) -> None: ...
    async def fingerprint(self, path: str) -> str: ...
    async def measure(self, path: str) -> int: ...


@dataclass(slots=True)
class _Meta:
    bytes: int
    used: float
    fingerprint: str = ""
    """Empty for a layer that user code had a hand in."""
    checked: bool = True
    """False from a restart until the fingerprint has been taken again."""


class LayerStore:
    """All layers of a node. Call `sweep` once before anything else."""

    def __init__(self, root: Path, trees: Trees, *, budget_bytes: int, floor_bytes: int) -> None:
        self.root = root
        self._meta_dir = root / ".meta"
        self._trees = trees
        self._budget_bytes = budget_bytes
        self.room = Room(root, floor_bytes)
        """The disk that the layers and all builds share."""
        self._known: dict[str, _Meta] = {}
        self._newest: dict[str, str] = {}
        self._held: Counter[str] = Counter()
        self._once: Once[str] = Once()
        self._checks: Once[None] = Once()
        self._made = 0
        self._unsynced: set[str] = set()
        self._settling: asyncio.Task[None] | None = None

    async def sweep(self) -> None:
        """Learns which layers exist, and removes what an earlier process left unfinished."""
        self._meta_dir.mkdir(parents=True, exist_ok=True)
        boot = _boot_id()
        for path in self._meta_dir.iterdir():
            found = _read_meta(path)
            if found and found[1] in ("", boot) and (self.root / path.name).is_dir():
                self._learn(path.name, found[0])
                if found[1]:
                    self._settle_soon(path.name)
            else:
                path.unlink()
        for path in self.root.iterdir():
            if path != self._meta_dir and path.name not in self._known:
                await self._trees.remove_tree(str(path))

    async def check(self) -> None:
        """Checks all layers that have a fingerprint and were made before this start, one after the other."""
        for name in [name for name, meta in self._known.items() if not meta.checked]:
            await self._check(name)

    def find(self, digest: str) -> str | None:
        """Name of the newest layer of this digest, if there is one and it need not be checked first; that counts as a
        use.
        """
        name = self._newest.get(digest)
        if name is None or not self._known[name].checked or not (self.root / name).is_dir():
            return None
        self._touch(name)
        return name

    def path(self, name: str) -> Path:
        """The directory of the layer of this name."""
        return self.root / name

    def paths(self, names: Iterable[str]) -> tuple[str, ...]:
        """The directories of the layers of these names."""
        return tuple(str(self.root / name) for name in names)

    def names(self, prefix: str) -> list[str]:
        """The names of layers that begin with `prefix`."""
        return [name for name in self._known if name.startswith(prefix)]

    def bytes_of(self, name: str) -> int:
        """The size of an existing layer."""
        return self._known[name].bytes

    async def drop(self, name: str) -> None:
        """Removes a layer unless it is held."""
        if name in self._known and not self._held[name]:
            await self._remove(name)

    async def make(
        self, digest: str, fill: Fill, progress: Progress, *, force: bool = False, fingerprinted: bool = False
    ) -> str:
        """Name of the layer of this digest, built by `fill` unless there is one; once, however many ask at once. With
        `fingerprinted`, later starts find it only as it was made.

        Raises what `fill` raises, and `ResourceExhaustedError` when the disk is full; nothing is left behind then.
        """
        if not force and (name := await self.found(digest)):
            return name
        return await self._once.run(digest, lambda say: self._make(digest, fill, say, force, fingerprinted), progress)

    async def found(self, digest: str) -> str | None:
        """Name of the newest layer of this digest, if there is one, after its fingerprint has been checked."""
        while (name := self._newest.get(digest)) and not self._known[name].checked:
            await self._check(name)
        return self.find(digest)

    async def _check(self, name: str) -> None:
        """Takes a layer's fingerprint again, and removes the layer if it has changed."""
        await self._checks.run(name, lambda say: self._compare(name), silent)

    async def _compare(self, name: str) -> None:
        meta = self._known.get(name)
        if meta is None or meta.checked:
            return
        if await self._trees.fingerprint(str(self.root / name)) == meta.fingerprint:
            meta.checked = True
        elif name in self._known:
            log.error("layer %s is not as it was published: it is removed, and made again when it is needed", name)
            await self._remove(name)

    async def _make(self, digest: str, fill: Fill, progress: Progress, force: bool, fingerprinted: bool) -> str:
        name = await self.found(digest)
        if name and not force:
            return name
        self.room.check()
        self._made += 1
        temporary = self.root / f".tmp-{os.getpid()}-{self._made}"
        try:
            await fill(temporary, progress)
            return await self._keep(temporary, f"{digest}.{_number(name) + 1}" if name else digest, fingerprinted)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self.room.full() from None
            raise
        finally:
            if os.path.lexists(temporary):
                await asyncio.shield(self._trees.remove_tree(str(temporary)))

    async def _keep(self, temporary: Path, name: str, fingerprinted: bool) -> str:
        size = await self._trees.measure(str(temporary))
        fingerprint = await self._trees.fingerprint(str(temporary)) if fingerprinted else ""
        target = self.root / name
        if os.path.lexists(target):  # without its meta file, so no layer
            await self._trees.remove_tree(str(target))
        temporary.rename(target)
        self._learn(name, _Meta(size, time.time(), fingerprint))
        self._write_meta(name, _boot_id())
        self._settle_soon(name)
        await self.evict()
        return name

    def _settle_soon(self, name: str) -> None:
        self._unsynced.add(name)
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._settle_later())

    def _learn(self, name: str, meta: _Meta) -> None:
        self._known[name] = meta
        digest = name.partition(".")[0]
        self._newest[digest] = max(self._newest.get(digest, name), name, key=_number)

    def _forget(self, name: str) -> None:
        del self._known[name]
        digest = name.partition(".")[0]
        if self._newest[digest] == name:
            others = [n for n in self._known if n.partition(".")[0] == digest]
            del self._newest[digest]
            if others:
                self._newest[digest] = max(others, key=_number)

    async def _settle_later(self) -> None:
        while self._unsynced:
            await asyncio.sleep(SETTLE_AFTER_S)
            await self.settled()

    async def settled(self) -> None:
        """Syncs the disk. The layers that were made before then survive a crash of the machine."""
        names = self._unsynced & self._known.keys()
        await asyncio.to_thread(os.sync)
        for name in names & self._known.keys():
            meta = self._known[name]
            self._write_meta(name, "")
            os.utime(self._meta_dir / name, (meta.used, meta.used))
        self._unsynced -= names

    def _write_meta(self, name: str, boot: str) -> None:
        meta, part = self._known[name], self._meta_dir / f"{name}.part"
        part.write_text(json.dumps({"bytes": meta.bytes, "boot": boot, "fingerprint": meta.fingerprint}))
        part.rename(self._meta_dir / name)

    def _touch(self, name: str) -> None:
        meta, now = self._known[name], time.time()
        if now - meta.used > 1:
            meta.used = now
            os.utime(self._meta_dir / name)

    @contextmanager
    def holding(self, names: Iterable[str]) -> Iterator[None]:
        """Keeps the layers of these names from eviction inside the `with` block."""
        names = list(names)
        self.hold(names)
        try:
            yield
        finally:
            self.release(names)

    def hold(self, names: Iterable[str]) -> None:
        """Keeps these layers from eviction until `release` has been called as often."""
        self._held.update(names)

    def release(self, names: Iterable[str]) -> None:
        """Releases layers that were held, which counts as a use."""
        for name in names:
            self._held[name] -= 1
            if self._held[name] <= 0:
                del self._held[name]
            if name in self._known:
                self._touch(name)

    async def evict(self) -> None:
        """Removes the least recently used layers until the rest fits the budget."""
        total = sum(meta.bytes for meta in self._known.values())
        for name in sorted(self._known, key=lambda n: self._known[n].used):
            if total <= self._budget_bytes:
                return
            if self._held[name] or time.time() - self._known[name].used < FRESH_S:
                continue
            total -= self._known[name].bytes
            await self._remove(name)

    async def _remove(self, name: str) -> None:
        self._forget(name)
        (self._meta_dir / name).unlink(missing_ok=True)
        await self._trees.remove_tree(str(self.root / name))


def _number(name: str) -> int:
    return int(name.partition(".")[2] or 1)


def _read_meta(path: Path) -> tuple[_Meta, str] | None:
    """The content of a layer's meta file, and its boot id; None if the file is incomplete or of another kind."""
    try:
        read = json.loads(path.read_text())
        fingerprint = str(read.get("fingerprint", ""))
        meta = _Meta(int(read["bytes"]), path.stat().st_mtime, fingerprint, checked=not fingerprint)
        return meta, str(read["boot"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
