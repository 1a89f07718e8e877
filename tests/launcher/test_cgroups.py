"""The files of control groups that are written on machines of both layouts, recorded from real kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from inrush.launcher import cgroups
from inrush.launcher.cgroups import Cgroups, Group, Layout, layout
from inrush.launcher.specs import Limits

HYBRID = """\
28 22 0:24 / /sys/fs/cgroup rw,relatime - tmpfs cgroup rw,mode=755
29 28 0:25 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
30 28 0:26 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
31 28 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 28 0:28 / /sys/fs/cgroup/freezer rw,relatime shared:9 - cgroup cgroup rw,freezer
33 28 0:29 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
34 28 0:30 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
35 28 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
PURE = """\
24 30 0:22 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
25 30 0:6 / /dev rw,nosuid shared:2 - devtmpfs udev rw,size=4040268k
"""


def test_a_hybrid_machine_has_its_controllers_in_trees_of_their_own() -> None:
    found = layout(HYBRID)
    assert found.v1 == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "freezer": "/sys/fs/cgroup/freezer",
        "pids": "/sys/fs/cgroup/pids",
    }
    assert not found.pure


def test_a_pure_machine_has_one_tree() -> None:
    assert layout(PURE) == Layout({}, "/sys/fs/cgroup")
    assert layout(PURE).pure


def test_a_machine_without_groups_says_so() -> None:
    with pytest.raises(OSError, match="no cgroup"):
        Cgroups(layout(""), "inrush-x", True)


def _pure(tmp_path: Path) -> Cgroups:
    for name in ("cgroup.subtree_control", "inrush-x/cgroup.subtree_control"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    return Cgroups(Layout({}, str(tmp_path)), "inrush-x", True)


def _knobs(path: Path, *names: str) -> None:
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).write_text("")


