"""Mounts: the classic call, and the newer ones that make a mount as a descriptor and attach it later.

A *detached* mount is a descriptor of a mount that is attached nowhere. One process can make it, in the mount namespace
in which it has the right to, and another can attach it in its own: so a berth gets the root that the launcher made.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence

from inrush.linux.calls import checked, libc, syscall

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC = 1, 2, 4, 8, 32, 4096, 16384
PRIVATE, SLAVE = 1 << 18, 1 << 19

ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC, ATTR_IDMAP = 1, 2, 4, 8, 0x100000

_AT_FDCWD = -100
_AT_RECURSIVE, _AT_EMPTY_PATH, _CLOEXEC = 0x8000, 0x1000, 0x80000
_SET_FLAG, _SET_STRING, _SET_FD, _CREATE, _RECONFIGURE = 0, 1, 5, 6, 7
_PICK = 0x1 | 0x8
"""FSPICK_CLOEXEC and FSPICK_EMPTY_PATH."""


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    result = libc.mount(
        source.encode() or None, target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None
    )
    checked(result, f"mount {kind or 'change'} on {target} {data}".strip())


def unmount(target: str) -> None:
    """Detaches a mount lazily: the kernel removes it when nobody uses it any more."""
    checked(libc.umount2(target.encode(), 2), f"umount {target}")


def make_private() -> None:
    """Stops all propagation of mounts between this mount namespace and others."""
    mount("", "/", "", REC | PRIVATE)


def pivot_into(path: str) -> None:
    """Makes `path` (a mount) the root of this mount namespace, and detaches the old root."""
    os.chdir(path)
    syscall("pivot_root", b".", b".")
    unmount(".")
    os.chdir("/")


def clone_tree(path: str, recursive: bool = False) -> int:
    """A detached copy of the mount at `path`, with `path` as its root."""
    flags = 1 | _CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return syscall("open_tree", _AT_FDCWD, path.encode(), flags, what=f"open_tree {path}")


def clone_of(mount_fd: int) -> int:
    """A detached copy of a detached mount."""
    return syscall("open_tree", mount_fd, b"", 1 | _CLOEXEC | _AT_EMPTY_PATH, what="open_tree of a descriptor")


def set_attributes(mount_fd: int, attributes: int, userns_fd: int = 0) -> None:
    """Sets attributes of a detached mount. With `ATTR_IDMAP`, its owners are mapped through a user namespace."""
    request = struct.pack("QQQQ", attributes, 0, 0, userns_fd)
    syscall("mount_setattr", mount_fd, b"", _AT_EMPTY_PATH, request, len(request))


def attach(mount_fd: int, path: str) -> None:
    """Attaches a detached mount at `path`, which must exist."""
    syscall("move_mount", mount_fd, b"", _AT_FDCWD, path.encode(), 4, what=f"move_mount to {path}")


def detached(kind: str, options: Sequence[tuple[str, str | int | None]] = (), attributes: int = 0) -> int:
    """Makes a new file system as a detached mount. An option's value is a string, a descriptor, or None for a flag."""
    fs = syscall("fsopen", kind.encode(), 1, what=f"fsopen {kind}")
    try:
        for key, value in options:
            _configure(fs, key, value)
        _configure(fs, None, None)
        return syscall("fsmount", fs, 1, attributes, what=f"fsmount {kind}")
    finally:
        os.close(fs)


def seal(mount_fd: int) -> None:
    """Makes the file system of a mount read-only, in all its mounts and for everybody who has a file or directory of it
    open.

    Raises `OSError` (`EBUSY`) while a file is open for writing, or mapped so. Only a process with CAP_SYS_ADMIN in the
    user namespace that made the file system can undo it.
    """
    fs = syscall("fspick", mount_fd, b"", _PICK, what="fspick")
    try:
        syscall("fsconfig", fs, _SET_FLAG, b"ro", 0, 0, what="fsconfig ro")
        syscall("fsconfig", fs, _RECONFIGURE, 0, 0, 0, what="remount read-only")
    finally:
        os.close(fs)


def _configure(fs: int, key: str | None, value: str | int | None) -> None:
    name = key.encode() if key else 0
    try:
        if key is None:
            syscall("fsconfig", fs, _CREATE, 0, 0, 0)
        elif isinstance(value, int):
            syscall("fsconfig", fs, _SET_FD, name, 0, value)
        elif value is None:
            syscall("fsconfig", fs, _SET_FLAG, name, 0, 0)
        else:
            syscall("fsconfig", fs, _SET_STRING, name, value.encode(), 0)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"fsconfig {key}={value} {_kernel_says(fs)}".strip()) from None


def _kernel_says(fs: int) -> str:
    try:
        return os.read(fs, 4096).decode(errors="replace").strip()
    except OSError:
        return ""
