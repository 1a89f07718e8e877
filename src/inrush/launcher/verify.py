"""Is this process confined? Asked from outside, of the kernel, never of the process, before it gets anything to do.

A template runs user code, which could tamper with what its forks do to themselves. So a child that skipped a step is
found here, and killed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from inrush.launcher.cgroups import Group
from inrush.linux import caps, namespaces

_EXITING = 0x4
"""PF_EXITING of include/linux/sched.h."""

_OWN = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
_CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


class Unconfined(Exception):
    """The process is not what it must be; the message says in which respect."""


def process(
    pid: int,
    userns: int,
    group: Group | None,
    not_in: list[int],
    keep: tuple[str, ...] = (),
    filters: int = 1,
    place: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Raise `Unconfined` unless `pid` is in the user namespace `userns`, in `group`, in the namespaces `place`
    (descriptors by kind), shares no others with the processes `not_in`, has no capabilities but `keep`, cannot get any,
    and is under so many filters. Raises `ProcessLookupError` if it has ended.
    """
    try:
        namespaces_of(pid, userns, not_in, [kind for kind in _OWN if kind not in place])
        _placed(pid, place)
        _privileges(caps.read_status(pid), caps.mask(keep), filters)
        if group is not None and not group.holds(pid):
            raise Unconfined("it is outside its control group")
    except (Unconfined, FileNotFoundError):
        if _ending(pid):  # the kernel has taken it out of its groups and namespaces
            raise ProcessLookupError(errno.ESRCH, "it ended while it was looked at") from None
        raise


def _ending(pid: int) -> bool:
    """Whether it is dead, or on its way out: it leaves its groups before its state says so (proc(5), `flags`)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return fields[0] in "ZX" or bool(int(fields[6]) & _EXITING)


def namespaces_of(pid: int, userns: int, not_in: list[int], kinds: Iterable[str] = _OWN) -> None:
    """Raise `Unconfined` unless `pid` is in the user namespace `userns` and shares none of `kinds` with the processes
    `not_in`.
    """
    stat = os.fstat(userns)
    if namespaces.identity("user", pid) != (stat.st_dev, stat.st_ino):
        raise Unconfined("it is not in the user namespace of its app")
    for kind in kinds:
        own = namespaces.identity(kind, pid)
        if any(namespaces.identity(kind, other) == own for other in not_in):
            raise Unconfined(f"it shares a {kind} namespace with its template or the node")


def _placed(pid: int, place: Mapping[str, int]) -> None:
    for kind, fd in place.items():
        stat = os.fstat(fd)
        if namespaces.identity(kind, pid) != (stat.st_dev, stat.st_ino):
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
