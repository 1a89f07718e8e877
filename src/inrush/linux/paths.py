"""Opens paths that untrusted code chose, by openat2(2) relative to an open directory.

Such a path leads below the directory, or opening it fails: no symbolic link is followed, on the way or at its end, nor
a magic link of /proc, and `..` cannot leave the directory. What was opened is then changed through its descriptor, so
that nobody can put something else in its place meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from inrush.linux.calls import checked, libc, syscall

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
PLACE = os.O_PATH
"""Flags for opening what is only mounted or passed on: the descriptor can be neither read nor written."""

_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 2, 4, 8
_EMPTY_PATH = 0x1000


def open_beneath(directory: int, path: str, flags: int = DIRECTORY, *, links: bool = False) -> int:
    """Opens `path` below `directory`. With `links`, symbolic links that stay below it are followed. Raises `OSError`:
    ELOOP for a link, EXDEV for a path that leads outside."""
    if "\0" in path:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    resolve = _BENEATH | _NO_MAGICLINKS | (0 if links else _NO_SYMLINKS)
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, resolve)
    return syscall("openat2", directory, os.fsencode(path), how, len(how), what=path)


def open_entry(directory: int, name: str) -> int:
    """Opens one entry of a directory, of any kind, with `O_PATH`. Of a symbolic link it opens the link itself."""
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def change_owner(fd: int, uid: int, gid: int) -> None:
    """Changes the owner of an open file, also one opened with `O_PATH`."""
    checked(libc.fchownat(fd, b"", ctypes.c_uint(uid), ctypes.c_uint(gid), _EMPTY_PATH), "fchownat")


def by_descriptor(fd: int) -> str:
    """A path of the open file itself, for calls that take no descriptor. Renaming files does not change what it
    means."""
    return f"/proc/self/fd/{fd}"
