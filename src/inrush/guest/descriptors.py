"""Large payloads by descriptor: the guest maps memory that the agent passed, and passes memory for the agent to map.

The socket for it comes with the first frame. Without one, payloads are sent in pieces. Many containers never see a
large payload, so the modules for it are imported when the first one comes.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable

WAIT_S = 10.0
"""How long to wait for a descriptor. The agent passes it before the frame that refers to it, so one that has not come
by then will not."""


class Descriptors:
    """The guest's end of the socket for descriptors."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[int, int]] = {}

    def open(self, fd: int) -> None:
        """Takes the socket that came with the agent's first frame."""
        self._socket = socket.socket(fileno=fd)
        self._socket.settimeout(WAIT_S)

    def take(self, id: str) -> memoryview | None:
        """Maps the memory of a blob; None if none was passed. Only the pump calls it."""
        from inrush.linux import memory

        while id not in self._waiting:
            if not self._receive():
                return None
        fd, size = self._waiting.pop(id)
        try:
            return memory.mapped(fd, size)
        finally:
            os.close(fd)

    def _receive(self) -> bool:
        if self._socket is None:
            return False
        from inrush.linux import messages

        got = messages.receive(self._socket, descriptors=1)
        if got.body is None:
            return False
        id, size = got.body.get("id"), got.body.get("bytes")
        if len(got.fds) != 1 or not isinstance(id, str) or type(size) is not int or size < 0 or id in self._waiting:
            messages.close_all(got.fds)
            raise ValueError("the agent passed a descriptor without one new id and its size in bytes")
        self._waiting[id] = (got.fds[0], size)
        return True

    def give(self, id: str, pieces: Iterable[bytes | memoryview]) -> bool:
        """Passes a payload; False if it has to be sent in pieces."""
        if self._socket is None:
            return False
        from inrush.linux import memory, messages

        try:
            fd = memory.make(pieces)
            try:
                with self._lock:
                    messages.send(self._socket, {"id": id}, [fd])
            finally:
                os.close(fd)
        except OSError:
            return False
        return True
