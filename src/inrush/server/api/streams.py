"""Routes that stream: logs as lines of JSON, and commands over WebSockets.

On the WebSocket of a command, the client's first text message is a `Command`; after it, binary messages are standard
input and text messages are `Resize`s. The server sends `Waits` while a container is waited for, then output as binary
messages (standard output and error in the order in which they came), at the end one text message, an `Exit`, and
closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from inrush import wire
from inrush.errors import Error
from inrush.lines import is_drawing
from inrush.server.api import schema
from inrush.server.api.handlers import Handlers
from inrush.server.api.route import Route, number, seconds, who
from inrush.server.apps.functions import Function
from inrush.server.apps.versions import App
from inrush.server.control import ControlPlane
from inrush.server.fleet.containers import Container
from inrush.server.fleet.execs import Exec
from inrush.server.logs import SYSTEM, Line, Wanted
from inrush.server.trust.principal import Right

PENDING_LINES = 1000
PENDING_CHARACTERS = 1024 * 1024
"""The most lines, and characters, that wait for a follower of logs. Above either, lines are left out, and the follower
is told how many."""
SOCKETS_NEED: Final[Right] = "deploy"
"""The right that commands need: a principal with it could also deploy a function that runs the command."""
_SHELL = ("/bin/sh", "-c", "exec $(command -v bash || command -v sh)")
Begin = Callable[[WebSocket, schema.Command], AbstractAsyncContextManager[Exec]]
"""Begins a command; what belongs to it goes at the end of the block."""
_decode_command = msgspec.json.Decoder(schema.Command).decode
_decode_resize = msgspec.json.Decoder(schema.Resize).decode


class StreamRoutes(Handlers):
    """The handlers of one server."""

    def __init__(self, server: ControlPlane) -> None:
        super().__init__(server)
        self._following: dict[str, set[QueueFollower]] = {}
        """Who follows the log of each app."""
        server.containers.ended.append(self._container_ended)

    def routes(self) -> list[Route]:
        """All routes of this file that are plain HTTP."""
        query = (
            ("backlog", "Last lines to begin with (100)"),
            ("follow", "1: go on as lines come, until the app or container has ended"),
            ("since", "Only lines from this time on, in seconds since the epoch"),
            ("until", "Only lines up to this time"),
            ("search", "Only lines with this text in them"),
            ("call", "Only lines of this call"),
            ("source", "Only lines of stdout, stderr or system"),
        )
        of_app = (("function", "Only lines of this function"), ("container", "Only lines of this container"))
        return [
            Route(
                "GET",
                "/apps/{app}/logs",
                "read",
                "Lines of an app",
                schema.LogLine,
                self.app_logs,
                query=query + of_app,
                streams=True,
            ),
            Route(
                "GET",
                "/containers/{id}/logs",
                "read",
                "Lines of a container",
                schema.LogLine,
                self.container_logs,
                query=query,
                streams=True,
            ),
        ]

    async def app_logs(self, request: Request) -> Response:
        app = self._server.apps.find_any(request.path_params["app"], self._scope(request))
        return self._logs(request, app.id, request.query_params.get("container", ""), lambda: self._has_ended(app))

    async def container_logs(self, request: Request) -> Response:
        container = self._server.containers.need(request.path_params["id"], who(request))
        return self._logs(request, container.function.app, container.id, lambda: container.ended > 0)

    def _has_ended(self, app: App) -> bool:
        return app.ended > 0 and not any(c.function.app == app.id for c in self._server.containers.all())

    def _logs(self, request: Request, app: str, container: str, over: Callable[[], bool]) -> Response:
        wanted = Wanted(
            container,
            request.query_params.get("function", ""),
            seconds(request, "since", 0.0),
            seconds(request, "until", float("inf")),
            request.query_params.get("search", ""),
            request.query_params.get("call", ""),
            request.query_params.get("source", ""),
        )
        latest = self._server.logs.latest(app, number(request, "backlog", 100), wanted=wanted)
        if not number(request, "follow", 0):
            return Response(b"".join(_encode(line) for line in latest), media_type="application/x-ndjson")
        follower = QueueFollower(wanted)
        unfollow = self._server.logs.follow(app, follower)
        following = self._following.setdefault(app, set())
        following.add(follower)

        def end() -> None:
            unfollow()
            following.discard(follower)
            if not following and self._following.get(app) is following:
                del self._following[app]

        return StreamingResponse(_stream(latest, follower, over, end), media_type="application/x-ndjson")

    def _container_ended(self, container: Container) -> None:
        for follower in self._following.get(container.function.app, ()):
            follower.wake()

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def exec(self, socket: WebSocket) -> None:
        """Serves `/containers/{id}/exec`: runs a command in a running container."""
        await self._run(socket, self._entered)

    @asynccontextmanager
    async def _entered(self, socket: WebSocket, command: schema.Command) -> AsyncIterator[Exec]:
        container = self._server.containers.need(socket.path_params["id"], who(socket))
        self._note(socket, "exec", container.function, container.id, command)
        yield self._enter(container.id, command)

    async def shell(self, socket: WebSocket) -> None:
        """Serves `/shell?function=ID` or `?app=…&name=…`: runs a command in a new container of that function."""
        await self._run(socket, self._fresh)

    @asynccontextmanager
    async def _fresh(self, socket: WebSocket, command: schema.Command) -> AsyncIterator[Exec]:
        query = socket.query_params
        if query.get("function"):
            function = self._server.functions.need(query["function"], who(socket))
        else:
            app = self._server.apps.find(query.get("app", ""), self._scope(socket))
            function = self._server.apps.function_of(app, query.get("name", ""))
        self._note(socket, "shell", function, function.title, command)

        async def waits(why: str) -> None:
            await socket.send_text(msgspec.json.encode(schema.Waits(why=why)).decode())

        async with self._server.shells.open(function, waits) as container:
            yield self._enter(container, command)

    def _note(self, socket: WebSocket, what: str, function: Function, where: str, command: schema.Command) -> None:
        about = f"{function.app_name} {where}: {_argv(command)[0]}"
        self._server.audit.note(who(socket), what, function.environment, about)

    def _enter(self, container: str, command: schema.Command) -> Exec:
        return self._server.execs.enter(container, _argv(command), command.tty, command.rows, command.columns)

    async def _run(self, socket: WebSocket, begin: Begin) -> None:
        await socket.accept()
        try:
            self._server.audit.need(who(socket), SOCKETS_NEED, "running a command in a container")
            command = _decode_command(await socket.receive_text())
        except msgspec.MsgspecError as error:
            await _exit(socket, 126, f"the first message must be a JSON Command: {error}")
        except Error as error:
            await _exit(socket, 126, str(error))
        except WebSocketDisconnect:
            return
        else:
            await self._serve(socket, begin(socket, command))

    async def _serve(self, socket: WebSocket, begun: AbstractAsyncContextManager[Exec]) -> None:
        """Joins a command to its WebSocket, until either ends."""
        opened: asyncio.Future[Exec] = asyncio.get_running_loop().create_future()
        writer = asyncio.ensure_future(self._output(socket, begun, opened))
        reader = asyncio.ensure_future(_input(socket, opened))
        try:
            await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reader.cancel()
            if not writer.done():
                writer.cancel()
            failed, _ = await asyncio.gather(writer, reader, return_exceptions=True)
        if isinstance(failed, Exception) and not isinstance(failed, WebSocketDisconnect):
            raise failed

    async def _output(
        self, socket: WebSocket, begun: AbstractAsyncContextManager[Exec], opened: asyncio.Future[Exec]
    ) -> None:
        try:
            async with begun as running:
                opened.set_result(running)
                try:
                    end = await _pass_on(socket, running)
                finally:
                    self._server.execs.forget(running)
        except Error as error:
            end = wire.ExecOutput("", code=126, error=str(error))
        await _exit(socket, end.code, end.error)


class QueueFollower:
    """The queue of log lines for one HTTP response."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.lines: asyncio.Queue[Line | None] = asyncio.Queue(PENDING_LINES)
        self._characters = 0

    def room(self) -> bool:
        return self.lines.qsize() < PENDING_LINES - 1 and self._characters < PENDING_CHARACTERS

    def line(self, line: Line) -> None:
        wanted = None if is_drawing(line.text) else self._wanted.of(line)
        if wanted is not None:
            self._characters += len(wanted.text)
            self.lines.put_nowait(wanted)
        elif line.stream == SYSTEM:
            self.wake()

    def wake(self) -> None:
        """Has the reader look whether there will be more. One with lines to read looks anyway."""
        if self.lines.empty():
            self.lines.put_nowait(None)

    async def next(self) -> Line | None:
        """Waits for the next line and takes it; None where there is none, but something has changed."""
        line = await self.lines.get()
        self._characters -= len(line.text) if line is not None else 0
        return line


