"""Links over a WebSocket at `/link`, for clients on other machines. They carry the same messages as the unix socket;
the token comes in `Hello`."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from inrush import wire
from inrush.server.links.guests import frames_of
from inrush.server.links.session import Session
from inrush.server.links.sessions import Sessions
from inrush.server.port.web_sockets import EXTENSION

log = logging.getLogger(__name__)

MAX_MESSAGES = 65_536
"""The unread messages above which a client is disconnected; it can connect again and resume."""
CONGESTED_MESSAGES = 2048
HELLO_S = 10.0
MAX_HELLO_BYTES = 64 * 1024
"""The largest first batch, since the token is known only after it."""
MAX_STRANGERS = 64
"""The most connections that have not sent a valid `Hello`."""


class WebSocketLink:
    """One connection. A task writes the messages that were queued since its last write."""

    trusted = False

    def __init__(self) -> None:
        self._out: list[Any] = []
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False

    def send(self, message: Any) -> None:
        """Queues a message."""
        self._out.append(message)
        self._ready.set()
        if len(self._out) > CONGESTED_MESSAGES:
            self._room.clear()
        if len(self._out) > MAX_MESSAGES:
            self._closed = True

    def congested(self) -> bool:
        """Whether more than `CONGESTED_MESSAGES` wait to be written."""
        return self._closed or not self._room.is_set()

    async def room(self) -> None:
        """Waits until the client has read enough, or is gone."""
        await self._room.wait()

    def close(self) -> None:
        """Has the queued messages written, and then the connection closed."""
        self._closed = True
        self._ready.set()
        self._room.set()

    async def write(self, send: Any) -> None:
        """Writes queued messages until the link is closed."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            batch, self._out = self._out, []
            for frame in frames_of(batch):
                await send({"type": "websocket.send", "bytes": frame})
            self._room.set()
            if self._closed and not self._out:
                await send({"type": "websocket.close", "code": 1000})
                return


class Strangers:
    """The connections that have not sent a `Hello`. Their number, time and memory are bounded: above `MAX_STRANGERS`
    the oldest one times out, so that a flood of connections does not lock out clients that have a token."""

    def __init__(self) -> None:
        self._limits: dict[asyncio.Timeout, None] = {}

    async def first(self, receive: Any) -> list[Any] | None:
        """Receives the first batch. Raises `TimeoutError` if it does not come in time."""
        async with asyncio.timeout(HELLO_S) as limit:
            while len(self._limits) >= MAX_STRANGERS:
                oldest = next(iter(self._limits))
                del self._limits[oldest]
                oldest.reschedule(0)
            self._limits[limit] = None
            try:
                return await _batch(receive)
            finally:
                self._limits.pop(limit, None)


async def serve(sessions: Sessions, strangers: Strangers, scope: Any, receive: Any, send: Any) -> None:
    """Serves one client until its link ends."""
    limit_message = scope["extensions"][EXTENSION]
    limit_message(MAX_HELLO_BYTES)
    await receive()
    await send({"type": "websocket.accept"})
    link = WebSocketLink()
    writer = asyncio.ensure_future(link.write(send))
    session: Session | None = None
    try:
        first = await strangers.first(receive)
        hello = first.pop(0) if first else None
        if isinstance(hello, wire.Hello):
            session = sessions.hello(link, hello)
        if session is not None:
            limit_message(wire.FRAME_LIMIT_BYTES)
        while session is not None and first is not None and not writer.done():
            sessions.receive(session, first)
            first = await _batch(receive)
    except (TimeoutError, msgspec.MsgspecError, RecursionError) as error:
        level = logging.DEBUG if session is None else logging.WARNING  # connections without a token must not be able to
        # fill the log
        log.log(level, "a client broke the protocol and was cut off: %s", error or "no Hello")
    finally:
        link.close()
        if session is not None:
            sessions.lost(session, link)
        try:
            await asyncio.wait_for(writer, HELLO_S)
        except (TimeoutError, RuntimeError, OSError) as error:
            log.debug("a link ended while it was written: %s", error)


async def _batch(receive: Any) -> list[Any] | None:
    message = await receive()
    if message["type"] != "websocket.receive":
        return None
    data = message.get("bytes")
    return wire.from_client_decoder.decode(data if data is not None else b"\xc1")
