"""Routes that stream: logs as lines of JSON, and commands over WebSockets.

On the WebSocket of a command, the client's first text message is a `Command`; after it, binary messages are standard
input and text messages are `Resize`s. The server sends output as binary messages (standard output and error in the
order in which they came), at the end one text message, an `Exit`, and closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from inrush.errors import Error, InvalidError
from inrush.lines import is_drawing
from inrush.server.api import schema
from inrush.server.api.handlers import Handlers
from inrush.server.api.route import Route, number, who
from inrush.server.apps.functions import Function
from inrush.server.fleet.execs import Exec
from inrush.server.logs import Line
from inrush.server.trust.principal import Right

PENDING_LINES = 1000
PENDING_CHARACTERS = 1024 * 1024
"""The most lines, and characters, that wait for a follower of logs. Above either, lines are left out, and the follower
is told how many."""
SOCKETS_NEED: Final[Right] = "deploy"
"""The right that commands need: a principal with it could also deploy a function that runs the command."""
_SHELL = ("/bin/sh", "-c", "exec $(command -v bash || command -v sh)")
_decode_command = msgspec.json.Decoder(schema.Command).decode
_decode_resize = msgspec.json.Decoder(schema.Resize).decode


class StreamRoutes(Handlers):
    """The handlers of one server."""

    def routes(self) -> list[Route]:
        """All routes of this file that are plain HTTP."""
        query = (("backlog", "Last lines to begin with (100)"), ("follow", "1: go on as lines come"))
        return [
            Route(
                "GET",
                "/apps/{app}/logs",
                "read",
                "Lines of an app",
                schema.LogLine,
                self.app_logs,
                query=query,
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
        return self._logs(request, app.id, "")

    async def container_logs(self, request: Request) -> Response:
        container = self._server.containers.need(request.path_params["id"], who(request))
        return self._logs(request, container.function.app, container.id)

    def _logs(self, request: Request, app: str, container: str) -> Response:
        backlog, follow = number(request, "backlog", 100), number(request, "follow", 0)
        latest = self._server.logs.latest(app, backlog, container)
        if not follow:
            return Response(b"".join(_encode(line) for line in latest), media_type="application/x-ndjson")
        follower = QueueFollower(container)
        end = self._server.logs.follow(app, follower)
        return StreamingResponse(_stream(latest, follower, end), media_type="application/x-ndjson")

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def exec(self, socket: WebSocket) -> None:
        """Serves `/containers/{id}/exec`: runs a command in a running container."""
        await self._run(socket, lambda c: self._enter(socket, c))

    def _enter(self, socket: WebSocket, command: schema.Command) -> Exec:
        argv = tuple(command.argv) or _SHELL
        container = self._server.containers.need(socket.path_params["id"], who(socket))
        self._note(socket, "exec", container.function, f"{container.id}: {argv[0]}")
        return self._server.execs.enter(container.id, argv, command.tty, command.rows, command.columns)

    def _note(self, socket: WebSocket, what: str, function: Function, about: str) -> None:
        self._server.audit.note(who(socket), what, function.environment, f"{function.app_name} {about}")

    async def shell(self, socket: WebSocket) -> None:
        """Serves `/shell?function=ID` or `?app=…&name=…`: runs a command in a new container of that function."""
        await self._run(socket, lambda c: self._fresh(socket, c))

    def _fresh(self, socket: WebSocket, command: schema.Command) -> Exec:
        query = socket.query_params
        if query.get("function"):
            function = self._server.functions.need(query["function"], who(socket))
        else:
            app = self._server.apps.find(query.get("app", ""), self._scope(socket))
            function = self._server.apps.function_of(app, query.get("name", ""))
        env = self._server.variables(function)
        argv = tuple(command.argv) or _SHELL
        self._note(socket, "shell", function, f"{function.title}: {argv[0]}")
        return self._server.execs.shell(function, env, argv, command.tty, command.rows, command.columns)

    async def _run(self, socket: WebSocket, begin: Callable[[schema.Command], Exec]) -> None:
        await socket.accept()
        try:
            self._server.audit.need(who(socket), SOCKETS_NEED, "running a command in a container")
            try:
                command = _decode_command(await socket.receive_text())
            except msgspec.MsgspecError as error:
                raise InvalidError(f"the first message must be a JSON Command: {error}") from None
            running = begin(command)
        except Error as error:
            await _exit(socket, 126, str(error))
            return
        except WebSocketDisconnect:
            return
        reader = asyncio.ensure_future(_input(socket, running))
        try:
            await _output(socket, running, reader)
        finally:
            reader.cancel()
            self._server.execs.forget(running)


class QueueFollower:
    """The queue of log lines for one HTTP response."""

    def __init__(self, container: str) -> None:
        self._container = container
        self.lines: asyncio.Queue[Line] = asyncio.Queue(PENDING_LINES)
        self._characters = 0

    def room(self) -> bool:
        return self.lines.qsize() < PENDING_LINES - 1 and self._characters < PENDING_CHARACTERS

    def line(self, line: Line) -> None:
        if not is_drawing(line.text) and self._container in ("", line.container):
            self._characters += len(line.text)
            self.lines.put_nowait(line)

    async def next(self) -> Line:
        """Waits for the next line, and takes it."""
        line = await self.lines.get()
        self._characters -= len(line.text)
        return line


async def _stream(latest: list[Line], follower: QueueFollower, end: Callable[[], None]) -> AsyncIterator[bytes]:
    try:
        for line in latest:
            yield _encode(line)
        while True:
            yield _encode(await follower.next())
    finally:
        end()


def _encode(line: Line) -> bytes:
    return msgspec.json.encode(schema.LogLine(**line._asdict())) + b"\n"


async def _input(socket: WebSocket, running: Exec) -> None:
    while True:
        message: Any = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
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


async def _output(socket: WebSocket, running: Exec, reader: asyncio.Task[None]) -> None:
    while True:
        getter = asyncio.ensure_future(running.output.get())
        await asyncio.wait({getter, reader}, return_when=asyncio.FIRST_COMPLETED)
        if not getter.done():
            getter.cancel()
            return
        piece = getter.result()
        if piece.data:
            await socket.send_bytes(piece.data)
        if piece.code >= 0:
            await _exit(socket, piece.code, piece.error)
            return


async def _exit(socket: WebSocket, code: int, error: str) -> None:
    await socket.send_text(msgspec.json.encode(schema.Exit(code=code, error=error)).decode())
    await socket.close()
