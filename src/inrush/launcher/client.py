"""The agent's client of the launcher, on asyncio, with a method for each request."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from inrush.errors import InternalError
from inrush.launcher.boot import LauncherHandle
from inrush.launcher.launch import Code, Failure
from inrush.launcher.specs import (
    EnterSpec,
    Exited,
    ForkSpec,
    RunSpec,
    Started,
    TemplateSpec,
    TemplateUp,
    Terminal,
    Usage,
    to_json,
)
from inrush.launcher.threads import Times
from inrush.linux import messages

_HELLO_S = 30.0
_TOO_LONG = Failure(
    "refused",
    f"the order does not fit into {messages.LIMIT_BYTES // 1024} KiB; are the variables of the function very long?",
)


class LaunchError(InternalError):
    """The launcher failed to carry out a request, as a `launch.Failure` says."""

    def __init__(self, code: Code, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail


class Launcher:
    """A client of the launcher process behind a handle. `on_exit` is called on the loop for each end of a container, of
    a program entered into one, or (with its key) of a template that died by itself. The caller keeps, and closes, the
    descriptors that it passes."""

    def __init__(self, handle: LauncherHandle, on_exit: Callable[[Exited], None]) -> None:
        self._handle = handle
        self._on_exit = on_exit
        self._rids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._unsent: deque[tuple[dict[str, Any], list[int]]] = deque()
        self._hello: asyncio.Future[dict[str, Any]] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gone = ""
        self.lost = ""
        """What the launcher of an ordinary user has to do without, as a sentence; set by `connect`."""

    async def connect(self) -> dict[str, Any]:
        """Attaches to the running loop and waits until the launcher is up. Returns what `probe` returns."""
        self._loop = asyncio.get_running_loop()
        self._hello = self._loop.create_future()
        self._loop.add_reader(self._handle.socket.fileno(), self._hear)
        async with asyncio.timeout(_HELLO_S):
            found = await self._hello
        self.lost = str(found["lost"])
        return found

    async def open_template(self, spec: TemplateSpec, stdout_fd: int, stderr_fd: int) -> TemplateUp:
        """Starts a template. Its output goes to the two descriptors."""
        return TemplateUp(**await self._ask("open_template", to_json(spec), [stdout_fd, stderr_fd]))

    async def close_template(self, key: str) -> None:
        """Ends forks from a template. Its process ends when its last container has. An unknown key is no error."""
        await self._ask("close_template", {"key": key})

    async def fork(self, spec: ForkSpec, guest_fd: int, stdout_fd: int, stderr_fd: int) -> Started:
        """Forks a container from a template, and verifies it from outside. `guest_fd` is the socket that its guest
        serves."""
        return _started(await self._ask("fork", to_json(spec), [guest_fd, stdout_fd, stderr_fd]))

    async def run(self, spec: RunSpec, stdin_fd: int, stdout_fd: int, stderr_fd: int) -> Started:
        """Starts a container that executes a program; returns when the program has been executed."""
        return _started(await self._ask("run", to_json(spec), [stdin_fd, stdout_fd, stderr_fd]))

    async def enter(
        self,
        container: str,
        argv: Sequence[str],
        env: dict[str, str],
        cwd: str,
        stdin_fd: int,
        stdout_fd: int,
        stderr_fd: int,
        terminal: Terminal | None,
        exec_id: str,
    ) -> Started:
        """Executes a further program in a running container, as confined as the container is, under the id `exec_id`.
        With `terminal` the three descriptors are one socket, on which the controlling side of its terminal is when this
        returns."""
        spec = EnterSpec(exec_id, container, tuple(argv), env, cwd, terminal)
        return _started(await self._ask("enter", to_json(spec), [stdin_fd, stdout_fd, stderr_fd]))

    async def kill(self, id: str) -> None:
        """Kills a container, or an entered program, by SIGKILL; its `Exited` follows. An unknown id is no error."""
        await self._ask("kill", {"id": id})

    async def signal(self, id: str, signum: int) -> None:
        """Sends a signal to the first process of a container, or to an entered program."""
        await self._ask("signal", {"id": id, "signum": int(signum)})

    async def usage(self, id: str) -> Usage:
        """The resources that a running container uses."""
        return Usage(**await self._ask("usage", {"id": id}))

    async def threads(self, ids: Sequence[str]) -> tuple[float, dict[str, Times]]:
        """How long the threads of these containers have run and waited for a processor, and at which monotonic time
        that was. Containers that have ended are left out."""
        found = await self._ask("threads", {"ids": list(ids)})
        return found["at"], found["times"]

    async def normalise(self, upper: str, base_uid: int, layer: str) -> None:
        """Turns a build's upper directory into the layer at the path `layer` of the same file system, with owners
        shifted from the app's range to the store's."""
        await self._ask("normalise", {"upper": upper, "base_uid": base_uid, "layer": layer})

    async def remove_tree(self, path: str) -> None:
        """Removes a tree of the store, whoever owns its files."""
        await self._ask("remove_tree", {"path": path})

    async def fingerprint(self, path: str) -> str:
        """A hash of all that a directory of the store holds: names, kinds, modes, owners and contents."""
        return str(await self._ask("fingerprint", {"path": path}))

    async def measure(self, path: str) -> int:
        """The bytes of disk that a directory of the store takes. Raises `LaunchError` for one with too many files."""
        return int(await self._ask("measure", {"path": path}))

    async def entrance(self) -> socket.socket:
        """A listening socket at an address of this node that its containers can reach, and nobody else can. The caller
        closes it. Raises `LaunchError` where containers have no network."""
        listener: socket.socket = await self._ask("entrance", {})
        return listener

    async def probe(self) -> dict[str, Any]:
        """The features of this machine, and the reason for each that it lacks."""
        result: dict[str, Any] = await self._ask("probe", {})
        return result

    async def close(self) -> None:
        """Ends the launcher, and every container with it. Returns when nothing of it is left."""
        self._lost("the launcher was closed")
        with contextlib.suppress(ChildProcessError):
            await asyncio.to_thread(os.waitpid, self._handle.pid, 0)

    async def _ask(self, do: str, spec: dict[str, Any], fds: Sequence[int] = ()) -> Any:
        if self._gone or self._loop is None:
            raise LaunchError("gone", self._gone or "the launcher is not connected")
        rid = next(self._rids)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[rid] = future
        kept = [os.dup(fd) for fd in fds]
        self._unsent.append(({"rid": rid, "do": do, "spec": spec}, kept))
        self._send()
        try:
            return await future
        finally:
            self._waiting.pop(rid, None)

    def _send(self) -> None:
        assert self._loop is not None
        while self._unsent:
            body, fds = self._unsent[0]
            try:
                messages.send(self._handle.socket, body, fds)
            except BlockingIOError:
                self._loop.add_writer(self._handle.socket.fileno(), self._send)
                return
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    self._lost(f"the launcher is gone ({error.strerror}); start the server again")
                    return
                self._heard({"rid": body["rid"], "error": to_json(_TOO_LONG)})
            self._unsent.popleft()
            messages.close_all(fds)
        self._loop.remove_writer(self._handle.socket.fileno())

    def _hear(self) -> None:
        for _ in range(64):
            try:
                body, fds, _ = messages.receive(self._handle.socket)
            except BlockingIOError:
                return
            except OSError as error:
                self._lost(f"the launcher is gone ({error.strerror}); start the server again")
                return
            if body is None:
                self._lost("the launcher ended; start the server again")
                return
            try:
                self._heard(body, fds)
            finally:
                messages.close_all(fds)

    def _heard(self, body: dict[str, Any], fds: Sequence[int] = ()) -> None:
        if "exited" in body:
            self._on_exit(Exited(**body["exited"]))
        elif "hello" in body and self._hello and not self._hello.done():
            self._hello.set_result(body["hello"])
        elif "broken" in body:
            self._lost(f"the launcher cannot work here: {body['broken']}; see `inrush doctor`")
        elif future := self._waiting.get(body.get("rid", 0)):
            if future.done():
                return
            if "error" in body:
                future.set_exception(LaunchError(**body["error"]))
            elif fds:
                future.set_result(socket.socket(fileno=os.dup(fds[0])))
            else:
                future.set_result(body["ok"])

    def _lost(self, why: str) -> None:
        if self._gone:
            return
        self._gone = why
        if self._loop:
            self._loop.remove_reader(self._handle.socket.fileno())
            self._loop.remove_writer(self._handle.socket.fileno())
        self._handle.socket.close()
        for _, fds in self._unsent:
            messages.close_all(fds)
        self._unsent.clear()
        waiting = [*self._waiting.values(), *([self._hello] if self._hello else [])]
        for future in waiting:
            if not future.done():
                future.set_exception(LaunchError("gone", why))


def _started(data: dict[str, Any]) -> Started:
    return Started(data["pid"], tuple((name, ms) for name, ms in data["phases"]), data["why"])
