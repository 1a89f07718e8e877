"""Control groups: limits, accounting, and killing all processes of a container.

Two layouts are supported. *Pure v2*: one tree has all controllers, and `cgroup.kill`. *Hybrid*: cpu, cpuacct, memory,
pids and freezer are v1 trees of their own. A v2 tree beside them is not used: moving a process in v2 takes a lock that
waits for an RCU grace period (12 ms), while writing v1's `tasks` takes none, and the freezer replaces `cgroup.kill`.

A container has a group of its name in each tree, below one parent group per state directory, so that groups left by a
crash are found and removed. The parent group bounds all containers together: they leave memory and processes for the
server and the machine, and have at most half the weight of the server when the processor is short.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass

from inrush.launcher import threads
from inrush.launcher.specs import Limits, Usage

_V1_WANTED = ("cpu", "cpuacct", "memory", "pids", "freezer")
_MIB = 1 << 20
_PERIOD_US = 100_000
_ALONE_SHARES, _ALONE_WEIGHT = 1024, 100
"""The kernel's default weight of a group, and of a process outside of groups (v1, v2)."""
_PREFERRED_SHARES = 9548
"""The weight of a process at the niceness `rights.PREFERRED` (`sched_prio_to_weight` in the kernel's scheduler)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The mount points of the trees: v1 by controller; v2, or "" if there is none."""

    v1: dict[str, str]
    v2: str

    @property
    def pure(self) -> bool:
        """Whether the v2 tree has the controllers."""
        return bool(self.v2) and "memory" not in self.v1


def layout(mountinfo: str) -> Layout:
    """Reads the layout from the text of /proc/self/mountinfo."""
    v1: dict[str, str] = {}
    v2 = ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2":
            v2 = left.split()[4]
        elif kind == "cgroup":
            for controller in options.split(","):
                if controller in _V1_WANTED:
                    v1.setdefault(controller, left.split()[4])
    return Layout(v1, v2)


