"""JSON messages with descriptors over a SOCK_SEQPACKET pair: agent ⇄ launcher, launcher ⇄ zygote, launcher ⇄
container's first process.

A message is one packet, so there is nothing to cut. Where the receiver asked for credentials, the kernel says which
process sent it, by that process's id as the receiver sees it.

The sender may be hostile. `receive` owns every descriptor from the moment the kernel hands it over: either it returns
a well-formed message whose caller owns them, or it has closed all of them. A hostile sender can also choose what is
closed: closing the last descriptor of a TCP socket waits for its data for as long as SO_LINGER says, so `discard` takes
that option away first.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

LIMIT_BYTES = 512 * 1024
MAX_DESCRIPTORS = 253
"""The kernel lets no message carry more (SCM_MAX_FD), so none is ever left out for want of space here."""
_SPACE = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4) + socket.CMSG_SPACE(12)
_SO_PASSRIGHTS = 83
_NO_LINGER = struct.pack("ii", 0, 0)


class Received(NamedTuple):
    """`body` is None when the other side is gone, and then there are no descriptors; `pid` is 0 without credentials.
    The caller owns the descriptors."""

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


def want_credentials(end: socket.socket, descriptors: bool = False) -> None:
    """Messages that arrive here name their sender, and bring no `descriptors` unless they may. Set it before anything
    is sent.
    """
    end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    if not descriptors:
        refuse_descriptors(end)


def send(end: socket.socket, body: dict[str, Any], fds: Sequence[int] = (), wait: bool = True) -> None:
    """One message. Raises `OSError` when the other side is gone, or `BlockingIOError` when an end is full that is
    non-blocking, or that is not to `wait`.
    """
    data = json.dumps(body, separators=(",", ":")).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    end.sendmsg([data], rights, socket.MSG_NOSIGNAL | (0 if wait else socket.MSG_DONTWAIT))


def refuse_descriptors(end: socket.socket) -> None:
    """Nobody can pass descriptors to this end, where the kernel can refuse them (Linux 6.16): the sender is told EPERM.
    Older kernels deliver them, and `receive` with `descriptors=0` closes them."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)


def receive(end: socket.socket, wait: bool = True, descriptors: int = MAX_DESCRIPTORS) -> Received:
    """The next message, with at most so many descriptors.

    Raises `ValueError` for a message that was cut, is no JSON object, or has too many descriptors; what it brought is
    closed. Without `wait`, or with a non-blocking end: `BlockingIOError` when there is none yet.
    """
    how = socket.MSG_CMSG_CLOEXEC | (0 if wait else socket.MSG_DONTWAIT)
    data, controls, flags, _ = end.recvmsg(LIMIT_BYTES, _SPACE, how)
    fds, pid = array.array("i"), 0
    for level, kind, raw in controls:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(raw[: len(raw) - len(raw) % 4])
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid = struct.unpack("iII", raw)[0]
    try:
        body = _body(data, flags)
        if len(fds) > (descriptors if body is not None else 0):
            raise ValueError(f"a message with {len(fds)} descriptors")
    except BaseException:
        discard(fds)
        raise
    return Received(body, list(fds), pid)


def _body(data: bytes, flags: int) -> dict[str, Any] | None:
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise ValueError("a message or its descriptors were cut")
    if not data:
        return None
    try:
        body = json.loads(data)
    except RecursionError:
        raise ValueError("a message that is nested too deeply") from None
    if not isinstance(body, dict):
        raise ValueError("a message that is no JSON object")
    return body


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors that a message brought."""
    for fd in fds:
        os.close(fd)


def discard(fds: Sequence[int]) -> None:
    """Close descriptors that a hostile sender chose, without waiting for what it put into them."""
    for fd in fds:
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                _disarm(fd)
        with suppress(OSError):
            os.close(fd)


def _disarm(fd: int) -> None:
    sock = socket.socket(fileno=fd)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    finally:
        sock.detach()


def drain(end: socket.socket) -> None:
    """Close an end, and first all that is queued on it with a descriptor: the kernel would close those by itself, but
    would wait where `discard` does not."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    while True:
        try:
            got = receive(end, wait=False)
        except ValueError:
            continue
        except OSError:
            break
        discard(got.fds)
        if got.body is None:
            break
    end.close()
