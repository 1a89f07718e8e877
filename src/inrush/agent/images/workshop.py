"""What every build on this node is given: the node's package settings, `uv`, and caches of its app.

Caches belong to one app each, as files in them are written by what the app's builds run; what they hold over the limit
goes by app, the one unused for longest first.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inrush.agent.images import apt, node, packages
from inrush.agent.images.build import Launcher
from inrush.agent.images.layerstore import tree_bytes
from inrush.agent.images.steps import CACHE, UV
from inrush.agent.payloads.blobs import BlobReader
from inrush.launcher.specs import Bind
from inrush.wire import Step

_COPY_BYTES = 1 << 20

_ENV = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "DEBIAN_FRONTEND": "noninteractive",
    "PYTHONUNBUFFERED": "1",
    "PIP_CACHE_DIR": f"{CACHE}/pip",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_ROOT_USER_ACTION": "ignore",
    "UV": UV,
    "UV_CACHE_DIR": f"{CACHE}/uv",
    "UV_LINK_MODE": "copy",  # cache and layer are different mounts
    "UV_COMPILE_BYTECODE": "1",
    "UV_BREAK_SYSTEM_PACKAGES": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_NO_PROGRESS": "1",
}


@dataclass(frozen=True, slots=True)
class Supplies:
    """Variables and binds of one build."""

    env: Mapping[str, str]
    binds: tuple[Bind, ...]
    apt: apt.AptSettings


class Workshop:
    """Gives builds their supplies. `root` is a directory of its own on the node."""

    def __init__(self, root: Path, launcher: Launcher, limit_bytes: int) -> None:
        self.work = root / "work"
        self._apps = root / "apps"
        self._launcher = launcher
        self._limit_bytes = limit_bytes
        self._using: defaultdict[int, int] = defaultdict(int)
        self._apt_turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._numbers = 0

    async def sweep(self) -> None:
        """Remove what an earlier life of the node left behind."""
        if self.work.exists():
            await self._launcher.remove_tree(str(self.work))
        for path in (self.work, self._apps):
            path.mkdir(parents=True, exist_ok=True)

    def supplies(self, uid_base: int, release: str) -> Supplies:
        """What a build of the app with these uids, on this release of Debian ("" for none), is given."""
        cache = self._apps / str(uid_base)
        cache.mkdir(exist_ok=True)
        cache.chmod(0o777)  # where mounts cannot map owners, builds write as another user; its parent is private
        os.utime(cache)
        settings = packages.inherit()
        apt_settings = apt.inherit()
        binds = [*settings.binds, Bind(node.uv(), UV), Bind(str(cache), CACHE, readonly=False)]
        env = {**settings.env, **_ENV}
        if release:
            apt_env, apt_binds = apt.write(apt_settings, self.work, release)
            env.update(apt_env)
            binds += apt_binds
        return Supplies(env, tuple(binds), apt_settings)

    @contextmanager
    def using_cache(self, uid_base: int) -> Iterator[None]:
        """The app's caches stay while inside."""
        self._using[uid_base] += 1
        try:
            yield
        finally:
            self._using[uid_base] -= 1

    def apt_turn(self, uid_base: int) -> asyncio.Lock:
        """apt refuses to share its caches with another apt at the same time."""
        return self._apt_turns[uid_base]

    @contextmanager
    def files(self, step: Step, blobs: BlobReader) -> Iterator[dict[str, list[Path]]]:
        """The step's blobs as files, by label, while inside."""
        self._numbers += 1
        place = self.work / f"files-{os.getpid()}-{self._numbers}"
        place.mkdir()
        try:
            found: dict[str, list[Path]] = {}
            for number, (label, blob) in enumerate(step.files):
                path = place / str(number)
                _save(blobs, blob, path)
                found.setdefault(label, []).append(path)
            yield found
        finally:
            shutil.rmtree(place, ignore_errors=True)

    async def trim(self) -> None:
        """Bring the caches under their limit."""
        sizes = {path: await asyncio.to_thread(tree_bytes, path) for path in self._apps.iterdir()}
        total = sum(sizes.values())
        for path in sorted(sizes, key=lambda p: p.stat().st_mtime):
            if total <= self._limit_bytes:
                return
            if not self._using[int(path.name)]:
                total -= sizes[path]
                await self._launcher.remove_tree(str(path))


def _save(blobs: BlobReader, blob: str, path: Path) -> None:
    source = blobs.open(blob)
    try:
        with path.open("wb") as file:
            while chunk := source.read(_COPY_BYTES):
                file.write(chunk)
    finally:
        source.close()
    path.chmod(0o644)
