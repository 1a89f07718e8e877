"""Large payloads pass between agent and guest by descriptor, beside the frames.

The frames' socket belongs to the event loop, which carries no descriptors. So with the first byte of the first frame
the guest is given one end of a second socket; on it each message is the id of a blob and the descriptor of its memory.
What a frame refers to was passed before it, so it is there when the frame is read.
"""

from __future__ import annotations

import array
import os
import socket

from inrush import frames
from inrush.linux import messages

MAX_WAITING = 64
"""Descriptors that a guest may have passed and not yet referred to."""


class Descriptors:
    """Our end for one guest. Nothing here blocks."""

    def __init__(self) -> None:
        self._ours, self._theirs = messages.pair()
        self._ours.setblocking(False)
        self._open = False
        self._waiting: dict[str, int] = {}

    def greet(self, sock: socket.socket, frame: bytes) -> bytes:
        """Sends the other end with the first byte of the first frame; what is left of the frame."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [self._theirs.fileno()]))]
        try:
            sock.sendmsg([frame[:1]], rights, socket.MSG_NOSIGNAL)
        except OSError:
            return frame
        self._theirs.close()
        self._open = True
        return frame[1:]

    def give(self, id: str, size: int, fd: int) -> bool:
        """Passes a blob; False where it must go the long way."""
        if not self._open:
            return False
        try:
            messages.send(self._ours, {"id": id, "bytes": size}, [fd])
        except OSError:
            return False
        return True

    def take(self, id: str) -> int | None:
        """The descriptor that the guest passed under this id, which is the caller's; None where it passed none."""
        while id not in self._waiting and self._receive():
            pass
        return self._waiting.pop(id, None)

    def _receive(self) -> bool:
        try:
            got = messages.receive(self._ours)
        except (BlockingIOError, ConnectionError):
            return False
        except ValueError as error:
            raise frames.FrameError(str(error)) from None
        if got.body is None or len(got.fds) != 1 or not isinstance(got.body.get("id"), str):
            messages.close_all(got.fds)
            if got.body is None:
                return False
            raise frames.FrameError("a malformed message with a descriptor")
        if len(self._waiting) >= MAX_WAITING or got.body["id"] in self._waiting:
            messages.close_all(got.fds)
            raise frames.FrameError(f"more than {MAX_WAITING} payloads passed and not referred to")
        self._waiting[got.body["id"]] = got.fds[0]
        return True

    def close(self) -> None:
        """The guest is gone, or was never there."""
        self._open = False
        self._ours.close()
        self._theirs.close()
        for fd in self._waiting.values():
            os.close(fd)
        self._waiting.clear()
