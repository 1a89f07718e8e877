"""Runs one command of a build in a container of its own, follows its output, and keeps what it wrote.

The container has the parent's layers below and an upper directory above that is kept; what builds see beside (package
settings, caches, `uv`) is bound in, and leaves no trace in the upper directory.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from inrush.agent.images.once import Progress
from inrush.agent.images.packages import BUILD
from inrush.agent.images.room import Room
from inrush.errors import ImageBuildError, InternalError
from inrush.launcher.specs import Bind, Exited, Limits, RootSpec, RunSpec, Started

MAX_LINES = 10_000
"""Lines of output that one command may pass on as they come; further lines are only counted."""
MAX_LINE_CHARS = 2_000
TAIL_LINES = 40
DEFAULT_TIMEOUT_S = 3_600.0

_CHUNK_BYTES = 1 << 16
_CREDENTIALS = re.compile(r"(://)[^/@\s]+@")
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)|[\x00-\x08\x0b-\x1f\x7f]")
_END_S = 30.0


class Launcher(Protocol):
    """The part of the launcher's interface that builds use."""

    lost: str

    async def run(self, spec: RunSpec, stdin_fd: int, stdout_fd: int, stderr_fd: int) -> Started: ...
    async def kill(self, id: str) -> None: ...
    async def normalise(self, upper: str, base_uid: int, layer: str) -> None: ...
    async def remove_tree(self, path: str) -> None: ...
    async def fingerprint(self, path: str) -> str: ...
    async def measure(self, path: str) -> int: ...


