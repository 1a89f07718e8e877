"""What every build on this node is given: the node's package settings and `uv`.

Caches of package tools lie in the root of the build itself, at `CACHE`, and go with it: what a build writes there is no
other build's.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inrush.agent.images import apt, node
from inrush.agent.images.build import Launcher
from inrush.agent.images.inherited import Inherited
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
    """The environment variables and binds of one build."""

    env: Mapping[str, str]
    binds: tuple[Bind, ...]
    apt: apt.AptSettings


class Workshop:
    """Prepares what builds are given, in the directory `root`, which nothing else uses."""

    def __init__(self, root: Path, launcher: Launcher, inherited: Inherited) -> None:
        self.work = root / "work"
        self._inherited = inherited
        self._settings = inherited.packages, inherited.apt
        self._root = root
        self._launcher = launcher
        self._numbers = 0

    async def sweep(self) -> None:
        """Removes what an earlier process left, and writes the node's package settings for builds."""
        if self._root.exists():
            await self._launcher.remove_tree(str(self._root))
        self.work.mkdir(parents=True)
        self._settings = await asyncio.to_thread(self._inherited.settled, self._root / "inherited")

    def supplies(self, release: str) -> Supplies:
        """The supplies of a build on this release of Debian ("" for none)."""
        settings, apt_settings = self._settings
        binds = [*settings.binds, Bind(node.uv(), UV)]
        env = {**settings.env, **_ENV}
        if release:
            apt_env, apt_binds = apt.write(apt_settings, self.work, release)
            env.update(apt_env)
            binds += apt_binds
        return Supplies(env, tuple(binds), apt_settings)

    @contextmanager
    def files(self, step: Step, blobs: BlobReader) -> Iterator[dict[str, list[Path]]]:
        """Writes the step's blobs to files, and yields their paths by label. The files are removed at the end."""
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


def _save(blobs: BlobReader, blob: str, path: Path) -> None:
    source = blobs.open(blob)
    try:
        with path.open("wb") as file:
            while chunk := source.read(_COPY_BYTES):
                file.write(chunk)
    finally:
        source.close()
    path.chmod(0o644)
