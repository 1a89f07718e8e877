"""JSON messages with descriptors over a SOCK_SEQPACKET pair: agent ⇄ launcher, launcher ⇄ template, launcher ⇄ process
of a container.

A message is one packet, so messages need no framing. If the receiver asked for credentials, the kernel adds the id of
the sending process, as the receiver's pid namespace shows it.

The sender may be hostile. `receive` owns every descriptor from the moment the kernel delivers it: either it returns a
well-formed message whose caller owns them, or it has closed all of them. Closing can be hostile too: closing the last
descriptor of a TCP socket waits for its data for as long as SO_LINGER says, so `discard` clears that option first.
"""

from __future__ import annotations

import array
import errno
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
"""The most descriptors that the kernel lets a message carry (SCM_MAX_FD), so a buffer for them is always enough."""
_SPACE = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4) + socket.CMSG_SPACE(12)
_SO_PASSRIGHTS = 83
_NO_LINGER = struct.pack("ii", 0, 0)


class Received(NamedTuple):
    """A message. `body` is None when the other side is gone, and then there are no descriptors; `pid` is 0 without
    credentials. The caller owns the descriptors."""

    body: dict[str, Any] | None
    fds: list[int]
    pid: int = 0


def pair() -> tuple[socket.socket, socket.socket]:
    """Makes two connected ends that take messages up to `LIMIT_BYTES`."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * LIMIT_BYTES)
    return ends


def raised(end: socket.socket, low: int = 300) -> socket.socket:
    """Moves an end to a descriptor of at least `low`, since 0 to 3 are set up for the program that will be executed."""
    with end:
        return socket.socket(fileno=fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, low))


def want_credentials(end: socket.socket, descriptors: bool = False) -> None:
    """Has the kernel add credentials to messages that arrive here, and refuse descriptors unless `descriptors`. It must
    be called before anything is sent."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    if not descriptors:
        refuse_descriptors(end)


def send(end: socket.socket, body: dict[str, Any], fds: Sequence[int] = (), wait: bool = True) -> None:
    """Sends one message. Raises `OSError` when the other side is gone, or with EMSGSIZE for a message that is longer
    than a receiver takes, and `BlockingIOError` when the queue is full and the end is non-blocking or `wait` is False.
    """
    data = json.dumps(body, separators=(",", ":")).encode()
    if len(data) > LIMIT_BYTES:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE), f"a message of {len(data)} bytes")
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    end.sendmsg([data], rights, socket.MSG_NOSIGNAL | (0 if wait else socket.MSG_DONTWAIT))


def refuse_descriptors(end: socket.socket) -> None:
    """Has the kernel refuse descriptors sent to this end: the sender gets EPERM (Linux 6.16). Older kernels deliver
    them, and `receive` with `descriptors=0` closes them."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)


def receive(end: socket.socket, wait: bool = True, descriptors: int = MAX_DESCRIPTORS) -> Received:
    """Receives the next message, with at most `descriptors` descriptors.

    Raises `ValueError` for a message that was truncated, is no JSON object, or has too many descriptors, and closes the
    descriptors. Raises `BlockingIOError` when there is no message yet and the end is non-blocking or `wait` is False.
    """
    return receive_whole(end, wait, descriptors)[0]


def receive_whole(end: socket.socket, wait: bool = True, descriptors: int = MAX_DESCRIPTORS) -> tuple[Received, bytes]:
    """The same, with the message as it was sent."""
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
    return Received(body, list(fds), pid), data


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
    """Closes descriptors of a message from a trusted sender."""
    for fd in fds:
        os.close(fd)


def discard(fds: Sequence[int]) -> None:
    """Closes descriptors of a message from an untrusted sender, without waiting for data in sockets among them."""
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
    """Closes an end, and before that the descriptors in its queue, by `discard`: if the kernel closed them, it could
    wait."""
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
