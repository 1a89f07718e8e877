"""Started containers as the agent sees them: what one is, how its end is heard, and what that end means.

The launcher reports every end to `Exits`, where whoever started the container waits for it. `of_exit` turns the report
into an `End`: a sentence for people, and the failure that the container's inputs get.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from inrush.errors import Error, RequestSizeError, ResourceExhaustedError
from inrush.launcher.client import Launcher, LaunchError
from inrush.launcher.specs import Exited, Started
from inrush.wire import FunctionSpec, Status, system_failure


class Process(Protocol):
    """A running container, which can be waited for and killed."""

    async def wait(self) -> Exited: ...

    def kill(self) -> None:
        """Kills it; harmless when it has ended."""


@dataclass(frozen=True)
class Begun:
    """A started container. `how` names the tier of the start, `load` is what the guest is told, with payloads,
    `phases_ms` are the parts of the start in order, and `why` says what it lacks of what was asked."""

    process: Process
    how: str
    load: dict[str, Any]
    payloads: tuple[bytes, ...] = ()
    phases_ms: tuple[tuple[str, float], ...] = ()
    why: str = ""
    imported: Callable[[list[tuple[str, float]]], None] = lambda imports: None
    """Called with what the guest imported."""
    born: Callable[[str], bool] = lambda why: False
    """Called once: with an empty text when the container is ready, or with why it ended before. Returns whether the
    process that it was forked from may be the cause, so that the start is tried again."""


@dataclass(frozen=True)
class Stdio:
    """Descriptors for a container: the guest's socket and two pipes. Whoever starts the container duplicates those that
    it keeps."""

    guest: int
    stdout: int
    stderr: int


class Contained:
    """A container that the launcher runs."""

    def __init__(self, launcher: Launcher, id: str, exited: asyncio.Future[Exited]) -> None:
        self._launcher = launcher
        self._id = id
        self._exited = exited
        self._killing: asyncio.Task[None] | None = None
        self.runs = False

    async def launched(self, launching: Coroutine[Any, Any, Started]) -> Started:
        """Returns when the container runs. If nobody wants it any more, it is ended first. Raises what the launcher
        says."""
        task = asyncio.ensure_future(launching)
        try:
            started = await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            if task.exception() is None:
                self.runs = True
                self.kill()
                await self.wait()
            raise
        self.runs = True
        return started

    async def wait(self) -> Exited:
        return await self._exited

    def kill(self) -> None:
        if self._killing is None:
            self._killing = asyncio.create_task(self._kill())

    async def _kill(self) -> None:
        with suppress(Error, OSError):  # the launcher is gone, and its containers with it
            await self._launcher.kill(self._id)


class Exits:
    """Hears of ends from the launcher. `unexpected` is called for ends that nobody waits for, such as templates that
    died by themselves."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Exited]] = {}
        self.unexpected: Callable[[Exited], None] = lambda exited: None

    def expect(self, id: str) -> asyncio.Future[Exited]:
        """A future for an end, to be asked for before the start. If the start fails, `forget` it."""
        future = self._waiting[id] = asyncio.get_running_loop().create_future()
        return future

    def forget(self, id: str) -> None:
        self._waiting.pop(id, None)

    def __call__(self, exited: Exited) -> None:
        future = self._waiting.pop(exited.id, None)
        if future is None:
            self.unexpected(exited)
        elif not future.done():
            future.set_result(exited)

    def all_gone(self) -> None:
        """Ends everything, because the launcher has ended."""
        for id in list(self._waiting):
            self(Exited(id, -1, signal=signal.SIGKILL))


_CODES = {
    Status.STARTUP: "StartupError",
    Status.CRASHED: "ExecutionError",
    Status.OUT_OF_MEMORY: "OutOfMemoryError",
    Status.LOST: "ExecutionError",
}


@dataclass(frozen=True)
class End:
    """How a container ended. `payload` is empty for an end that is nobody's failure."""

    status: Status
    why: str
    payload: bytes = b""
    traceback: str = ""
    """That of user code, for its app's log."""


def failure(status: Status, why: str) -> End:
    """An end whose failure is the sentence itself."""
    return End(status, why, system_failure(_CODES.get(status, "ExecutionError"), why))


def of_node(error: Error | OSError) -> bool:
    """Whether a start failed because of its node as it is now: a full disk, no descriptors or uids left, a launcher
    that is gone or has too much to do. The same start may succeed elsewhere or later."""
    if isinstance(error, LaunchError):
        return error.code in ("busy", "gone")
    return isinstance(error, OSError | ResourceExhaustedError) and not isinstance(error, RequestSizeError)


def of_exit(exited: Exited, spec: FunctionSpec, ready: bool, printed: str) -> End:
    """What it means that the process ended by itself. `printed` says what it last wrote, or is empty."""
    if exited.oom:
        return failure(Status.OUT_OF_MEMORY, _out_of_memory(exited, spec))
    how = _how(exited)
    if not ready:
        return failure(Status.STARTUP, f"the container of {spec.name} {how} before it was ready{printed}")
    return failure(Status.CRASHED, f"the container of {spec.name} {how} while it ran{printed}")


def _out_of_memory(exited: Exited, spec: FunctionSpec) -> str:
    limit = spec.resources.memory_limit_mib
    over = f"its limit of {limit} MiB" if limit else "what this node has for containers"
    return (
        f"the container of {spec.name} was killed: it needed more memory than {over} "
        f"(highest {exited.memory_peak_mib:.0f} MiB); raise `memory=`, or lower what one input needs"
    )


def _how(exited: Exited) -> str:
    if not exited.signal:
        return f"exited with status {exited.code}"
    try:
        name = signal.Signals(exited.signal).name
    except ValueError:
        name = f"signal {exited.signal}"
    return f"was killed by {name}"