class Group:
    """The groups of one container. `paths` has the group's directory by v1 controller, or by `v2`."""

    def __init__(self, paths: dict[str, str], can_kill: bool, doors: int = 0) -> None:
        """`doors` is how many processes in it are not the container's own, so its limit of processes is raised by
        that."""
        self._paths = paths
        self._doors = doors
        self._v2 = paths.get("v2", "")
        self._can_kill = can_kill

    def open_joins(self) -> list[int]:
        """Opens the files into which a process writes "0" to move itself into the groups. The caller closes them."""
        file = "cgroup.procs" if self._v2 else "tasks"
        return [os.open(f"{path}/{file}", os.O_WRONLY | os.O_CLOEXEC) for path in dict.fromkeys(self._paths.values())]

    def weigh(self, cpu_request: float) -> None:
        """Changes the share of the processor, and no other limit."""
        if self._v2:
            _write(f"{self._v2}/cpu.weight", str(min(10_000, max(1, round(cpu_request * 100)))))
        else:
            _write(self._file("cpu", "cpu.shares"), str(max(2, int(cpu_request * 1024))))

    def holds(self, pid: int) -> bool:
        """Whether a process is in these groups, in all trees."""
        theirs: dict[str, str] = {}
        for line in _read(f"/proc/{pid}/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            theirs |= dict.fromkeys(controllers.split(",") if controllers else ["v2"], path)
        return all(theirs.get(key, "").endswith(_last_two(path)) for key, path in self._paths.items())

    def kill(self) -> None:
        """Kills all processes by SIGKILL. None can escape by forking, since they are frozen meanwhile, or the kernel
        does it."""
        if self._v2 and self._can_kill:
            _write(f"{self._v2}/cgroup.kill", "1")
            return
        self._freeze(True)
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._freeze(False)

    def _freeze(self, on: bool) -> None:
        if self._v2:
            _write(f"{self._v2}/cgroup.freeze", str(int(on)))
        elif path := self._paths.get("freezer"):
            _write(f"{path}/freezer.state", "FROZEN" if on else "THAWED")

    def pids(self) -> list[int]:
        """The ids of all processes in the group. While the groups are being removed, those in the first that is left: a
        process may have moved into some of them only."""
        for controller in ("v2", "freezer", "pids", "memory", "cpu"):
            if controller in self._paths:
                with contextlib.suppress(OSError):
                    return [int(line) for line in _read(f"{self._paths[controller]}/cgroup.procs").split()]
        return []

    def usage(self) -> Usage:
        """The container's use of cpu, memory and processes, now and so far."""
        if self._v2:
            cpu_s = _field(f"{self._v2}/cpu.stat", "usage_usec") / 1e6
            now, peak, pids = (_number(f"{self._v2}/{n}") for n in ("memory.current", "memory.peak", "pids.current"))
        else:
            cpu_s = _number(self._file("cpuacct", "cpuacct.usage")) / 1e9
            now, peak = (_number(self._file("memory", f"memory.{n}_in_bytes")) for n in ("usage", "max_usage"))
            pids = _number(self._file("pids", "pids.current"))
        return Usage(cpu_s, now / _MIB, peak / _MIB, max(0, pids - self._doors))

    def threads(self) -> threads.Times:
        """How long its threads have run, and waited for a processor."""
        return threads.times(f"{self._v2}/cgroup.threads" if self._v2 else self._file("cpu", "tasks"))

    def oom_kills(self) -> int:
        """How many processes the kernel has killed for lack of memory."""
        file = f"{self._v2}/memory.events" if self._v2 else self._file("memory", "memory.oom_control")
        return _field(file, "oom_kill")

    def remove(self) -> bool:
        """Removes the groups. Returns False while a process is still leaving one."""
        left = [path for path in dict.fromkeys(self._paths.values()) if not _removed(path)]
        return not left

    def limit(self, limits: Limits, memory_mib: int) -> None:
        """Sets the limits; `memory_mib` applies if the limits have none for memory."""
        memory = str((limits.memory_mib or memory_mib) * _MIB)
        quota = str(max(1000, int(limits.cpu * _PERIOD_US))) if limits.cpu else ""
        if self._v2:
            knobs = {
                "memory.max": memory,
                "memory.swap.max": "0",
                "pids.max": str(limits.pids + self._doors),
                "cpu.weight": str(min(10_000, max(1, round(limits.cpu_request * 100)))),
                "cpu.max": f"{quota or 'max'} {_PERIOD_US}",
            }
            for name, value in knobs.items():
                _write(f"{self._v2}/{name}", value)
            return
        _write(self._file("cpu", "cpu.shares"), str(max(2, int(limits.cpu_request * 1024))))
        if quota:
            _write(self._file("cpu", "cpu.cfs_quota_us"), quota)
        _write(self._file("memory", "memory.limit_in_bytes"), memory)
        _write(self._file("memory", "memory.memsw.limit_in_bytes"), memory)
        _write(self._file("pids", "pids.max"), str(limits.pids + self._doors))

    def _file(self, controller: str, name: str) -> str:
        """The path of a file of a v1 controller; "" if there is no such controller."""
        return f"{self._paths[controller]}/{name}" if controller in self._paths else ""


class Cgroups:
    """All groups of one state directory. Raises `OSError` if the trees cannot be written."""

    def __init__(self, where: Layout, name: str, can_kill: bool) -> None:
        roots = {"v2": where.v2} if where.pure else where.v1
        if not roots:
            raise OSError("no cgroup file system is mounted")
        self._bases = {key: f"{root}/{name}" for key, root in roots.items()}
        self._can_kill = can_kill
        for base in self._distinct():
            os.makedirs(base, exist_ok=True)
        if where.pure:
            for path in (where.v2, self._bases["v2"]):
                _write(f"{path}/cgroup.subtree_control", "+cpu +memory +pids")

    def bound(self, memory_mib: int, pids: int, preferred: bool = False) -> None:
        """Bounds all containers together. If the server is `preferred` they weigh as much as one process on each core,
        so that other programs of the machine do not starve them, but at most half of the server. Otherwise they weigh
        half of the kernel's default, which the server has then.
        """
        cores = (os.cpu_count() or 1) * _ALONE_SHARES
        shares = min(cores, _PREFERRED_SHARES // 2) if preferred else _ALONE_SHARES // 2
        if base := self._bases.get("v2"):
            knobs = {
                "memory.max": str(memory_mib * _MIB),
                "memory.swap.max": "0",
                "pids.max": str(pids),
                "cpu.weight": str(shares * _ALONE_WEIGHT // _ALONE_SHARES),
            }
            for name, value in knobs.items():
                _write(f"{base}/{name}", value)
            return
        if "memory" in self._bases:
            with contextlib.suppress(OSError):  # fails where there are groups inside, and then it is set already
                _write(f"{self._bases['memory']}/memory.use_hierarchy", "1")
        bytes_ = str(memory_mib * _MIB)
        for controller, name, value in (
            ("cpu", "cpu.shares", str(shares)),
            ("memory", "memory.memsw.limit_in_bytes", "-1"),  # it may never be below memory.limit_in_bytes
            ("memory", "memory.limit_in_bytes", bytes_),
            ("memory", "memory.memsw.limit_in_bytes", bytes_),
            ("pids", "pids.max", str(pids)),
        ):
            if controller in self._bases:
                _write(f"{self._bases[controller]}/{name}", value)

    def _distinct(self) -> list[str]:
        return list(dict.fromkeys(self._bases.values()))  # cpu and cpuacct are often one tree

    def group(self, name: str, doors: int = 0) -> Group:
        """A handle of a container's group, which need not exist."""
        return Group({key: f"{base}/{name}" for key, base in self._bases.items()}, self._can_kill, doors)

    def make(self, name: str, limits: Limits, memory_mib: int, doors: int = 0) -> Group:
        """Makes a new group with limits, in whose limit of processes so many `doors` do not count."""
        for base in self._distinct():
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{base}/{name}")
        made = self.group(name, doors)
        made.limit(limits, memory_mib)
        return made

    def names(self) -> set[str]:
        """The names of all groups."""
        found: set[str] = set()
        for base in self._distinct():
            with contextlib.suppress(OSError):
                found |= {entry.name for entry in os.scandir(base) if entry.is_dir()}
        return found

    def remove_base(self) -> None:
        """Removes the parent groups, which must be empty."""
        for base in self._distinct():
            _removed(base)


def _last_two(path: str) -> str:
    return "/" + "/".join(path.rsplit("/", 2)[1:])


def _removed(path: str) -> bool:
    try:
        os.rmdir(path)
    except OSError:
        return not os.path.exists(path)
    return True


def _write(path: str, value: str) -> None:
    # A file is missing if this kernel does not have the controller or the setting.
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _number(path: str) -> int:
    try:
        return int(_read(path))
    except (OSError, ValueError):
        return 0


def _field(path: str, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in _read(path).splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
