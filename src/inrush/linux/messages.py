"""JSON messages with descriptors over a SOCK_SEQPACKET pair: agent ⇄ launcher, launcher ⇄ zygote, launcher ⇄
container's first process.

A message is one packet, so there is nothing to cut. Where the receiver asked for credentials, the kernel says which
process sent it, by that process's id as the receiver sees it.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

LIMIT_BYTES = 512 * 1024
_MAX_DESCRIPTORS = 200
_SPACE = socket.CMSG_SPACE(_MAX_DESCRIPTORS * 4) + socket.CMSG_SPACE(12)


class Received(NamedTuple):
    """`body` is None when the other side is gone; `pid` is 0 without credentials. The caller owns the descriptors."""

    body: dict[str, Any] | None
    fds: list[int]
    pid: int = 0


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends that take messages up to `LIMIT_BYTES`."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * LIMIT_BYTES)
    return ends


def raised(end: socket.socket, low: int = 300) -> socket.socket:
    """The same end under a number from `low` on, out of the way of what a program is to find as 0 to 3."""
    with end:
        return socket.socket(fileno=fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, low))


def want_credentials(end: socket.socket) -> None:
    """Messages that arrive here name their sender. Set it before anything is sent."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


def send(end: socket.socket, body: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """One message. Raises `OSError` when the other side is gone, or `BlockingIOError` when a non-blocking end is
    full.
    """
    data = json.dumps(body, separators=(",", ":")).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    end.sendmsg([data], rights, socket.MSG_NOSIGNAL)


def receive(end: socket.socket, wait: bool = True) -> Received:
    """The next message. Without `wait`, or with a non-blocking end: `BlockingIOError` when there is none yet."""
    how = socket.MSG_CMSG_CLOEXEC | (0 if wait else socket.MSG_DONTWAIT)
    data, controls, flags, _ = end.recvmsg(LIMIT_BYTES, _SPACE, how)
    fds, pid = array.array("i"), 0
    for level, kind, raw in controls:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(raw[: len(raw) - len(raw) % 4])
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid = struct.unpack("iII", raw)[0]
    if not data:
        return Received(None, list(fds))
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(fds)
        raise ValueError("a message or its descriptors were cut")
    return Received(json.loads(data), list(fds), pid)


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors that a message brought."""
    for fd in fds:
        os.close(fd)
