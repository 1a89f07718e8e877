"""Links over the unix socket, which carry batches as length-prefixed frames.

A frame is decoded and handled in the callback that received it. Messages are written once in each turn of the event
loop (`writes`). A link whose reader is slow is congested, and followers then leave lines out; it is closed when too
much waits.

Connections are bounded by the descriptors that there are. At the limit, one that has not said `Hello` yet makes room
for the next; when all have, the next is told so and closed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path
from typing import Any, cast

from inrush import wire
from inrush.errors import InvalidError, ResourceExhaustedError
from inrush.linux import descriptors
from inrush.server.links.guests import frames_of
from inrush.server.links.session import Session
from inrush.server.links.sessions import Sessions

log = logging.getLogger(__name__)

CONGESTED_BYTES = 16 * 1024 * 1024
"""The unread bytes above which a link is congested. It is more than a container may print at once."""
LIMIT_BYTES = 512 * 1024 * 1024
"""The unread bytes above which a client is disconnected; it can connect again and resume."""
DESCRIPTORS_SHARE = 4
"""Connections may take one part in so many of the descriptors that this process may have open."""
MAX_PATH_BYTES = 107
_HEAD = wire.FRAME.size


class Open:
    """The connections that are open."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: set[SocketLink] = set()
        self._strangers: dict[SocketLink, None] = {}
        """Those that have not said `Hello`, the oldest first."""

    def enter(self, link: SocketLink) -> bool:
        """Adds a connection. Returns False if there is no room for it."""
        if len(self._all) >= self._most:
            oldest = next(iter(self._strangers), None)
            if oldest is None:
                return False
            self.leave(oldest)
            oldest.close()
        self._all.add(link)
        self._strangers[link] = None
        return True

    def greeted(self, link: SocketLink) -> None:
        """The connection has said `Hello`."""
        self._strangers.pop(link, None)

    def leave(self, link: SocketLink) -> None:
        """Removes a connection that has ended."""
        self._all.discard(link)
        self._strangers.pop(link, None)


class SocketLink(asyncio.Protocol):
    """One connection of a client on this machine."""

    trusted = True

    def __init__(self, sessions: Sessions, open: Open) -> None:
        self._sessions, self._open = sessions, open
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._room = asyncio.Event()
        self._out: list[Any] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport has the methods, but is no subclass
        self._transport.set_write_buffer_limits(CONGESTED_BYTES)
        self._room.set()
        if not self._open.enter(self):
            why = "too many programs are connected to the server; end some, or try again later"
            self.send(wire.Rejected(ResourceExhaustedError.__name__, why))
            self.close()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._room.set()
        self._open.leave(self)
        if self._session is not None:
            self._sessions.lost(self._session, self)

    def data_received(self, data: bytes) -> None:
        """Handles the frames that are complete now."""
        buffer = self._buffer
        if not buffer and len(data) >= _HEAD and wire.FRAME.unpack_from(data)[0] == len(data) - _HEAD:
            self._take(memoryview(data)[_HEAD:])
            return
        buffer += data
        at = 0
        while len(buffer) - at >= _HEAD:
            (length,) = wire.FRAME.unpack_from(buffer, at)
            if length > wire.FRAME_LIMIT_BYTES:
                self._break(f"a frame of {length} bytes")
                return
            end = at + _HEAD + length
            if len(buffer) < end:
                break
            self._take(bytes(buffer[at + _HEAD : end]))
            at = end
        del buffer[:at]

    def _take(self, frame: bytes | memoryview) -> None:
        try:
            batch = wire.from_client_decoder.decode(frame)
        except wire.UNREADABLE as error:
            self._break(str(error))
            return
        if self._session is None:
            hello = batch.pop(0) if batch else None
            if not isinstance(hello, wire.Hello):
                self._break("no Hello")
                return
            self._open.greeted(self)
            self._session = self._sessions.hello(self, hello)
        if self._session is not None and batch:
            self._sessions.receive(self._session, batch)

    def _break(self, why: str) -> None:
        log.warning("a client broke the protocol and was cut off: %s", why)
        self._buffer.clear()
        if self._transport is not None:
            self._transport.abort()

    def send(self, message: Any) -> None:
        """Queues a message for the frame of this turn of the event loop."""
        if not self._out:
            self._sessions.writes.add(self._flush)
        self._out.append(message)

    def _flush(self) -> None:
        batch, self._out = self._out, []
        transport = self._transport
        if transport is None:
            return
        for frame in frames_of(batch):
            transport.write(wire.FRAME.pack(len(frame)) + frame)
        if transport.get_write_buffer_size() > LIMIT_BYTES:
            log.warning("a client left %d MiB unread and was cut off", LIMIT_BYTES >> 20)
            transport.abort()

    def congested(self) -> bool:
        """Whether more than `CONGESTED_BYTES` wait to be written."""
        return self._transport is None or not self._room.is_set()

    async def room(self) -> None:
        """Waits until the client has read enough, or is gone."""
        await self._room.wait()

    def close(self) -> None:
        """Writes the queued messages, and closes the connection."""
        self._flush()
        if self._transport is not None:
            self._transport.close()


async def listen(path: Path, sessions: Sessions) -> asyncio.Server:
    """Serves clients at `path` (mode 0600), and replaces a socket that a dead server left. Raises `InvalidError` if the
    path is too long."""
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise InvalidError(
            f"{path} is too long for a unix socket ({MAX_PATH_BYTES} bytes); choose a shorter INRUSH_HOME"
        )
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    open = Open(max(1, descriptors.limit() // DESCRIPTORS_SHARE))
    return await asyncio.get_running_loop().create_unix_server(
        lambda: SocketLink(sessions, open), sock=listener, backlog=1024
    )
