"""Large payloads in memory that processes share: a memfd, passed by its descriptor.

It is written once and then sealed: nobody, its maker neither, can change or shrink it, so whoever maps it is safe from
whoever made it. Readers map it privately: what they write is theirs alone.
"""

from __future__ import annotations

import fcntl
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
    """Bytes of a memfd that somebody passed. Raises `ValueError` if it could still be changed, or is something else."""
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        raise ValueError("a descriptor that is no memfd") from None
    if seals & SEALS != SEALS or not stat.S_ISREG(os.fstat(fd).st_mode):
        raise ValueError("a memfd that is not sealed")
    return os.fstat(fd).st_size


def reopened(fd: int) -> int:
    """Another descriptor of the same file, for reading, with an offset of its own."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


def mapped(fd: int, size: int) -> memoryview:
    """All of a file; what is written there stays here. The memory goes when nothing refers to it any more."""
    return memoryview(mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE))
