"""Large payloads pass between agent and guest by descriptor, beside the frames.

The frames' socket belongs to the event loop, which carries no descriptors. So with the first byte of the first frame
the guest is given one end of a second socket; on it each message is the id of a blob and the descriptor of its memory.
What a frame refers to was passed before it, so it is there when the frame is read.

A guest may pass anything, and as much as it likes. Each message brings exactly one descriptor, of a sealed memfd;
whatever else came with it is closed, and the guest has broken the protocol.
"""

from __future__ import annotations

import array
import socket
from collections.abc import Callable

from inrush import frames
from inrush.linux import memory, messages

MAX_WAITING = 64
"""Descriptors that a guest may have passed and not yet referred to."""

MAX_ID_CHARS = 100


class Descriptors:
    """Our end for one guest. Nothing here blocks. `may_hold` says whether one more descriptor may be held for it, which
    `let_go` is told of when that is over."""

    def __init__(self, may_hold: Callable[[], bool] = lambda: True, let_go: Callable[[], None] = lambda: None) -> None:
        self.may_hold, self.let_go = may_hold, let_go
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
        """The descriptor that the guest passed under this id, which is the caller's; None where it passed none. Raises
        `FrameError` for a message that is not as it should be."""
        while id not in self._waiting and self._receive():
            pass
        fd = self._waiting.pop(id, None)
        if fd is not None:
            self.let_go()
        return fd

    def _receive(self) -> bool:
        try:
            got = messages.receive(self._ours, descriptors=1)
        except (BlockingIOError, ConnectionError):
            return False
        except ValueError as error:
            raise frames.FrameError(str(error)) from None
        if got.body is None:
            return False
        try:
            self._keep(got.body.get("id"), got.fds)
        except ValueError as error:
            messages.discard(got.fds)
            raise frames.FrameError(f"it passed {error}") from None
        return True

    def _keep(self, id: object, fds: list[int]) -> None:
        """The descriptor is ours from here on. Raises `ValueError` where it stays the caller's."""
        if not isinstance(id, str) or not 0 < len(id) <= MAX_ID_CHARS or id in self._waiting:
            raise ValueError("a payload without a new id")
        if len(fds) != 1:
            raise ValueError(f"{len(fds)} descriptors with a payload")
        memory.sealed_size(fds[0])
        if len(self._waiting) >= MAX_WAITING or not self.may_hold():
            raise ValueError(f"more than {MAX_WAITING} payloads, or too many with its app's, and referred to none")
        self._waiting[id] = fds[0]

    def close(self) -> None:
        """The guest is gone, or was never there."""
        self._open = False
        messages.drain(self._ours)
        self._theirs.close()
        for fd in self._waiting.values():
            self.let_go()
            messages.discard([fd])
        self._waiting.clear()
