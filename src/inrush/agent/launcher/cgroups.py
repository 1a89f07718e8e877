"""Control groups: limits, accounting, and the end of everything in a container.

Two layouts are served. *Pure v2*: one tree has all controllers, and `cgroup.kill`. *Hybrid*: cpu, cpuacct, memory,
pids and freezer are v1 trees of their own. A v2 tree beside them is left alone: moving a process in v2 takes a lock
that waits for an RCU grace period (12 ms here), where v1's `tasks` file takes none, and the freezer does what
`cgroup.kill` would.

A container has a group of its name in each tree, below one group per state directory, so that what a crash left is
found and swept.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from inrush.agent.launcher.specs import Limits, Usage

_V1_WANTED = ("cpu", "cpuacct", "memory", "pids", "freezer")
_MIB = 1 << 20
_PERIOD_US = 100_000


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the trees are mounted: v1 by controller, v2 or ""."""

    v1: dict[str, str]
    v2: str

    @property
    def pure(self) -> bool:
        """Whether v2 has the controllers."""
        return bool(self.v2) and "memory" not in self.v1


def layout(mountinfo: str) -> Layout:
    """Read the layout from the text of /proc/self/mountinfo."""
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
    """The groups of one container, or of all of them (`base`)."""

    def __init__(self, paths: dict[str, Path], pure: bool, can_kill: bool) -> None:
        self._paths = paths
        self._pure = pure
        self._can_kill = can_kill

    def open_joins(self) -> list[int]:
        """Descriptors into which a process writes "0" to move itself in."""
        names = {key: "cgroup.procs" if key == "v2" else "tasks" for key in self._paths}
        distinct = {self._paths[key]: name for key, name in names.items()}
        return [os.open(path / name, os.O_WRONLY | os.O_CLOEXEC) for path, name in distinct.items()]

    def holds(self, pid: int) -> bool:
        """Whether a process is in these groups, in every tree."""
        ours = {str(path) for path in self._paths.values()}
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        inside = [
            line
            for line in lines
            if any(p.endswith(line.split(":", 2)[2]) and line.split(":", 2)[2] != "/" for p in ours)
        ]
        return len(inside) >= len(ours)

    def kill(self) -> None:
        """SIGKILL to all processes, so that none can flee by forking."""
        if self._can_kill and "v2" in self._paths:
            with contextlib.suppress(FileNotFoundError):
                (self._paths["v2"] / "cgroup.kill").write_text("1")
            return
        freezer = self._paths.get("freezer")
        if freezer:
            _write(freezer / "freezer.state", "FROZEN")
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if freezer:
            _write(freezer / "freezer.state", "THAWED")

    def pids(self) -> list[int]:
        """Ids of all processes inside."""
        key = next((k for k in ("freezer", "v2", "pids") if k in self._paths), None)
        with contextlib.suppress(OSError):
            return [int(line) for line in (self._paths[key] / "cgroup.procs").read_text().split()] if key else []
        return []

    def usage(self) -> Usage:
        """What the container uses and has used."""
        if self._pure:
            path = self._paths["v2"]
            cpu_s = _field(path / "cpu.stat", "usage_usec") / 1e6
            names = ("memory.current", "memory.peak", "pids.current")
            now, peak, pids = (_number(path / name) for name in names)
        else:
            cpu_s = self._number("cpuacct", "cpuacct.usage") / 1e9
            now, peak = (self._number("memory", f"memory.{n}_in_bytes") for n in ("usage", "max_usage"))
            pids = self._number("pids", "pids.current")
        return Usage(cpu_s, now / _MIB, peak / _MIB, pids)

    def oom_kills(self) -> int:
        """How many processes were killed for memory."""
        if self._pure:
            return _field(self._paths["v2"] / "memory.events", "oom_kill")
        return _field(self._paths["memory"] / "memory.oom_control", "oom_kill") if "memory" in self._paths else 0

    def remove(self) -> bool:
        """Remove the groups; False while a process is still on its way out of one."""
        done = True
        for path in dict.fromkeys(self._paths.values()):
            try:
                path.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                done = False
        return done

    def limit(self, limits: Limits, memory_mib: int) -> None:
        """Set the limits; `memory_mib` is used where the limits have none."""
        memory = str((limits.memory_mib or memory_mib) * _MIB)
        quota = str(max(1000, int(limits.cpu * _PERIOD_US))) if limits.cpu else ""
        if self._pure:
            path = self._paths["v2"]
            _write(path / "memory.max", memory)
            _write(path / "memory.swap.max", "0")
            _write(path / "pids.max", str(limits.pids))
            _write(path / "cpu.weight", str(min(10_000, max(1, round(limits.cpu_request * 100)))))
            _write(path / "cpu.max", f"{quota or 'max'} {_PERIOD_US}")
            return
        if cpu := self._paths.get("cpu"):
            _write(cpu / "cpu.shares", str(max(2, int(limits.cpu_request * 1024))))
            if quota:
                _write(cpu / "cpu.cfs_quota_us", quota)
        if where := self._paths.get("memory"):
            _write(where / "memory.limit_in_bytes", memory)
            _write(where / "memory.memsw.limit_in_bytes", memory)
        if where := self._paths.get("pids"):
            _write(where / "pids.max", str(limits.pids))

    def _number(self, controller: str, name: str) -> int:
        return _number(self._paths[controller] / name) if controller in self._paths else 0


class Cgroups:
    """All groups of one state directory. Raises `OSError` where the trees cannot be written."""

    def __init__(self, where: Layout, name: str, can_kill: bool) -> None:
        self._layout = where
        self._roots = {name: Path(path) for name, path in ({"v2": where.v2} if where.pure else where.v1).items()}
        if not self._roots:
            raise OSError("no cgroup file system is mounted")
        self._name = name
        self._can_kill = can_kill
        self._make_base()

    def _make_base(self) -> None:
        for root in self._roots.values():
            (root / self._name).mkdir(exist_ok=True)
        if self._layout.pure:
            root = self._roots["v2"]
            for path in (root, root / self._name):
                (path / "cgroup.subtree_control").write_text("+cpu +memory +pids")

    def group(self, name: str) -> Group:
        """The handle of a container's group, which need not exist."""
        return Group(
            {key: root / self._name / name for key, root in self._roots.items()}, self._layout.pure, self._can_kill
        )

    def make(self, name: str, limits: Limits, memory_mib: int) -> Group:
        """A new group with limits."""
        for root in dict.fromkeys(self._roots.values()):
            (root / self._name / name).mkdir(exist_ok=True)
        made = self.group(name)
        made.limit(limits, memory_mib)
        return made

    def names(self) -> set[str]:
        """Groups there are."""
        found: set[str] = set()
        for root in self._roots.values():
            with contextlib.suppress(OSError):
                found |= {entry.name for entry in os.scandir(root / self._name) if entry.is_dir()}
        return found

    def remove_base(self) -> None:
        """When all groups are gone."""
        for root in dict.fromkeys(self._roots.values()):
            with contextlib.suppress(OSError):
                (root / self._name).rmdir()


def _write(path: Path, value: str) -> None:
    # A missing file is a controller or a knob that this kernel does not have.
    with contextlib.suppress(FileNotFoundError), open(os.open(path, os.O_WRONLY | os.O_CLOEXEC), "w") as file:
        file.write(value)


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _field(path: Path, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