async def _stream(
    latest: list[Line], follower: QueueFollower, over: Callable[[], bool], end: Callable[[], None]
) -> AsyncIterator[bytes]:
    try:
        for line in latest:
            yield _encode(line)
        while not (over() and follower.lines.empty()):
            came = await follower.next()
            if came is not None:
                yield _encode(came)
    finally:
        end()


def _encode(line: Line) -> bytes:
    return msgspec.json.encode(schema.LogLine(**line._asdict())) + b"\n"


def _argv(command: schema.Command) -> tuple[str, ...]:
    return tuple(command.argv) or _SHELL


async def _input(socket: WebSocket, opened: asyncio.Future[Exec]) -> None:
    """Passes on input, from when the command has been opened."""
    while True:
        message: Any = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        running = await asyncio.shield(opened)
        if message.get("bytes") is not None:
            running.write(message["bytes"])
            continue
        try:
            resize = _decode_resize(message["text"])
        except msgspec.MsgspecError:
            continue
        if resize.rows > 0:
            running.resize(resize.rows, resize.columns)
        if resize.close:
            running.end_input()
        if resize.leave:
            running.leave()


async def _pass_on(socket: WebSocket, running: Exec) -> wire.ExecOutput:
    """Passes on output. Returns the last message of the command."""
    while True:
        piece = await running.output.get()
        if piece.data:
            await socket.send_bytes(piece.data)
        if piece.code >= 0:
            return piece


async def _exit(socket: WebSocket, code: int, error: str) -> None:
    await socket.send_text(msgspec.json.encode(schema.Exit(code=code, error=error)).decode())
    await socket.close()
