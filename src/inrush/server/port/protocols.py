"""Uvicorn's HTTP protocols, with limits on what a caller can cost.

Uvicorn does not bound the bytes of a head under httptools, bounds them late under h11, and waits for ever for a head or
a body. So its protocols are subclassed here. Heads of more than `MAX_HEAD_BYTES` or `MAX_HEAD_LINES` are refused (431),
and a connection whose head is not complete after `HEAD_S` is closed. After its first `BODY_S`, a body must come at
`BODY_BYTES_A_SECOND` on average (408). A client that does not read its response is disconnected after `UNREAD_S`.
Requests that two servers could parse differently are refused (400). `connection_limits` bounds how many connections
there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from inrush.server.port.connection_limits import ConnectionLimits, peer_of

MAX_HEAD_BYTES = 64 * 1024
"""The most bytes of request line and headers together, and of the trailers of a chunked body."""
MAX_HEAD_LINES = 200
HEAD_S = 10.0
"""How long a connection may take to send a head, from its beginning or from the head's first byte."""
BODY_S = 30.0
BODY_BYTES_A_SECOND = 240
"""The least average rate of a body after `BODY_S`, while the app takes it."""
UNREAD_S = 60.0
"""How long a client may leave its response unread; less than `BODY_BYTES_A_SECOND` counts as unread."""
LINGER_S = 2.0
"""How long a client may go on sending a body after its request was answered; nobody reads it."""
KEEP_ALIVE_S = 75
_PROBE_S, _PROBE_EVERY_S, _PROBES = 60, 15, 4

_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large", 501: "Not Implemented"}
_VERSIONS = (b"1.0", b"1.1")
FULL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"


class Config(uvicorn.Config):
    """Uvicorn's configuration, with the limits on connections."""

    def __init__(self, app: Any, limits: ConnectionLimits, **given: Any) -> None:
        self.limits = limits
        super().__init__(app, **given)


class Unread:
    """Tracks whether a client reads what it is sent."""

    def __init__(self) -> None:
        self._since, self._size = 0.0, 0

    def begin(self, transport: asyncio.Transport) -> None:
        """Notes that the transport's buffer is full."""
        self._since, self._size = asyncio.get_running_loop().time(), transport.get_write_buffer_size()

    def end(self) -> None:
        """Notes that the buffer has been read."""
        self._since = 0.0

    def overdue(self, transport: asyncio.Transport, now: float) -> bool:
        """Whether the client has read too little for `UNREAD_S`."""
        if not self._since or now - self._since < UNREAD_S:
            return False
        if transport.get_write_buffer_size() > self._size - UNREAD_S * BODY_BYTES_A_SECOND:
            return True
        self.begin(transport)
        return False


def probe(transport: asyncio.Transport) -> None:
    """Sets TCP keepalive, so that the kernel closes connections whose peer has vanished."""
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_EVERY_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)


_Uvicorns: Any = object  # either of uvicorn's two protocols, which share no base class


class Watched(_Uvicorns):  # type: ignore[misc]
    """The limits for all connections: a client that delays their end, or reads next to nothing, is disconnected."""

    peer = ""
    closing_max_s = UNREAD_S

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._limits: ConnectionLimits = cast(Config, self.config).limits
        self._unread = Unread()
        self._closing_since = 0.0
        self.peer = peer_of(self.client[0]) if self.client else ""

    def connection_lost(self, exc: Exception | None) -> None:
        self._limits.leave(self)
        super().connection_lost(exc)

    def tick(self, now: float) -> None:
        """Closes the connection if it takes too long."""
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
            if now - self._closing_since > self.closing_max_s:
                self.transport.abort()
        elif self._unread.overdue(self.transport, now):
            self.transport.abort()
        else:
            self.tick_open(now)

    def tick_open(self, now: float) -> None:
        """The limits of a connection that is not closing; a subclass has its own."""

    def evict(self) -> None:
        """Closes the connection to make room for another."""
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.begin(self.transport)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread.end()


