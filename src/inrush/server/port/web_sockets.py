"""Uvicorn's WebSockets, with limits on messages and their fragments, on data parsed before the app takes it, and on
unread data.

Messages are parsed as the app takes them, so that a segment of tiny frames does not become thousands of events at once.
Compression is not offered (`Http`), so nothing is inflated.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from inrush.server.port.protocols import FULL, HEAD_S, Watched, probe

MAX_MESSAGE_BYTES = 2 * 1024 * 1024
"""The largest message to an endpoint or to a command."""
MAX_FRAGMENTS = 1024
"""The most frames of one message."""
MAX_UNREAD_BYTES = 256 * 1024
"""A client that leaves more pongs unread is disconnected. Messages of apps wait until the client reads."""
CLOSE_S = 2.0
"""How long a client may take to answer the closing of its connection."""
_SLICE_BYTES = 4 * 1024
EXTENSION = "inrush.message_limit"
"""An extension of the ASGI scope: a function that sets the largest message, in bytes."""
_BAD = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class WebSocket(Watched, WebSocketsSansIOProtocol):
    """One WebSocket connection, from its upgrade on. It is always busy, and so never evicted."""

    closing_max_s = HEAD_S

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._rest: deque[bytes] = deque()
        self.close_timeout = CLOSE_S
        self.limit_message(MAX_MESSAGE_BYTES)
        self._entered = self._limits.enter(self)
        self._limits.busy(self)
        if self._entered:
            probe(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest.clear()
        super().connection_lost(exc)

    def limit_message(self, most_bytes: int) -> None:
        """Sets the largest message, in bytes."""
        for name in ("max_message_size", "max_size"):  # the older name is for websockets before version 15
            if hasattr(self.conn, name):
                setattr(self.conn, name, most_bytes)

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated:
            self._rest.append(data)
            self._parse()
            return
        super().data_received(data)
        if not self.handshake_initiated:  # a head that is valid HTTP, and that websockets refuses
            self.transport.write(_BAD if self._entered else FULL)
            self.transport.close()

    def _parse(self) -> None:
        """Parses received data until there is a message for the app."""
        while self._rest and not self.read_paused and not self.transport.is_closing():
            data = self._rest.popleft()
            if len(data) > _SLICE_BYTES:
                self._rest.appendleft(data[_SLICE_BYTES:])
                data = data[:_SLICE_BYTES]
            super().data_received(data)

    async def receive(self) -> Any:
        message = await super().receive()
        if self._rest and not self.read_paused:
            self._parse()
        return message

    def handle_connect(self, event: Any) -> None:
        if not self._entered:
            return
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"] = {**(self.scope.get("extensions") or {}), EXTENSION: self.limit_message}  # type: ignore[dict-item]

    def handle_cont(self, event: Any) -> None:
        if len(self.frames) >= MAX_FRAGMENTS:
            self.conn.fail(1009, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > MAX_UNREAD_BYTES and not self.writable.is_set():
            self.transport.abort()
