"""Namespaces: leaving and joining them, and a fork whose child belongs to the caller's parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

from inrush.linux.calls import MACHINE, checked, libc, syscall

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
_CLONE_PARENT = 0x8000
_CLEAR_TID, _SET_TID, _GET_TID_ADDRESS = 0x200000, 0x1000000, 40

KINDS = ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")
"""The names of namespaces below /proc/PID/ns."""

ALL = NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS | NEWCGROUP | NEWUSER


def unshare(flags: int) -> None:
    """unshare(2). A new pid namespace begins with the next child."""
    checked(libc.unshare(ctypes.c_int(flags)), f"unshare {flags:#x}")


def setns(descriptor: int, flags: int = 0) -> None:
    """setns(2), with the descriptor of a namespace, or with a pidfd and the flags of several namespaces."""
    checked(libc.setns(ctypes.c_int(descriptor), ctypes.c_int(flags)), f"setns {flags:#x}")


def become_root() -> None:
    """Becomes user and group 0 of the user namespace that was just joined, and leaves all other groups."""
    with contextlib.suppress(PermissionError):  # a namespace with a single id does not allow it
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def fork_sibling() -> int:
    """Forks a child whose parent is the caller's parent, which can then wait for it. The caller must have one
    thread."""
    tid = _tid_address()
    flags = _CLONE_PARENT | signal.SIGCHLD | (_SET_TID | _CLEAR_TID if tid else 0)
    last = (tid, 0) if MACHINE == "x86_64" else (0, tid)
    return syscall("clone", flags, 0, 0, *last)


def _tid_address() -> int:
    """The address at which libc keeps this thread's id, which a fork must update; 0 if the kernel does not tell it."""
    address = ctypes.c_ulong(0)
    return 0 if libc.prctl(_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0) else address.value


def set_hostname(name: str) -> None:
    """sethostname(2), with the name cut to 63 bytes, the most that the kernel takes."""
    raw = name.encode()[:63]
    checked(libc.sethostname(raw, ctypes.c_size_t(len(raw))), "sethostname")


def identity(kind: str, pid: int | str = "self") -> tuple[int, int]:
    """(device, inode) of a process's namespace of this kind. Equal pairs mean the same namespace."""
    stat = os.stat(f"/proc/{pid}/ns/{kind}")
    return stat.st_dev, stat.st_ino


def identity_of(fd: int) -> tuple[int, int]:
    """(device, inode) of the namespace behind a descriptor, comparable to `identity`."""
    stat = os.fstat(fd)
    return stat.st_dev, stat.st_ino