class Exits(Protocol):
    """Futures that end when the launcher reports the end of a container."""

    def expect(self, id: str) -> asyncio.Future[Exited]: ...
    def forget(self, id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run, and the layers to run it on, which are directories, top first."""

    argv: tuple[str, ...]
    layers: tuple[str, ...]
    uid_base: int
    binds: tuple[Bind, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    timeout_s: float = DEFAULT_TIMEOUT_S


class Builder:
    """Runs commands through the launcher, and ends them when the disk has no more room for what they write."""

    def __init__(self, launcher: Launcher, exits: Exits, room: Room) -> None:
        self._launcher = launcher
        self._room = room
        self._exits = exits
        self._started = 0

    async def layer(self, command: Command, layer: Path, progress: Progress, upper: str = "") -> None:
        """Runs `command`, and makes the layer at `layer` from what it wrote. Nothing else is left, however it ends.

        The command writes to `upper`, which may exist already. What it wrote below `BUILD` (caches of
        package tools) is thrown away.
        """
        upper = upper or f"{layer}.upper"
        try:
            await self.run(command, upper, progress)
            await self._launcher.remove_tree(f"{upper}{BUILD}")
            await self.publish(upper, command.uid_base, layer)
        finally:
            await asyncio.shield(self.discard(upper, upper + ".work"))

    async def publish(self, upper: str, uid_base: int, layer: Path) -> None:
        """Makes a layer from what a command has written. Nobody can write to it from then on."""
        await self._launcher.normalise(upper, uid_base, str(layer))

    async def discard(self, *paths: str) -> None:
        """Removes the trees among `paths` that exist."""
        for path in paths:
            if os.path.lexists(path):
                await self._launcher.remove_tree(path)

    async def run(self, command: Command, upper: str, progress: Progress) -> None:
        """Runs `command` to its end; what it writes stays in `upper`. If it fails, the `ImageBuildError` ends with its
        output.
        """
        self._started += 1
        name = f"build-{os.getpid()}-{self._started}"
        root = RootSpec(command.layers, command.binds, upper, hostname="build")
        spec = RunSpec(
            id=name,
            root=root,
            argv=command.argv,
            uid_base=command.uid_base,
            env=dict(command.env),
            cwd=command.cwd,
            limits=Limits(cpu_request=1.0),
            caps="build",
        )
        output = _Output(progress)
        event = await self._follow(spec, output, command.timeout_s)
        if event.code or event.signal:
            raise ImageBuildError(output.why(event))

    async def _follow(self, spec: RunSpec, output: _Output, timeout_s: float) -> Exited:
        end = self._exits.expect(spec.id)
        try:
            reading = await self._start(spec, output)
        except BaseException:
            self._exits.forget(spec.id)
            raise
        try:
            async with asyncio.timeout(timeout_s):
                await self._read_while_room(reading)
            return await self._end(end)
        except TimeoutError:
            raise ImageBuildError(output.text(f"it ran longer than {timeout_s:g} s and was stopped")) from None
        finally:
            reading.cancel()
            if not end.done():
                with suppress(Exception):  # the launcher may be gone, and the container with it
                    await asyncio.shield(self._stop(spec.id, end))

    async def _read_while_room(self, reading: asyncio.Task[None]) -> None:
        watching = asyncio.create_task(self._room.watch())
        try:
            done, _ = await asyncio.wait([reading, watching], return_when=asyncio.FIRST_COMPLETED)
            await done.pop()
        finally:
            watching.cancel()

    async def _end(self, end: asyncio.Future[Exited]) -> Exited:
        """Waits for the end of a container whose output has ended."""
        done, _ = await asyncio.wait([end], timeout=_END_S)
        if not done:
            raise InternalError(
                "a build's container ended and nobody said so: has the launcher ended? See the server's log"
            )
        return end.result()

    async def _stop(self, name: str, end: asyncio.Future[Exited]) -> None:
        await self._launcher.kill(name)
        await asyncio.wait([end], timeout=_END_S)

    async def _start(self, spec: RunSpec, output: _Output) -> asyncio.Task[None]:
        read, write = os.pipe2(os.O_CLOEXEC)
        try:
            with open(os.devnull, "rb") as nothing:
                started = await self._launcher.run(spec, nothing.fileno(), write, write)
            output.lacks = [words for words in (started.why, self._launcher.lost) if words]
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        return asyncio.create_task(_read(read, output))


async def _read(descriptor: int, output: _Output) -> None:
    """Reads the pipe to its end and feeds `output`."""
    reader = asyncio.StreamReader(limit=_CHUNK_BYTES)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            output.feed(chunk)
        output.finish()
    finally:
        transport.close()


class _Output:
    """Passes a command's output on by line, and keeps the last lines for the error message."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._rest = b""
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._count = 0
        self.lacks: list[str] = []
        """Sentences about what this machine could not give the command, since that may be why the command fails."""

    def feed(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for piece in whole:
            self._line(piece)
        if len(self._rest) > 4 * MAX_LINE_CHARS:
            self._line(self._rest)
            self._rest = b""

    def finish(self) -> None:
        self._line(self._rest)
        if self._count > MAX_LINES:
            self._progress("line", f"… and {self._count - MAX_LINES} more lines")

    def _line(self, raw: bytes) -> None:
        for line in clean(raw):
            self._count += 1
            self._tail.append(line)
            if self._count <= MAX_LINES:
                self._progress("line", line)

    def why(self, event: Exited) -> str:
        if event.oom:
            return self.text("it ran out of memory")
        if event.signal:
            return self.text(f"it was killed by signal {event.signal}")
        return self.text(f"it ended with status {event.code}")

    def text(self, ending: str) -> str:
        """The error message: `ending`, the last lines of output, and what the machine could not give."""
        lacks = [f"On this machine: {words}" for words in self.lacks]
        output = ", after this output:" if self._tail else ", without any output"
        return "\n".join([ending + output, *self._tail, *lacks])


def clean(raw: bytes) -> Iterator[str]:
    """Yields a piece of output as a line for people, without control sequences and credentials; nothing if it is blank.

    Of a progress bar, only its last state is kept.
    """
    last = raw.rstrip(b"\r\n").rpartition(b"\r")[2]
    text = _CREDENTIALS.sub(r"\1", _ESCAPES.sub("", last.decode(errors="replace")))
    if text.strip():
        yield text if len(text) <= MAX_LINE_CHARS else text[: MAX_LINE_CHARS - 1] + "…"
