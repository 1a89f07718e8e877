"""Namespaces: leave, join, and the clone that gives a child to one's own parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

from inrush.linux.calls import checked, libc, syscall

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
_CLONE_PARENT = 0x8000

KINDS = ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")
"""Names below /proc/PID/ns."""


def unshare(flags: int) -> None:
    """unshare(2); a new pid namespace is for the next child."""
    checked(libc.unshare(ctypes.c_int(flags)), f"unshare {flags:#x}")


def setns(descriptor: int, flags: int = 0) -> None:
    """setns(2), of a namespace's descriptor, or of a pidfd and several flags."""
    checked(libc.setns(ctypes.c_int(descriptor), ctypes.c_int(flags)), f"setns {flags:#x}")


def become_root() -> None:
    """User and group 0 of the user namespace just joined, in no other group."""
    with contextlib.suppress(PermissionError):  # a namespace with one id only may not
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def fork_sibling() -> int:
    """fork, but the child's parent is the caller's parent, which so can wait for it. Single-threaded callers only."""
    return syscall("clone", _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)


def set_hostname(name: str) -> None:
    """sethostname(2), cut to what the kernel takes."""
    raw = name.encode()[:63]
    checked(libc.sethostname(raw, ctypes.c_size_t(len(raw))), "sethostname")


def identity(kind: str, pid: int | str = "self") -> tuple[int, int]:
    """(device, inode) of a process's namespace: equal where the namespace is the same."""
    stat = os.stat(f"/proc/{pid}/ns/{kind}")
    return stat.st_dev, stat.st_ino
