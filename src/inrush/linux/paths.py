"""Opening what others named, without being led anywhere else: openat2(2), relative to a directory that is open.

A path is a wish of whoever wrote it. Opened here it leads below the directory or nowhere: no symbolic link is followed,
on the way or at its end, nor one of /proc's magic links, and `..` does not leave. What was opened is then changed by
its descriptor, so that nobody can put something else in its place meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from inrush.linux.calls import checked, libc, syscall

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
PLACE = os.O_PATH
"""How to open what is only bound or handed on: such a descriptor can be neither read nor written."""

_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 2, 4, 8
_EMPTY_PATH = 0x1000


def open_beneath(directory: int, path: str, flags: int = DIRECTORY, *, links: bool = False) -> int:
    """A descriptor of `path` below `directory`. With `links`, symbolic links are followed that stay below it. Raises
    `OSError`: ELOOP for a link, EXDEV for what is outside.
    """
    if "\0" in path:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    resolve = _BENEATH | _NO_MAGICLINKS | (0 if links else _NO_SYMLINKS)
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, resolve)
    return syscall("openat2", directory, os.fsencode(path), how, len(how), what=path)


def open_entry(directory: int, name: str) -> int:
    """A descriptor of one entry of a directory, which may be of any kind: a symbolic link is opened itself."""
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def change_owner(fd: int, uid: int, gid: int) -> None:
    """chown of what is open, however it was opened."""
    checked(libc.fchownat(fd, b"", ctypes.c_uint(uid), ctypes.c_uint(gid), _EMPTY_PATH), "fchownat")


def by_descriptor(fd: int) -> str:
    """A path that means what is open, for calls that take no descriptor; nothing that was renamed can change that."""
    return f"/proc/self/fd/{fd}"
