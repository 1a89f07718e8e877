"""One web request, which becomes a call of kind `web`.

Its head and first bytes are the call's input. More of its body is sent as `Feed`s, as fast as the app takes them
(`inflow`); the response comes back as items, as fast as the client reads them.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import h11

from inrush import frames, wire
from inrush.server.apps.endpoints import Endpoint
from inrush.server.calls.call import Begun, Call
from inrush.server.calls.table import Calls
from inrush.server.gateway import asgi, refusals
from inrush.server.gateway.inflow import PIECE_BYTES, Inflow
from inrush.server.logs import SYSTEM, Line, Logs
from inrush.server.trust.principal import OWNER
from inrush.wire import Status

AHEAD_MOST_PIECES = 64
"""The most pieces of a response that may be in flight, for a client that has read much of it. The number begins with
`frames.AHEAD_PIECES`."""
PENDING_BYTES = 64 * 1024 * 1024
"""The most bytes that wait for one client, if its container sends more than it was granted; above it, the request is
ended."""


class Pending(Protocol):
    """Counts the bytes that wait for all clients."""

    def pending(self, size: int) -> None: ...


class Exchange:
    """One request, which is the owner of its call. `pending` is the number of response bytes that wait for its
    client."""

    def __init__(
        self,
        gateway: Pending,
        calls: Calls,
        logs: Logs,
        turn: Callable[[], None],
        endpoint: Endpoint,
        inflow: Inflow,
        limit_bytes: int,
    ) -> None:
        self.calls: set[str] = set()
        self.awaits: set[str] = set()
        self.container = self.payer = ""
        self.principal = OWNER  # it can only call the function of its label
        self.pending = 0
        self._gateway, self._calls, self._logs, self._turn = gateway, calls, logs, turn
        self._endpoint, self._inflow, self._limit = endpoint, inflow, limit_bytes
        self._call: Call | None = None
        self._begun = asyncio.Event()
        self._arrived = asyncio.Event()
        self._messages: deque[dict[str, Any] | wire.Results | wire.CallRefused] = deque()
        self._granted = frames.AHEAD_PIECES
        self._taken = 0
        self._answered = self._complete = False

    def send(self, message: Any) -> None:
        """Takes a message about its call."""
        if isinstance(message, Begun):
            self._begun.set()
            return
        if isinstance(message, wire.Took):
            self._inflow.took(message.taken_bytes)
            return
        if isinstance(message, wire.Items):
            for payload in message.payloads:
                self._item(payload)
        else:
            self._messages.append(message)
        self._arrived.set()

    def _item(self, payload: bytes) -> None:
        try:
            message = asgi.unpack(payload)
            size = _size(message)
            self.pending += size
            self._gateway.pending(size)
            self._messages.append(message)
        except ValueError as error:
            self._fail(f"the app's answer is not valid ASGI: {error}")
        if self.pending > PENDING_BYTES:
            self.flooded()

    def flooded(self) -> None:
        """Ends the request, since too much of the response waits for its client."""
        self._fail(f"the client left {self.pending >> 20} MiB of the response unread")

    def _fail(self, why: str) -> None:
        self._messages.append(self._broke(why))

    def _broke(self, why: str) -> wire.CallRefused:
        """Forgets the call of an app that sent a malformed message. Returns the refusal for the client."""
        if self._call is not None:
            self._calls.forget(self._call)
        return wire.CallRefused("", "ExecutionError", why)

    def _start(self, head: dict[str, Any], body: bytes, last: bool) -> None:
        payload = asgi.pack({"scope": head, "last": last}, body)
        id = f"ca-{secrets.token_hex(16)}"
        start = wire.StartCall(id, self._endpoint.function, "web", self._endpoint.method, (payload,))
        self._call = self._calls.start(self, start)
        self._turn()

    async def _next(self) -> dict[str, Any] | wire.Results | wire.CallRefused:
        while not self._messages:
            self._arrived.clear()
            await self._arrived.wait()
        message = self._messages.popleft()
        if isinstance(message, dict):
            self._passed(_size(message))
        return message

    def _passed(self, size: int) -> None:
        """Counts a piece that goes to the client, and grants the container more pieces when half of those granted are
        used. A client that has read more may have more in flight."""
        self.pending -= size
        self._gateway.pending(-size)
        self._taken += 1
        ahead = min(AHEAD_MOST_PIECES, frames.AHEAD_PIECES + self._taken // 4)
        if self._granted - self._taken <= ahead // 2 and self._call is not None:
            more = self._taken + ahead - self._granted
            self._granted += more
            self._calls.grant(self, wire.Grant(self._call.id, more))

    async def serve(self, head: dict[str, Any], scope: Any, receive: Any, send: Any) -> None:
        """Serves the request to its end. `head` is its scope for the app."""
        if scope["type"] != "http":
            await self.socket(head, scope, receive, send)
        elif head["root_path"]:
            await self.http(head, scope, receive, asgi.below(head, send))
        else:
            await self.http(head, scope, receive, send)

    # ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def http(self, head: dict[str, Any], scope: Any, receive: Any, send: Any) -> None:
        """Serves an HTTP request to its end."""
        first = await receive()
        if first["type"] == "http.disconnect":
            return
        body, more = first.get("body", b""), first.get("more_body", False)
        self._start(head, body, not more)
        reader = asyncio.ensure_future(self._read(receive, len(body)))
        try:
            await self._answer(scope, send)
        finally:
            reader.cancel()
            self._end()

    async def _read(self, receive: Any, size: int) -> None:
        """Passes the body on, and then waits for the client to leave."""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self._gone()
                return
            await self._begun.wait()
            piece, more = message.get("body", b""), message.get("more_body", False)
            size += len(piece)
            if size > self._limit:
                self._messages.append(wire.CallRefused("", "RequestSizeError", f"a body over {self._limit >> 20} MiB"))
                self._arrived.set()
                return
            await self._feed_body(piece, more)

    async def _feed_body(self, piece: bytes, more: bool) -> None:
        for at in range(0, len(piece) or 1, PIECE_BYTES):
            part = piece[at : at + PIECE_BYTES]
            await self._inflow.room(len(part))
            if self._call is not None:
                self._calls.feed(self._call, part, last=not more and at + PIECE_BYTES >= len(piece))

    def _gone(self) -> None:
        if self._call is not None:
            self._calls.feed(self._call, b"", last=True, gone=True)
        self._messages.append(wire.CallRefused("", "CancelledError", "the client has gone"))
        self._arrived.set()

    async def _answer(self, scope: Any, send: Any) -> None:
        while True:
            message = await self._next()
            if isinstance(message, dict):
                self._answered = self._answered or message["type"] == "http.response.start"
                try:
                    await send(message)
                except (RuntimeError, ValueError, h11.LocalProtocolError) as error:
                    message = self._broke(f"the app's answer is not valid HTTP: {error}")
                else:
                    if message["type"] == "http.response.body" and not message.get("more_body"):
                        self._complete = True
                        return
                    continue
            if isinstance(message, wire.CallRefused) and message.code == "CancelledError":
                return
            id, status = self._tell(message)
            if not self._answered:
                await refusals.refuse(scope, send, status, id)
            return  # uvicorn closes the connection of a response that has begun and does not end

    def _tell(self, message: wire.Results | wire.CallRefused) -> tuple[str, int]:
        """Writes the details of a failure to the app's log, under an id. Returns the id and the status for the
        client."""
        id, (status, details) = refusals.new_id(), refusals.verdict(message)
        call = self._call.id if self._call is not None else ""
        text = f"request {id} to {self._endpoint.label} was answered {status}: {details}\n"
        self._logs.write(self._endpoint.app, Line(time.time(), "", "", call, SYSTEM, text))
        return id, status

    # ── web sockets ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def socket(self, head: dict[str, Any], scope: Any, receive: Any, send: Any) -> None:
        """Serves a WebSocket to its end."""
        await receive()
        self._start(head, b"", True)
        reader = asyncio.ensure_future(self._read_socket(receive))
        try:
            await self._answer_socket(scope, send)
        finally:
            reader.cancel()
            self._end()

    async def _read_socket(self, receive: Any) -> None:
        await self._begun.wait()
        while True:
            message = await receive()
            packed = asgi.pack_socket(message)
            left = message["type"] == "websocket.disconnect"
            if not left:
                await self._inflow.room(len(packed))
            if self._call is not None:
                self._calls.feed(self._call, packed)
            if left:
                return

    async def _answer_socket(self, scope: Any, send: Any) -> None:
        while True:
            message = await self._next()
            if isinstance(message, dict):
                try:
                    with contextlib.suppress(OSError):  # the client is gone, which the reader notices
                        await send(message)
                except (RuntimeError, ValueError, LookupError) as error:  # LookupError: an unknown status
                    message = self._broke(f"the app's message is not valid for a WebSocket: {error}")
                else:
                    self._answered = True
                    if message["type"] == "websocket.close":
                        self._complete = True
                        return
                    continue
            if isinstance(message, wire.Results) and message.statuses[0] == Status.OK:
                closing = {"type": "websocket.close", "code": 1001, "reason": "the app has ended"}
            else:
                id, status = self._tell(message)
                if not self._answered:
                    await refusals.refuse(scope, send, status, id)
                    return
                closing = refusals.closing(status, id)
            with contextlib.suppress(RuntimeError, OSError):
                await send(closing)
            return

    def _end(self) -> None:
        """Cancels the call unless its response is complete. An app that has answered may go on in the background."""
        if self._call is not None and not self._complete:
            self._calls.forget(self._call)
            self._turn()


def _size(message: dict[str, Any]) -> int:
    return len(message.get("body") or message.get("bytes") or message.get("text") or b"")
