"""Verifies that a process is confined, by what the kernel says about it from outside, before it gets anything to do.

A template may run user code, which could make its forks skip a step of their confinement, or leave another process
beside them. Both are found here, and then everything in the berth is killed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from inrush.launcher.cgroups import Group
from inrush.linux import caps, namespaces

_EXITING = 0x4
"""PF_EXITING of include/linux/sched.h."""

_OWN = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
_CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

Identity = tuple[int, int]
"""(device, inode) of a namespace."""


class Unconfined(Exception):
    """The process is not confined as it must be; the message says in which respect."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is required of a process: it is in the user namespace `userns` (a descriptor) and in the namespaces `place`,
    shares no other namespace with the processes `not_in`, has no capabilities but `keep`, and is under at least
    `filters` seccomp filters."""

    userns: int
    place: Mapping[str, Identity]
    not_in: tuple[int, ...]
    keep: tuple[str, ...] = ()
    filters: int = 1


def process(pid: int, expected: Expected, group: Group | None) -> dict[str, str]:
    """Verifies that `pid` is as expected and in `group`. Raises `Unconfined` if it is not, and `ProcessLookupError` if
    it has ended. Returns the fields of its /proc/PID/status."""
    try:
        _user_namespace(pid, expected.userns)
        _apart(pid, expected.not_in, [kind for kind in _OWN if kind not in expected.place])
        _placed(pid, expected.place)
        status = caps.read_status(pid)
        _privileges(status, caps.mask(expected.keep), expected.filters)
        if group is not None and not group.holds(pid):
            raise Unconfined("it is outside its control group")
    except (Unconfined, FileNotFoundError):
        if _ending(pid):  # the kernel has removed it from its groups and namespaces
            raise ProcessLookupError(errno.ESRCH, "it ended while it was looked at") from None
        raise
    return status


def alone(status: dict[str, str], procs: int, first: Expected | None = None) -> None:
    """Verifies that the process with this `status` has one thread, and that only it and the first process are in its
    pid namespace, which `procs` lists. Raises `Unconfined` otherwise. Descendants of a confined process are confined,
    so nothing unconfined can have entered before. With `first`, the first process is verified too."""
    if status["Threads"].strip() != "1":
        raise Unconfined("it has more than one thread, which may not all be alike")
    own = status["NSpid"].split()[-1]
    there = {name for name in os.listdir(procs) if name.isdigit()}
    if not there <= {"1", own}:
        raise Unconfined(f"{len(there - {'1', own})} processes are in its pid namespace that nobody asked for")
    if first is not None and own != "1":
        init = f"self/fd/{procs}/1"
        _user_namespace(init, first.userns)
        _privileges(caps.read_status(init), 0, first.filters)


def _ending(pid: int) -> bool:
    """Whether a process has ended or is exiting. An exiting process leaves its groups before its state says so, so its
    flags are read (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return fields[0] in "ZX" or bool(int(fields[6]) & _EXITING)


def _user_namespace(pid: int | str, userns: int) -> None:
    if namespaces.identity("user", pid) != namespaces.identity_of(userns):
        raise Unconfined("it is not in the user namespace of its app")


def _apart(pid: int, not_in: Iterable[int], kinds: Iterable[str]) -> None:
    for kind in kinds:
        own = namespaces.identity(kind, pid)
        if any(namespaces.identity(kind, other) == own for other in not_in):
            raise Unconfined(f"it shares a {kind} namespace with its template or the node")


def _placed(pid: int, place: Mapping[str, Identity]) -> None:
    for kind, identity in place.items():
        if namespaces.identity(kind, pid) != identity:
            raise Unconfined(f"it is not in the {kind} namespace that was made for it")


def _privileges(status: dict[str, str], allowed: int, filters: int) -> None:
    for name in _CAPABILITY_SETS:
        if int(status[name], 16) & ~allowed:
            raise Unconfined(f"it has capabilities: {name} {status[name]}")
    if status["NoNewPrivs"] != "1":
        raise Unconfined("it may gain privileges by exec")
    loaded = int(status.get("Seccomp_filters", filters)) if status["Seccomp"] == "2" else 0  # a field since Linux 5.9
    if loaded < filters:
        raise Unconfined(f"it is under {loaded} of {filters} seccomp filters")
