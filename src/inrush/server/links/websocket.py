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
CONGESTED_BYTES = 16 * 1024 * 1024
MAX_UNREAD_BYTES = 512 * 1024 * 1024
"""The unread bytes above which a client is disconnected."""
MAX_ALL_UNREAD_BYTES = 2 * 1024 * 1024 * 1024
"""The unread bytes of all these links together: above, the one that has most is disconnected."""
MESSAGE_BYTES = 200
"""What a message costs beside its data."""
HELLO_S = 10.0
MAX_HELLO_BYTES = 64 * 1024
"""The largest first batch, since the token is known only after it."""
MAX_STRANGERS = 64
"""The most connections that have not sent a valid `Hello`."""


class Unread:
    """What the clients of all links have not read."""

    def __init__(self) -> None:
        self._total = 0
        self._by_link: dict[WebSocketLink, int] = {}

    def add(self, link: WebSocketLink, size: int) -> int:
        """Counts bytes that wait for a link, or with a negative size no longer do, and returns how many do now."""
        now = self._by_link[link] = self._by_link.get(link, 0) + size
        self._total += size
        if size > 0 and self._total > MAX_ALL_UNREAD_BYTES:
            max(self._by_link, key=self._by_link.__getitem__).cut()
        return now

    def forget(self, link: WebSocketLink) -> None:
        """A link has ended."""
        self._total -= self._by_link.pop(link, 0)


class WebSocketLink:
    """One connection. A task writes the messages that were queued since its last write."""

    trusted = False

    def __init__(self, unread: Unread) -> None:
        self._out: list[Any] = []
        self._queued = 0
        self._unread = unread
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = self.was_cut = False
        self.patience: asyncio.Timeout | None = None
        """Ends the wait for what the client says next."""

    def send(self, message: Any) -> None:
        """Queues a message."""
        if self.was_cut:
            return
        size = _size(message)
        self._out.append(message)
        self._queued += size
        self._ready.set()
        unread = self._unread.add(self, size)
        if len(self._out) > CONGESTED_MESSAGES or unread > CONGESTED_BYTES:
            self._room.clear()
        if len(self._out) > MAX_MESSAGES or unread > MAX_UNREAD_BYTES:
            self.cut()

    def cut(self) -> None:
        """Drops what waits, for a client that does not read: it can connect again and resume."""
        self.was_cut = True
        self._out.clear()
        self._unread.add(self, -self._queued)
        self._queued = 0
        self.close()
        if self.patience is not None:
            self.patience.reschedule(0)

    def congested(self) -> bool:
        """Whether more than `CONGESTED_MESSAGES`, or `CONGESTED_BYTES`, wait to be written."""
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
            batch, size, self._out, self._queued = self._out, self._queued, [], 0
            for frame in frames_of(batch):
                await send({"type": "websocket.send", "bytes": frame})
            self._unread.add(self, -size)
            self._room.set()
            if self._closed and not self._out:
                await send({"type": "websocket.close", "code": 1000})
                return


def _size(message: Any) -> int:
    if isinstance(message, wire.Results | wire.Items):
        return MESSAGE_BYTES + sum(map(len, message.payloads))
    if isinstance(message, wire.Answer):
        known = isinstance(message.result, bytes | str | None)
        return MESSAGE_BYTES + len(message.result or b"" if known else msgspec.msgpack.encode(message.result))
    return MESSAGE_BYTES + (len(message.text) if isinstance(message, wire.Log | wire.Progress) else 0)


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


async def serve(sessions: Sessions, strangers: Strangers, unread: Unread, scope: Any, receive: Any, send: Any) -> None:
    """Serves one client until its link ends."""
    limit_message = scope["extensions"][EXTENSION]
    limit_message(MAX_HELLO_BYTES)
    await receive()
    await send({"type": "websocket.accept"})
    link = WebSocketLink(unread)
    writer = asyncio.ensure_future(link.write(send))
    session: Session | None = None
    try:
        async with asyncio.timeout(None) as link.patience:
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
        why = "it left too much unread" if link.was_cut else error or "no Hello"
        log.log(level, "a client broke the protocol and was cut off: %s", why)
    finally:
        link.patience = None
        link.close()
        if session is not None:
            sessions.lost(session, link)
        await _end(writer, 0 if link.was_cut else HELLO_S)
        unread.forget(link)


async def _end(writer: asyncio.Task[None], within_s: float) -> None:
    """Lets a link write what waits, for so long."""
    await asyncio.wait({writer}, timeout=within_s)
    if not writer.done():
        writer.cancel()
    elif not writer.cancelled() and (error := writer.exception()) is not None:
        log.debug("a link ended while it was written: %s", error)


async def _batch(receive: Any) -> list[Any] | None:
    message = await receive()
    if message["type"] != "websocket.receive":
        return None
    data = message.get("bytes")
    return wire.from_client_decoder.decode(data if data is not None else b"\xc1")
