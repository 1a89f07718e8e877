"""How a batch of messages gets to the server: bare frames on its unix socket, or a WebSocket."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Protocol

from inrush import wire
from inrush.errors import ConnectionError

if TYPE_CHECKING:
    from inrush.client._shared import Shared

_BUFFER_BYTES = 256 * 1024
_CONNECT_S = 10.0


class Transport(Protocol):
    """One connection. One thread at a time calls `send`, and the link's own thread calls `receive`."""

    def send(self, frame: bytes) -> None: ...

    def receive(self) -> bytes | None:
        """The next frame, or None at the end of the connection."""

    def close(self) -> None: ...

    def drop(self) -> None:
        """Drops the parent's connection in a forked child, without ending it."""

    def shared(self) -> Shared | None:
        """What passes large payloads to a server on this machine; None for one elsewhere."""


class UnixTransport:
    """A socket of the local server. Whoever can open it is its owner, so it needs no token."""

    def __init__(self, path: str) -> None:
        """Raises `OSError` where no server listens."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(_CONNECT_S)
            self._socket.connect(path)
            self._socket.settimeout(None)
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb", buffering=_BUFFER_BYTES)

    def send(self, frame: bytes) -> None:
        self._socket.sendall(wire.FRAME.pack(len(frame)) + frame)

    def receive(self) -> bytes | None:
        try:
            head = self._file.read(4)
            if len(head) < 4:
                return None
            (length,) = wire.FRAME.unpack(head)
            if length > wire.FRAME_LIMIT_BYTES:
                return None
            frame = self._file.read(length)
        except (OSError, ValueError):
            return None
        return frame if len(frame) == length else None

    def close(self) -> None:
        """Closes the socket, and wakes its reader."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def drop(self) -> None:
        os.close(self._socket.detach())  # not `close`: the file's lock may belong to a thread that does not exist here

    def shared(self) -> Shared | None:
        from inrush.client._shared import beside

        return beside(self._path)


class WebSocketTransport:
    """A WebSocket of a server elsewhere; `url` is its http(s) address."""

    def __init__(self, url: str) -> None:
        """Raises `ConnectionError` where the server does not answer."""
        from websockets.exceptions import ConnectionClosed, WebSocketException
        from websockets.sync.client import connect

        self._closed = ConnectionClosed
        address = "ws" + url.rstrip("/").removeprefix("http") + "/link"
        try:
            self._socket = connect(
                address, compression=None, max_size=wire.FRAME_LIMIT_BYTES, open_timeout=_CONNECT_S, close_timeout=1
            ).__enter__()
        except (OSError, WebSocketException, ValueError) as error:
            raise ConnectionError(f"no inrush server answers at {url}: {error}; check INRUSH_SERVER_URL") from error

    def send(self, frame: bytes) -> None:
        try:
            self._socket.send(frame)
        except self._closed as error:
            raise OSError(str(error)) from error

    def receive(self) -> bytes | None:
        try:
            frame = self._socket.recv()
        except (self._closed, OSError):
            return None
        return frame if isinstance(frame, bytes) else frame.encode()

    def close(self) -> None:
        self._socket.close()

    def drop(self) -> None:
        os.close(self._socket.socket.detach())

    def shared(self) -> Shared | None:
        return None
