"""The gateway: web functions over HTTP, from zero containers, streamed both ways.

An endpoint is served at `/w/<label>/…` and at the host `<label>.localhost`. A request becomes a call of kind `web`: its
head and first bytes are the input, more of its body are `Feed`s, and what the app answers comes back as items. It waits
as long as its function needs to start. A client that goes away cancels its call; a container that dies under it is a
502, a full queue a 429. When the server ends, what is under way has a grace to be answered; what is not by then, and
what comes meanwhile, gets a 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from inrush import wire
from inrush.server.apps.endpoints import Endpoint, Endpoints
from inrush.server.calls.call import Begun, Call
from inrush.server.calls.table import Calls
from inrush.server.gateway import asgi
from inrush.server.trust.principal import OWNER
from inrush.wire import Status

log = logging.getLogger(__name__)

CREDIT_PIECES = 64
"""Pieces of a response that may be under way; the app waits until its client has read."""
PENDING_BYTES = 64 * 1024 * 1024
"""The same in bytes, for containers that do not heed it; beyond, the request is ended."""
BODY_FREE_BYTES = 4 * 1024 * 1024
BODY_BYTES_A_SECOND = 128 * 1024 * 1024
"""How fast a body is passed on after its first MiB: a container does not say what it has read, and its node ends one
that is flooded."""
RETRY_AFTER_S = 1

_STATUS = {Status.TIMEOUT: 504, Status.CANCELLED: 503, Status.ERROR: 500, Status.INTERNAL: 500}
_ENDING = "ConnectionError"
_REFUSED = {"ResourceExhaustedError": 429, "NotFoundError": 404, "ExecutionError": 502, _ENDING: 503}
_CLOSE_GONE, _CLOSE_DEFECT, _CLOSE_AGAIN = 1001, 1011, 1013


class Gateway:
    """An ASGI app for requests to endpoints."""

    def __init__(self, endpoints: Endpoints, calls: Calls, turn: Callable[[], None], limit_bytes: int) -> None:
        self._endpoints, self._calls, self._turn, self._limit = endpoints, calls, turn, limit_bytes
        self._exchanges: set[Exchange] = set()
        self._idle = asyncio.Event()
        self._ending = ""

    async def drain(self, why: str, grace_s: float) -> None:
        """Takes no more requests; returns when those under way have been answered, or their grace is over."""
        self._ending = why
        if self._exchanges:
            log.info("%d web requests are under way and have %g s to end", len(self._exchanges), grace_s)
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), grace_s)

    def end(self, why: str) -> None:
        """What is still under way is told that the server ends."""
        self._ending = why
        for exchange in self._exchanges:
            exchange.send(wire.CallRefused("", _ENDING, why))

    async def serve(self, label: str, root_path: str, path: str, scope: Any, receive: Any, send: Any) -> None:
        """One request or web socket to an endpoint."""
        endpoint = self._endpoints.get(label)
        if endpoint is None:
            text = f"nothing is served as {label!r}: its app has ended, or was not deployed here"
            await _refuse(scope, send, 404, "NotFoundError", text)
            return
        if self._ending:
            await _refuse(scope, send, 503, _ENDING, self._ending)
            return
        exchange = Exchange(self._calls, self._turn, endpoint, self._limit)
        self._exchanges.add(exchange)
        try:
            await exchange.serve(asgi.pack_scope(scope, root_path, path), scope, receive, send)
        finally:
            self._exchanges.discard(exchange)
            if not self._exchanges:
                self._idle.set()


class Exchange:
    """One request, as the owner of its call."""

    def __init__(self, calls: Calls, turn: Callable[[], None], endpoint: Endpoint, limit_bytes: int) -> None:
        self.calls: set[str] = set()
        self.awaits: set[str] = set()
        self.container = ""
        self.principal = OWNER  # it may call what its label names, and nothing else is asked of it
        self._calls, self._turn, self._endpoint, self._limit = calls, turn, endpoint, limit_bytes
        self._call: Call | None = None
        self._begun = asyncio.Event()
        self._arrived = asyncio.Event()
        self._messages: deque[dict[str, Any] | wire.Results | wire.CallRefused] = deque()
        self._pending = 0
        self._taken = 0
        self._answered = self._complete = False

    def send(self, message: Any) -> None:
        """From the calls: what became of ours."""
        if isinstance(message, Begun):
            self._begun.set()
            self._calls.grant(self, wire.Grant(message.call, CREDIT_PIECES))
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
            self._pending += len(message.get("body") or message.get("bytes") or b"")
            self._messages.append(message)
        except ValueError as error:
            self._fail(f"the container answered with something else than ASGI: {error}")
        if self._pending > PENDING_BYTES:
            self._fail(f"the client left {PENDING_BYTES >> 20} MiB of the response unread")

    def _fail(self, why: str) -> None:
        if self._call is not None:
            self._calls.forget(self._call)
        self._messages.append(wire.CallRefused("", "ExecutionError", why))

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
            self._took(len(message.get("body") or message.get("bytes") or b""))
        return message

    def _took(self, size: int) -> None:
        """A piece was passed on: half the credit goes back at a time."""
        self._pending -= size
        self._taken += 1
        if self._taken >= CREDIT_PIECES // 2 and self._call is not None:
            self._calls.grant(self, wire.Grant(self._call.id, self._taken))
            self._taken = 0

    async def serve(self, head: dict[str, Any], scope: Any, receive: Any, send: Any) -> None:
        """Serves it to its end. `head` is what the app is told of it."""
        if scope["type"] != "http":
            await self.socket(head, scope, receive, send)
        elif head["root_path"]:
            await self.http(head, scope, receive, asgi.below(head, send))
        else:
            await self.http(head, scope, receive, send)

    # ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def http(self, head: dict[str, Any], scope: Any, receive: Any, send: Any) -> None:
        """Serves a request to its end."""
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
        """Passes the body on, then waits for the client to leave."""
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
            if self._call is not None:
                self._calls.feed(self._call, piece, last=not more)
            if size > BODY_FREE_BYTES:
                await asyncio.sleep(len(piece) / BODY_BYTES_A_SECOND)

    def _gone(self) -> None:
        if self._call is not None:
            self._calls.feed(self._call, b"", last=True, gone=True)
        self._messages.append(wire.CallRefused("", "CancelledError", "the client has gone"))
        self._arrived.set()

    async def _answer(self, scope: Any, send: Any) -> None:
        while True:
            message = await self._next()
            if isinstance(message, dict):
                self._answered = True
                await send(message)
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    self._complete = True
                    return
                continue
            if self._answered:
                if isinstance(message, wire.CallRefused) and message.code == "CancelledError":
                    return
                raise ConnectionAbortedError(f"the response of {self._endpoint.label} was cut: {_words(message)}")
            if isinstance(message, wire.CallRefused) and message.code == "CancelledError":
                return
            await _refuse(scope, send, *_verdict(message))
            return

    # ── web sockets ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def socket(self, head: dict[str, Any], scope: Any, receive: Any, send: Any) -> None:
        """Serves a web socket to its end."""
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
            if message["type"] == "websocket.disconnect":
                if self._call is not None:
                    self._calls.feed(self._call, asgi.pack_socket(message))
                return
            if self._call is not None:
                self._calls.feed(self._call, asgi.pack_socket(message))

    async def _answer_socket(self, scope: Any, send: Any) -> None:
        while True:
            message = await self._next()
            if isinstance(message, dict):
                self._answered = True
                with contextlib.suppress(OSError):
                    await send(message)
                if message["type"] == "websocket.close":
                    self._complete = True
                    return
                continue
            ended = isinstance(message, wire.Results) and message.statuses[0] == Status.OK
            code = _CLOSE_GONE if ended else _CLOSE_AGAIN if not self._answered else _CLOSE_DEFECT
            with contextlib.suppress(RuntimeError, OSError):
                await send({"type": "websocket.close", "code": code, "reason": _words(message)[:120]})
            return

    def _end(self) -> None:
        """Whoever is not answered to the end is cancelled; an app that answered may go on in the background."""
        if self._call is not None and not self._complete:
            self._calls.forget(self._call)
            self._turn()


def _verdict(message: wire.Results | wire.CallRefused) -> tuple[int, str, str]:
    """HTTP status, code and words for a request that was not answered by its app."""
    if isinstance(message, wire.CallRefused):
        status = 413 if message.code == "RequestSizeError" else _REFUSED.get(message.code, 500)
        return status, message.code, message.message
    status = Status(message.statuses[0])
    if status == Status.OK:
        return 500, "ExecutionError", "the app ended without an answer"
    code, words = _failure(message.payloads[0])
    return _STATUS.get(status, 502), code, words


def _failure(payload: bytes) -> tuple[str, str]:
    if payload[:1] == wire.Codec.JSON.value:
        try:
            failure = msgspec.json.decode(payload[1:], type=wire.SystemFailure)
        except msgspec.MsgspecError:
            return "ExecutionError", "it failed"
        return failure.code, failure.message
    return "ExecutionError", "the app raised an exception; its traceback is in the app's log"


def _words(message: wire.Results | wire.CallRefused) -> str:
    return _verdict(message)[2]


async def _refuse(scope: Any, send: Any, status: int, code: str, text: str) -> None:
    """An answer of ours."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _CLOSE_GONE, "reason": text[:120]})
        return
    body = msgspec.json.encode({"code": code, "message": text})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status in (429, 503):
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
