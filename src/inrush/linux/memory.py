"""Large payloads in shared memory: a memfd, passed by its descriptor.

It is written once and then sealed. Nobody can change or shrink it after that, not even its maker, so a process can map
it without trusting who made it. Readers map it privately: what they write there stays their own.
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
    """Makes a sealed memfd that holds the pieces. Raises `OSError` when memory is short."""
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
    """The size in bytes of a memfd that somebody passed. Raises `ValueError` if it is not sealed, or is something else:
    a file, a pipe, a directory, a device, or a memfd on huge pages, whose holes kill the process that reads them."""
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
    """The device number of the kernel's internal tmpfs, which holds all memfds except those on huge pages."""
    fd = os.memfd_create("inrush-device", os.MFD_CLOEXEC)
    try:
        return os.fstat(fd).st_dev
    finally:
        os.close(fd)


def reopened(fd: int) -> int:
    """Opens the file again, for reading, with an offset of its own. If whoever made the file holds a lease on it, this
    raises `BlockingIOError` instead of waiting."""
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(again, True)
    return again


def mapped(fd: int, size: int) -> memoryview:
    """Maps a file of `size` bytes privately: what is written to the view stays in this process. The memory is unmapped
    when nothing refers to the view any more. An empty file gives an empty view."""
    if not size:
        return memoryview(bytearray())
    return memoryview(mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE))
