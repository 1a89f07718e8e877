"""Is this process confined? Asked from outside, of the kernel, never of the process, before it gets anything to do.

A template runs user code, which could tamper with what its forks do to themselves, or leave a helper beside them. So a
child that skipped a step is found here, and so is a process that nobody asked for, and all of them are killed.
"""

from __future__ import annotations

import contextlib
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
    """The process is not what it must be; the message says in which respect."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a process must be: in the user namespace `userns` (a descriptor), in the namespaces `place`, sharing no
    others with the processes `not_in`; without capabilities but `keep`, and under so many `filters`."""

    userns: int
    place: Mapping[str, Identity]
    not_in: tuple[int, ...]
    keep: tuple[str, ...] = ()
    filters: int = 1


def process(pid: int, expected: Expected, group: Group | None) -> dict[str, str]:
    """Raise `Unconfined` unless `pid` is as expected and in `group`; `ProcessLookupError` if it has ended. Returns its
    fields of /proc/PID/status.
    """
    try:
        _user_namespace(pid, expected.userns)
        _apart(pid, expected.not_in, [kind for kind in _OWN if kind not in expected.place])
        _placed(pid, expected.place)
        status = caps.read_status(pid)
        _privileges(status, caps.mask(expected.keep), expected.filters)
        if group is not None and not group.holds(pid):
            raise Unconfined("it is outside its control group")
    except (Unconfined, FileNotFoundError):
        if _ending(pid):  # the kernel has taken it out of its groups and namespaces
            raise ProcessLookupError(errno.ESRCH, "it ended while it was looked at") from None
        raise
    return status


def alone(status: dict[str, str], procs: int, first: Expected | None = None) -> None:
    """Raise `Unconfined` unless the process, of which `status` tells, has one thread, and it and the first of its pid
    namespace are all that is in that; `procs` lists those. A process that was looked at before has only descendants
    like itself, so who is not there now did not come before. With `first`, the first process is looked at too.
    """
    if status["Threads"].strip() != "1":
        raise Unconfined("it has more than one thread, which may not all be alike")
    own = status["NSpid"].split()[-1]
    there = {name for name in os.listdir(procs) if name.isdigit()}
    if not there <= {"1", own}:
        raise Unconfined(f"it is not alone: {len(there - {'1', own})} processes are there that nobody asked for")
    if first is not None and own != "1":
        init = f"self/fd/{procs}/1"
        with contextlib.suppress(PermissionError):  # which an ordinary user gets, as it hides its memory
            _user_namespace(init, first.userns)
        _privileges(caps.read_status(init), 0, first.filters)


def _ending(pid: int) -> bool:
    """Whether it is dead, or on its way out: it leaves its groups before its state says so (proc(5), `flags`)."""
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
    loaded = int(status.get("Seccomp_filters", filters)) if status["Seccomp"] == "2" else 0  # told from Linux 5.9 on
    if loaded < filters:
        raise Unconfined(f"it is under {loaded} of {filters} filters of system calls")
