"""The door of a berth: the first process of its namespaces. Trusted code makes it, and a forked container joins the
namespaces by its pidfd.

    maker ── fork ──▶ setup: with the launcher's rights, in the pid namespace of the template; makes the root, enters
                             the user namespace that owns the app's berths, and unshares all other namespaces
             ── clone(PARENT) ──▶ door: pid 1 of the berth, but a child of the maker; locks the mounts, drops all
                                  capabilities, and executes a program that does nothing

A process can join a pid namespace only from one above it, so the setup is in that of the template. The template cannot
read the setup's memory, since that is not dumpable. The door must be dumpable, or no process could join its namespaces;
so it executes a program of nine bytes before it becomes so, and the template finds nothing else in its memory.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from dataclasses import dataclass
from typing import NoReturn

from inrush.linux import confine, messages, mounts, namespaces, process, roots, seccomp
from inrush.linux.calls import MACHINE

_OWNED = namespaces.NEWPID | namespaces.NEWIPC | namespaces.NEWUTS | namespaces.NEWCGROUP

_CODE = {
    "x86_64": b"\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7",  # again: pause()
    "aarch64": struct.pack(
        "<8I", *(0xD2800000 | register for register in range(5)), 0xD2800928, 0xD4000001, 0x17FFFFF9
    ),
}
_ELF_MACHINE = {"x86_64": 62, "aarch64": 183}
_HEADERS = 64 + 56


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a berth. `pids`, `root` and `net` are descriptors of the template's pid namespace, of the root, and
    of the network (-1 for loopback alone); `owner` and `inner` are user namespaces. `binds` are (mount, path, is a
    directory), `joins` are for joining its control groups, and `devices` are mounts of nodes by their names below /dev.
    `user` is user 0 of the app as the launcher sees it."""

    pids: int
    owner: int
    inner: int
    root: int
    net: int
    binds: list[tuple[int, str, bool]]
    devices: dict[str, int]
    joins: list[int]
    tmp_mib: int | None
    user: int


def program() -> int:
    """Makes a memfd with a minimal ELF program that waits for ever. Returns its descriptor."""
    code = _CODE[MACHINE]
    size, base = _HEADERS + len(code), 0x400000
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    machine = _ELF_MACHINE[MACHINE]
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, base + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    fd = os.memfd_create("inrush-door", os.MFD_CLOEXEC)
    os.write(fd, header + segment + code)
    os.fchmod(fd, 0o555)
    return fd


def make(berth: Parts, beneath: roots.Beneath, nothing: int, report: socket.socket) -> NoReturn:
    """Becomes the setup process, in a fork of the maker, and forks the door. The door reports on `report` right before
    it executes its program; the exec closes `report`, which means success."""
    process.hide_memory()
    namespaces.unshare(namespaces.NEWNS)
    mounts.make_private()
    nodes = {**roots.take_nodes(), **berth.devices} if berth.devices else None
    roots.enter(berth.root, berth.binds, nodes, berth.tmp_mib, berth.user, beneath)
    for fd in berth.joins:
        os.write(fd, b"0")
    namespaces.setns(berth.owner, namespaces.NEWUSER)
    namespaces.become_root()
    namespaces.unshare(_OWNED | (namespaces.NEWNET if berth.net < 0 else 0))
    if berth.net >= 0:
        namespaces.setns(berth.net, namespaces.NEWNET)
    if namespaces.fork_sibling():
        os._exit(0)
    roots.lock()
    namespaces.setns(berth.inner, namespaces.NEWUSER)
    process.die_with_parent()
    confine.confine(seccomp.program())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps orphans
    messages.send(report, {"door": True})
    os.closerange(0, 3)  # exec closes all others
    os.execve(nothing, ["inrush-door"], {})  # noqa: S606 (no shell is wanted)
    raise AssertionError
