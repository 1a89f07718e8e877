"""Large payloads for a server on this machine, and from it, by descriptor: no byte of them crosses the link.

The descriptor of what was given is kept until its call is over: a server that was started again is given it again.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from inrush.wire import Codec

_ANSWER_S = 30.0
MAX_KEPT = 128
"""Payloads in flight. Further ones cross the link in pieces."""


class Shared:
    """Passes payloads of one link by descriptor. `path` is the server's socket for it. Any thread may use it."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._kept: dict[str, int] = {}
        self._lock = threading.Lock()

    def give(self, pieces: Iterable[bytes | memoryview], size: int) -> bytes | None:
        """Passes a payload to the server, and returns a reference to it; None where it must cross the link."""
        from inrush.linux import memory

        if len(self._kept) >= MAX_KEPT:
            return None
        id = f"bl-{secrets.token_hex(16)}"
        try:
            fd = memory.make(pieces)
        except OSError:
            return None
        if not self._put(id, fd):
            os.close(fd)
            return None
        with self._lock:
            self._kept[id] = fd
        return Codec.BLOB.value + msgspec.json.encode({"id": id, "bytes": size})

    def again(self) -> None:
        """Passes all payloads in flight again, to a server that may be another one."""
        for id, fd in list(self._kept.items()):
            self._put(id, fd)

    def release(self, payloads: Iterable[bytes]) -> None:
        """Closes the descriptors of payloads that are no longer needed."""
        if not self._kept:
            return
        for payload in payloads:
            if payload[:1] == Codec.BLOB.value:
                with self._lock:
                    fd = self._kept.pop(msgspec.json.decode(payload[1:])["id"], -1)
                if fd >= 0:
                    os.close(fd)

    def fetch(self, id: str) -> memoryview | None:
        """A payload that the server has; None where it must cross the link."""
        from inrush.linux import memory

        answer, fds = self._ask({"get": id}, [])
        if not fds:
            return None
        try:
            return memory.mapped(fds[0], answer["bytes"])
        finally:
            os.close(fds[0])

    def drop(self) -> None:
        """Closes all descriptors, in a forked child and at the end."""
        with self._lock:
            kept, self._kept = self._kept, {}
        for fd in kept.values():
            os.close(fd)

    def _put(self, id: str, fd: int) -> bool:
        return "bytes" in self._ask({"put": id}, [fd])[0]

    def _ask(self, body: dict[str, str], fds: list[int]) -> tuple[dict[str, int], list[int]]:
        from inrush.linux import messages

        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as end:
                end.settimeout(_ANSWER_S)
                end.connect(self._path)
                messages.send(end, body, fds)
                got = messages.receive(end)
        except (OSError, ValueError):
            return {}, []
        return got.body or {}, got.fds


def beside(socket_path: str) -> Shared | None:
    """The sharing with the server that listens at `socket_path`, if this machine can do it."""
    path = Path(socket_path).with_name("blobs.sock")
    return Shared(path) if hasattr(os, "memfd_create") and path.exists() else None
