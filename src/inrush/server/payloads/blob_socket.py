"""The socket at which clients of this machine pass large payloads by descriptor: `run/blobs.sock`.

Each message is one packet with JSON and at most one descriptor. `{"put": id}` with a sealed memfd makes that the blob
of the id, a random one that the client chose and puts again after a restart of the server. `{"get": id}` is answered
with a descriptor for reading. Answers are `{"bytes": n}`, or `{"code": …, "message": …}` on an error, after which the
client can send the payload in pieces over its link. Everybody who can open the socket is the server's owner.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path
from typing import Any

from inrush.errors import Error, InvalidError, ResourceExhaustedError
from inrush.linux import messages
from inrush.server.payloads.blobs import Blobs

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 256


class BlobSocket:
    """The listener at `path`, and its connections."""

    def __init__(self, path: Path, blobs: Blobs) -> None:
        self._path, self._blobs = path, blobs
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        before = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(before)
        self._listener.listen(64)
        self._ends: set[socket.socket] = set()
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Stops listening, and closes all connections."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        self._listener.close()
        for end in list(self._ends):
            self._drop(end)
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            end, _ = self._listener.accept()
        except OSError:
            return
        if len(self._ends) >= MAX_CONNECTIONS:
            end.close()
            return
        end.setblocking(False)
        self._ends.add(end)
        asyncio.get_running_loop().add_reader(end, self._read, end)

    def _drop(self, end: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(end)
        self._ends.discard(end)
        end.close()

    def _read(self, end: socket.socket) -> None:
        try:
            got = messages.receive(end)
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            log.warning("a client broke the protocol of run/blobs.sock: %s", error)
            self._drop(end)
            return
        if got.body is None:
            self._drop(end)
            return
        answer, fds = self._answer(got.body, got.fds)
        try:
            messages.send(end, answer, fds)
        except OSError:
            self._drop(end)
        finally:
            messages.close_all(fds)

    def _answer(self, body: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        try:
            if "put" in body and len(fds) == 1:
                return {"bytes": self._blobs.adopt(fds.pop(), str(body["put"]))}, []
            if "get" in body:
                id = str(body["get"])
                size = self._blobs.size(id)
                return {"bytes": size}, [self._blobs.descriptor(id)]
            raise InvalidError(f"a message has `put` with one descriptor, or `get`; not {sorted(body)}")
        except Error as error:
            return {"code": type(error).__name__, "message": str(error)}, []
        except OSError as error:  # the process has no descriptors left, or a file cannot be opened
            return {"code": ResourceExhaustedError.__name__, "message": str(error)}, []
        finally:
            messages.close_all(fds)
