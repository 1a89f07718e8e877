"""Functions that serve HTTP: an ASGI app, and the requests that are passed to it.

A request comes as an input (`A` + JSON `{"scope", "last"}` + newline + first bytes), and more of its body as `feed`
frames; the app's messages go back as `item` frames (`A` + JSON + newline + bytes). In that JSON, what ASGI has as bytes
(headers, query string, raw path) is Latin-1 text.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from inrush.errors import RequestSizeError, StartupError
from inrush.frames import AHEAD_PIECES, FEED_COST_BYTES
from inrush.guest.protocol import ASGI, MAX_ITEM_BYTES

PIECE_BYTES = 128 * 1024
"""A larger piece of a response is sent as several."""

TOOK_BYTES = 32 * 1024
"""After an app has taken so many bytes of a request, the server is told. It is less than a request's least window."""

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
Item = Callable[[int, bytes], None]
Took = Callable[[int], None]


class Site:
    """An ASGI app with its lifespan. All methods but `request` run on the event loop."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._state: dict[str, Any] = {}
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._lifespan: asyncio.Task[None] | None = None
        self.loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Runs the app's startup. Raises `StartupError` when the app reports that it failed."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        self._lifespan = asyncio.ensure_future(self._app(scope, self._to_app.get, self._from_app.put))
        if (await self._phase("startup"))["type"] == "lifespan.startup.failed":
            raise StartupError("the web app's lifespan startup failed")

    async def close(self) -> None:
        """Runs the app's shutdown."""
        if self._lifespan is not None and not self._lifespan.done():
            await self._phase("shutdown")

    async def _phase(self, phase: str) -> Message:
        """Sends the app a lifespan event, and waits for its answer. An app that ends instead does not support
        lifespan."""
        assert self._lifespan is not None
        await self._to_app.put({"type": f"lifespan.{phase}"})
        said = asyncio.ensure_future(self._from_app.get())
        await asyncio.wait({said, self._lifespan}, return_when=asyncio.FIRST_COMPLETED)
        if said.done():
            message = said.result()
            if "message" in message:
                raise StartupError(f"the web app's lifespan {phase} failed: {message['message']}")
            return message
        said.cancel()
        self._lifespan.exception()
        return {"type": ""}

    def request(self, payload: bytes | memoryview, item: Item, took: Took) -> Request:
        """Makes a request on the pump's thread; it is served when its attempt runs. `item` sends the n-th piece back,
        and `took` reports how many bytes of the request the app has taken."""
        return Request(self._app, self._state, self.loop, payload, item, took)


class Request:
    """One request, or one WebSocket."""

    def __init__(
        self,
        app: App,
        state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        payload: bytes | memoryview,
        item: Item,
        took: Took,
    ) -> None:
        self._app = app
        self._loop = loop
        self._item = item
        self._took = took
        self._taken = 0
        self._sent = 0
        self.left = False
        """Whether the client has gone."""
        self._events: deque[tuple[Message, int]] = deque()
        """Events for the app, each with the bytes that it counts in the request's window."""
        self._arrived: asyncio.Event = asyncio.Event()
        self._lock = threading.Lock()
        self._credit = AHEAD_PIECES
        """The number of pieces that may still be sent."""
        self._granted: asyncio.Event = asyncio.Event()
        head, body = _open(bytes(payload))
        self._scope = _scope(head["scope"], state)
        self._is_socket = self._scope["type"] == "websocket"
        first: Message = {"type": "websocket.connect"} if self._is_socket else _body(body, head.get("last", True))
        self._events.append((first, 0))

    def feed(self, data: bytes, last: bool, gone: bool) -> None:
        """Takes more of the body, a message of a WebSocket, or the client's leaving; on the pump's thread."""
        if gone:
            self.left = True
            event: Message = (
                {"type": "websocket.disconnect", "code": 1006} if self._is_socket else {"type": "http.disconnect"}
            )
        elif self._is_socket:
            event = _socket_event(data)
            if event["type"] == "websocket.connect":
                return
        else:
            event = _body(data, last)
        self._events.append((event, len(data) + FEED_COST_BYTES))
        self._loop.call_soon_threadsafe(self._arrived.set)

    def grant(self, more: int) -> None:
        """Adds credit for `more` pieces; on the pump's thread."""
        with self._lock:
            self._credit += more
        self._loop.call_soon_threadsafe(self._granted.set)

    async def serve(self) -> None:
        """Runs the app on this request."""
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> Message:
        while not self._events:
            self._arrived.clear()
            if not self._events:
                await self._arrived.wait()
        event, cost = self._events[0]
        if not event["type"].endswith("disconnect"):
            self._events.popleft()
        self._taken += cost
        if self._taken >= TOOK_BYTES:
            taken, self._taken = self._taken, 0
            self._took(taken)
        return event

    async def _send(self, message: Message) -> None:
        head = dict(message)
        body = head.pop("body", b"") or head.pop("bytes", None) or b""
        if "headers" in head:
            head["headers"] = [[_text(name), _text(value)] for name, value in head["headers"]]
        if not self._is_socket:
            body = memoryview(body)  # to slice bytes is to copy them, and of a large body that is done a thousand times
            while len(body) > PIECE_BYTES:
                await self._put({**head, "more_body": True}, body[:PIECE_BYTES])
                body = body[PIECE_BYTES:]
        await self._put(head, body)
        if head["type"] == "http.response.body" and not head.get("more_body"):
            self._events.append(({"type": "http.disconnect"}, 0))
            self._arrived.set()
        await asyncio.sleep(0)

    async def _put(self, head: Message, body: bytes | memoryview) -> None:
        while not self._spend():
            self._granted.clear()
            if self._credit == 0:
                await self._granted.wait()
        payload = b"".join((ASGI, json.dumps(head).encode(), b"\n", body))
        if len(payload) > MAX_ITEM_BYTES:
            raise RequestSizeError(f"a message of {len(payload):,} bytes is over the limit of {MAX_ITEM_BYTES:,}")
        self._item(self._sent, payload)
        self._sent += 1

    def _spend(self) -> bool:
        """Uses one credit; False if there is none."""
        with self._lock:
            if self._credit == 0:
                return False
            self._credit -= 1
            return True


def _open(payload: bytes) -> tuple[dict[str, Any], bytes]:
    head, _, body = payload[1:].partition(b"\n")
    return json.loads(head), body


def _body(data: bytes, last: bool) -> Message:
    return {"type": "http.request", "body": data, "more_body": not last}


def _socket_event(data: bytes) -> Message:
    event, body = _open(data)
    if body or (event["type"] == "websocket.receive" and event.get("text") is None):
        event["bytes"] = body
    return event


def _scope(scope: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Turns the JSON of a scope into the types that ASGI requires."""
    scope.setdefault("asgi", {"version": "3.0", "spec_version": "2.3"})
    scope["headers"] = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in scope.get("headers", ())]
    scope["query_string"] = scope.get("query_string", "").encode("latin-1")
    if "raw_path" in scope:
        scope["raw_path"] = scope["raw_path"].encode("latin-1")
    for end in ("client", "server"):
        if scope.get(end):
            scope[end] = tuple(scope[end])
    scope["state"] = state.copy()
    return scope


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else bytes(value).decode("latin-1")
