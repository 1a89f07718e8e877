"""An image store on a real launcher, and short words for steps; what the tests of images share."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from inrush.agent.containers.processes import Exits
from inrush.agent.declared import declared
from inrush.agent.images.inherited import Inherited
from inrush.agent.images.store import BuiltImage, ImageStore
from inrush.core.images import layers
from inrush.errors import NotFoundError
from inrush.launcher.boot import Given, start_launcher
from inrush.launcher.client import Launcher
from inrush.launcher.specs import RootSpec, RunSpec
from inrush.wire import MAIN, Recipe, Step

UID = 1 << 20
TIMEOUT_S = 60.0


def _platform_uid(environment: str) -> int:
    return UID + (10 if environment else 9) * 65536


class Blobs:
    """Blobs in a directory, as the server keeps them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(exist_ok=True)

    def put(self, data: bytes) -> str:
        id = f"sha256-{hashlib.sha256(data).hexdigest()}"
        (self._directory / id).write_bytes(data)
        return id

    def open(self, id: str) -> BinaryIO:
        try:
            return (self._directory / id).open("rb")
        except FileNotFoundError:
            raise NotFoundError(f"no blob {id}") from None


@dataclass
class Images:
    """A store with its launcher, in a state directory of its own."""

    state: Path
    launcher: Launcher
    exits: Exits
    store: ImageStore
    blobs: Blobs
    said: list[tuple[str, str]] = field(default_factory=list)
    runs: int = 0

    async def build(
        self,
        *steps: Step,
        base: str = "host",
        python: str = "",
        uid: int = UID,
        environment: str = MAIN,
        env: Mapping[str, str] | None = None,
        force: bool = False,
        said: list[tuple[str, str]] | None = None,
    ) -> BuiltImage:
        """Ensures an image; what was said meanwhile goes to `said`, or takes the place of this object's."""
        told = said if said is not None else self.said
        told.clear()
        return await self.store.ensure(
            Recipe(base=base, python=python, steps=steps),
            app="test",
            environment=environment,
            uid_base=uid,
            env=env or {},
            blobs=self.blobs,
            force=force,
            progress=lambda kind, text: told.append((kind, text)),
        )

    async def run(self, image: BuiltImage, *argv: str, above: Sequence[str] = ()) -> str:
        """What a program prints in a container of an image; it must end well."""
        self.runs += 1
        name = f"test-{os.getpid()}-{self.runs}"
        end = self.exits.expect(name)
        spec = RunSpec(
            id=name,
            root=RootSpec((*above, *image.layers), image.binds),
            argv=argv,
            uid_base=UID,
            env=dict(image.env),
            cwd=image.workdir,
            network="none",
        )
        with tempfile.TemporaryFile() as output, open(os.devnull, "rb") as nothing:
            await self.launcher.run(spec, nothing.fileno(), output.fileno(), output.fileno())
            ended = await asyncio.wait_for(end, TIMEOUT_S)
            output.seek(0)
            text = output.read().decode()
        assert (ended.code, ended.signal) == (0, 0), text
        return text

    async def python(self, image: BuiltImage, code: str, above: Sequence[str] = ()) -> str:
        """What a piece of Python prints in an image."""
        return (await self.run(image, image.python, "-c", code, above=above)).strip()

    def lines(self, kind: str = "line") -> list[str]:
        """What was said of this kind in the last build."""
        return [text for what, text in self.said if what == kind]

    def leftovers(self) -> list[str]:
        """What is in the store and is no layer, or lies about where builds work."""
        known = {path.name for path in (self.state / "node/layers/.meta").iterdir()}
        found = [p.name for p in (self.state / "node/layers").iterdir() if p.name != ".meta" and p.name not in known]
        work = [p.name for p in (self.state / "node/cache/work").iterdir() if not p.name.startswith("apt-")]
        return [*found, *work]


@asynccontextmanager
async def images(state: Path, **limits: Any) -> AsyncIterator[Images]:
    """A store in `state`, with its launcher."""
    exits = Exits()
    launcher = Launcher(start_launcher(state, Given(declared(Inherited.read()))), exits)
    try:
        await launcher.connect()
        store = ImageStore(state / "node", launcher, exits, _platform_uid, **limits)
        await store.start()
        yield Images(state, launcher, exits, store, Blobs(state / "blobs"))
    finally:
        await launcher.close()


def make_state() -> Path:
    """An empty state directory with a short path."""
    return Path(tempfile.mkdtemp(prefix="ir-"))


def remove_state(state: Path) -> None:
    shutil.rmtree(state)


def step(
    kind: str, files: Sequence[tuple[str, str]] = (), secrets: Sequence[str] = (), key: str = "", **parameters: Any
) -> Step:
    args = (layers.encode(kind, **parameters),)
    return Step(kind=kind, args=args, files=tuple(files), secrets=tuple(secrets), key=key)


def run(*commands: str, secrets: Sequence[str] = (), key: str = "") -> Step:
    return step("run", commands=list(commands), secrets=secrets, key=key)


def pip(*packages: str, **parameters: Any) -> Step:
    return step("pip", packages=list(packages), **parameters)


def tar_of(content: Mapping[str, bytes], mode: int = 0o644) -> bytes:
    """A tar as a client makes it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in sorted(content.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()
