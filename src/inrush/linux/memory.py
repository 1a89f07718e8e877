"""Large payloads in memory that processes share: a memfd, passed by its descriptor.

It is written once and then sealed: nobody, its maker neither, can change or shrink it, so whoever maps it is safe from
whoever made it. Readers map it privately: what they write is theirs alone.
"""

from __future__ import annotations

import fcntl
import functools
import mmap
import os
import stat
from collections.abc import Iterable

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_WRITE_BYTES = 64 * 1024 * 1024


def make(pieces: Iterable[bytes | memoryview]) -> int:
    """A sealed memfd that holds the pieces. Raises `OSError` where memory lacks."""
    fd = os.memfd_create("inrush-payload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for piece in pieces:
            view = memoryview(piece).cast("B")
            while view:
                view = view[os.write(fd, view[:_WRITE_BYTES]) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def sealed_size(fd: int) -> int:
    """Bytes of a memfd that somebody passed. Raises `ValueError` if it could still be changed, or is something else: a
    file, a pipe, a directory, a device, or a memfd on huge pages, whose holes kill the process that reads them."""
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        found = os.fstat(fd)
    except OSError:
        raise ValueError("a descriptor that is no memfd") from None
    if not stat.S_ISREG(found.st_mode) or found.st_dev != _device():
        raise ValueError("a descriptor that is no memfd")
    if seals & SEALS != SEALS:
        raise ValueError("a memfd that is not sealed")
    return found.st_size


@functools.cache
def _device() -> int:
    """The kernel's own file system, on which all memfds are but those on huge pages."""
    fd = os.memfd_create("inrush-device", os.MFD_CLOEXEC)
    try:
        return os.fstat(fd).st_dev
    finally:
        os.close(fd)


def reopened(fd: int) -> int:
    """Another descriptor of the same file, for reading, with an offset of its own. It never waits: whoever made the
    file may hold a lease on it, and then this raises `BlockingIOError`."""
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(again, True)
    return again


def mapped(fd: int, size: int) -> memoryview:
    """All of a file; what is written there stays here. The memory goes when nothing refers to it any more. Of an empty
    file there is nothing to map, which is no error."""
    if not size:
        return memoryview(bytearray())
    return memoryview(mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE))