class Bounded(Watched):
    """The limits for both HTTP protocols. A subclass tells in which part of a request it is."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._busy = False
        self._head_since = self.loop.time()
        self._received = 0
        self._waited_s = 0
        self._answered_at = 0.0
        if not self._limits.enter(self):
            transport.write(FULL)
            transport.close()
            return
        probe(transport)

    def handle_websocket_upgrade(self, *args: Any) -> None:
        self._limits.leave(self)
        super().handle_websocket_upgrade(*args)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._received += len(data)
        self._feed(data)
        self._look()

    def _feed(self, data: bytes) -> None:
        super().data_received(data)

    def on_response_complete(self) -> None:
        if self._body_due():
            self._answered_at = self.loop.time()
        super().on_response_complete()
        self._look()

    def _look(self) -> None:
        """Notes whether the connection is busy or idle now."""
        busy = self._under_way()
        if busy and not self._busy:
            self._limits.busy(self)
            self._received = self._waited_s = 0
            self._head_since = 0.0
        elif self._busy and not busy:
            self._limits.idle(self)
            self._answered_at = 0.0
        elif not busy and not self._head_since:
            self._head_since = self.loop.time()
        self._busy = busy

    def tick_open(self, now: float) -> None:
        """Closes the connection, or refuses its request, if it takes too long."""
        if not self._busy:
            if self._head_since and now - self._head_since > HEAD_S:
                self.transport.close()
        elif self._answered_at:
            if now - self._answered_at > LINGER_S:
                self.transport.close()
        elif self._body_due() and not self.flow.read_paused and not self.cycle.waiting_for_100_continue:
            self._waited_s += 1
            if self._waited_s > BODY_S + self._received / BODY_BYTES_A_SECOND:
                self.refuse(408)

    def send_400_response(self, msg: str) -> None:
        """Refuses a request that uvicorn could not parse."""
        self.refuse(self._status or 400)

    def refuse(self, status: int) -> None:
        """Answers a request with a status and fixed words, unless a response has begun, and closes the connection."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            words = _REASONS.get(status, _REASONS[400])
            head = f"HTTP/1.1 {status if status in _REASONS else 400} {words}\r\ncontent-type: text/plain\r\n"
            text = f"{head}content-length: {len(words)}\r\nconnection: close\r\n\r\n{words}"
            self.transport.write(text.encode())
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    _status = 0

    def _under_way(self) -> bool:
        """Whether a head is complete, and its request is not over."""
        raise NotImplementedError

    def _body_due(self) -> bool:
        """Whether more of a body has to come."""
        raise NotImplementedError


class Counted(h11.Connection):
    """An h11 connection that remembers the status for a malformed request, and checks each head (`fault`)."""

    status = 0

    def next_event(self) -> Any:
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.status = error.error_status_hint
            raise
        if type(event) is h11.Request:
            self.status = fault(event.method, event.target, event.http_version, event.headers)
            if self.status:
                raise h11.RemoteProtocolError("the head of the request is refused", error_status_hint=self.status)
        return event


class H11(Bounded, H11Protocol):  # type: ignore[misc]
    """The protocol of h11, which is always installed."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self.conn: Counted = Counted(h11.SERVER, MAX_HEAD_BYTES)

    def refuse(self, status: int) -> None:
        super().refuse(self.conn.status or status)

    def _under_way(self) -> bool:
        return self.conn.their_state is not h11.IDLE or self.conn.our_state is not h11.IDLE

    def _body_due(self) -> bool:
        return bool(self.conn.their_state is h11.SEND_BODY)


def fault(method: bytes, target: bytes, version: bytes, headers: Any) -> int:
    """The status with which a head is refused; 0 if it is accepted. Names of headers must be in lower case."""
    size, lines = len(method) + len(target), 0
    hosts, lengths, codings = 0, 0, 0
    chunked = True
    for name, value in headers:
        size += len(name) + len(value) + 4
        lines += 1
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            lengths += 1
        elif name == b"transfer-encoding":
            codings += 1
            chunked = value.lower() == b"chunked"
    if size > MAX_HEAD_BYTES or lines > MAX_HEAD_LINES:
        return 431
    if hosts != 1 or lengths + codings > 1 or target[:1] != b"/" or b"#" in target:
        return 400
    if method == b"CONNECT" or version not in _VERSIONS or (codings and version != b"1.1"):
        return 400  # no endpoint is a tunnel, and HTTP/1.0 has no chunked bodies
    return 0 if chunked else 501