def test_limits_in_one_tree(tmp_path: Path) -> None:
    groups = _pure(tmp_path)
    assert (tmp_path / "inrush-x" / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    place = tmp_path / "inrush-x" / "co-1"
    knobs = ("memory.max", "memory.swap.max", "pids.max", "cpu.weight", "cpu.max", "cgroup.kill", "cgroup.procs")
    _knobs(place, *knobs)
    group = groups.make("co-1", Limits(cpu=1.5, cpu_request=2, memory_mib=64, pids=9), 1000)
    group.kill()
    written = {name: (place / name).read_text() for name in knobs}
    assert written == {
        "memory.max": str(64 << 20),
        "memory.swap.max": "0",
        "pids.max": "9",
        "cpu.weight": "200",
        "cpu.max": "150000 100000",
        "cgroup.kill": "1",
        "cgroup.procs": "",
    }


def test_without_limits_memory_has_the_nodes_and_the_processor_none(tmp_path: Path) -> None:
    groups = _pure(tmp_path)
    place = tmp_path / "inrush-x" / "co-1"
    _knobs(place, "memory.max", "cpu.max")
    groups.make("co-1", Limits(), 1000)
    assert (place / "memory.max").read_text() == str(1000 << 20)
    assert (place / "cpu.max").read_text() == "max 100000"


def test_usage_and_kills_for_memory_in_one_tree(tmp_path: Path) -> None:
    group = _pure(tmp_path).group("co-1")
    place = tmp_path / "inrush-x" / "co-1"
    _knobs(place)
    for name, text in {
        "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
        "memory.current": f"{3 << 20}\n",
        "memory.peak": f"{5 << 20}\n",
        "pids.current": "4\n",
        "memory.events": "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 0\n",
    }.items():
        (place / name).write_text(text)
    usage = group.usage()
    assert (usage.cpu_s, usage.memory_mib, usage.memory_peak_mib, usage.pids) == (2.5, 3, 5, 4)
    assert group.oom_kills() == 2


def test_limits_in_trees_of_their_own(tmp_path: Path) -> None:
    trees = {name: str(tmp_path / name) for name in ("cpu", "memory", "pids", "freezer")}
    for path in trees.values():
        Path(path, "inrush-x", "co-1").mkdir(parents=True)
    knobs = {"cpu": "cpu.shares cpu.cfs_quota_us", "memory": "memory.limit_in_bytes", "pids": "pids.max"}
    for controller, names in knobs.items():
        _knobs(tmp_path / controller / "inrush-x" / "co-1", *names.split())
    Cgroups(Layout(trees, ""), "inrush-x", False).make("co-1", Limits(cpu=0.5, cpu_request=1, memory_mib=8, pids=3), 99)
    read = {p.name: p.read_text() for c in knobs for p in (tmp_path / c / "inrush-x" / "co-1").iterdir()}
    assert read["cpu.shares"] == "1024"
    assert read["cpu.cfs_quota_us"] == "50000"
    assert read["memory.limit_in_bytes"] == str(8 << 20)
    assert read["pids.max"] == "3"
    assert not (tmp_path / "memory" / "inrush-x" / "co-1" / "memory.memsw.limit_in_bytes").exists()


def test_all_containers_together_are_bounded_in_one_tree(tmp_path: Path) -> None:
    groups = _pure(tmp_path)
    base = tmp_path / "inrush-x"
    _knobs(base, "memory.max", "memory.swap.max", "pids.max", "cpu.weight")
    groups.bound(1000, 500)
    assert (base / "memory.max").read_text() == str(1000 << 20)
    assert (base / "memory.swap.max").read_text() == "0"
    assert (base / "pids.max").read_text() == "500"
    assert int((base / "cpu.weight").read_text()) < 100, "the server's group has 100"
    groups.bound(1000, 500, preferred=True)
    assert 100 <= int((base / "cpu.weight").read_text()) <= 466, "a server that goes first has 932"


def test_all_containers_together_are_bounded_in_trees_of_their_own(tmp_path: Path) -> None:
    trees = {name: str(tmp_path / name) for name in ("cpu", "memory", "pids")}
    bases = {name: Path(path, "inrush-x") for name, path in trees.items()}
    for base in bases.values():
        base.mkdir(parents=True)
    _knobs(bases["cpu"], "cpu.shares")
    _knobs(bases["memory"], "memory.use_hierarchy", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    _knobs(bases["pids"], "pids.max")
    Cgroups(Layout(trees, ""), "inrush-x", False).bound(1000, 500)
    assert (bases["memory"] / "memory.use_hierarchy").read_text() == "1"
    assert (bases["memory"] / "memory.limit_in_bytes").read_text() == str(1000 << 20)
    assert (bases["memory"] / "memory.memsw.limit_in_bytes").read_text() == f"{1000 << 20}"
    assert (bases["pids"] / "pids.max").read_text() == "500"
    assert int((bases["cpu"] / "cpu.shares").read_text()) < 1024, "a process outside of groups weighs 1024"


@pytest.mark.parametrize(
    ("theirs", "inside"),
    [
        ("4:memory:/inrush-x/co-1\n1:cpu,cpuacct:/inrush-x/co-1\n0::/\n", True),
        ("4:memory:/inrush-x/co-1\n1:cpu,cpuacct:/\n0::/\n", False),
        ("4:memory:/co-1\n1:cpu,cpuacct:/co-1\n0::/\n", False),
        ("4:memory:/inrush-x/co-11\n1:cpu,cpuacct:/inrush-x/co-1\n0::/\n", False),
        ("0::/inrush-x/co-1\n", False),
    ],
)
def test_a_process_is_inside_only_if_every_tree_says_so(
    monkeypatch: pytest.MonkeyPatch, theirs: str, inside: bool
) -> None:
    monkeypatch.setattr(cgroups, "_read", lambda path: theirs)
    paths = {"memory": "/m/inrush-x/co-1", "cpu": "/c/inrush-x/co-1", "cpuacct": "/c/inrush-x/co-1"}
    assert Group(paths, False).holds(1) is inside
