"""What user code can reach from each kind of process that runs it, compared with a list of what it may reach.

A new way out, or a right that was not there before, shows as a difference, whatever refuses the rest.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inrush.launcher.client import LaunchError
from inrush.linux import caps
from launcher.launched import UID_BASE, Node, needs_root, traces

pytestmark = [
    needs_root,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls of x86-64"),
]

SECRET = Path(f"/usr/local/share/inrush-battery-{os.getpid()}-0600")
"""Of this worker of the tests alone."""

BATTERY = r"""
import array, ctypes, errno, fcntl, json, os, socket, struct, threading, time
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(number, *[a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]) == -1:
        raise OSError(ctypes.get_errno(), "")

def mounted(*arguments):
    ctypes.set_errno(0)
    if libc.mount(*arguments) == -1:
        raise OSError(ctypes.get_errno(), "")

def write(path, text):
    with open(path, "w") as file:
        file.write(text)

def remount(path, flags):
    mounted(None, path, None, ctypes.c_ulong(flags), None)

def link(name, request):
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, request, struct.pack("16sH14x", name, 0))

def another(kind):
    fd = os.open("/proc/self/ns/" + kind, os.O_RDONLY)
    fcntl.ioctl(fd, 0xB701)

TRIES = {
    "remount /usr writable": lambda: remount(b"/usr", 32 | 4096),
    "remount /usr with set-user-id": lambda: remount(b"/usr", 32 | 4096 | 1 | 4),
    "remount / with devices": lambda: remount(b"/", 32 | 4096),
    "remount /proc/sys writable": lambda: remount(b"/proc/sys", 32 | 4096),
    "remount /sys writable": lambda: remount(b"/sys", 32),
    "unmount /usr": lambda: call(166, b"/usr", 2),
    "unmount /proc": lambda: call(166, b"/proc", 2),
    "move a mount": lambda: mounted(b"/usr", b"/tmp", None, ctypes.c_ulong(8192), None),
    "bind over /usr": lambda: mounted(b"/tmp", b"/usr", None, ctypes.c_ulong(4096), None),
    "a new file system": lambda: mounted(b"x", b"/tmp", b"tmpfs", ctypes.c_ulong(0), None),
    "open_tree": lambda: call(428, -100, b"/usr", 1),
    "move_mount": lambda: call(429, -100, b"/usr", -100, b"/tmp", 0),
    "fsopen": lambda: call(430, b"tmpfs", 0),
    "mount_setattr": lambda: call(442, -100, b"/usr", 0, struct.pack("QQQQ", 0, 1, 0, 0), 32),
    "pivot_root": lambda: call(155, b"/tmp", b"/tmp"),
    "write to /usr": lambda: write("/usr/inrush-battery", "x"),
    "a set-user-id file of the host": lambda: os.chmod("/usr/bin/env", 0o4755),
    "a device": lambda: os.mknod("/tmp/mem", 0o20600, os.makedev(1, 1)),
    "core_pattern": lambda: write("/proc/sys/kernel/core_pattern", "|/tmp/x"),
    "ip_forward": lambda: write("/proc/sys/net/ipv4/ip_forward", "1"),
    "sysrq": lambda: write("/proc/sysrq-trigger", "h"),
    "uevent_helper": lambda: write("/sys/kernel/uevent_helper", "/tmp/x"),
    "kcore": lambda: open("/proc/kcore", "rb").read(1),
    "kmsg": lambda: open("/dev/kmsg"),
    "keys": lambda: call(250, 0, -3, 1),
    "add_key": lambda: call(248, b"user", b"x", b"x", 1, -3),
    "ptrace": lambda: call(101, 16, 1, 0, 0),
    "memory of the first process": lambda: call(310, 1, b"", 0, b"", 0, 0),
    "descriptors of the first process": lambda: os.readlink("/proc/1/fd/" + os.listdir("/proc/1/fd")[0]),
    "a user namespace": lambda: call(272, 0x10000000),
    "a mount namespace": lambda: call(272, 0x20000),
    "a network namespace": lambda: call(272, 0x40000000),
    "a child in a user namespace": lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0),
    "clone3": lambda: call(435, b"\0" * 88, 88),
    "io_uring": lambda: call(425, 1, b"\0" * 120),
    "bpf": lambda: call(321, 0, b"\0" * 64, 64),
    "perf": lambda: call(298, b"\0" * 128, 0, -1, -1, 0),
    "userfaultfd": lambda: call(323, 0),
    "raw packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "raw addresses": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "vsock": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    "packet filters": lambda: socket.socket(16, 3, 12),
    "what answers to a name in netlink": lambda: socket.socket(16, 3, 16),
    "rules of IPsec": lambda: socket.socket(16, 3, 6),
    "the kernel's ciphers": lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET),
    "a link down": lambda: link(b"lo", 0x8914),
    "an address": lambda: link(b"lo", 0x8916),
    "a mark of packets": lambda: socket.socket().setsockopt(1, 36, 7),
    "another's address as one's own": lambda: socket.socket().setsockopt(0, 19, 1),
    "the host's name": lambda: call(170, b"other", 5),
    "the user namespace of the network": lambda: another("net"),
    "the user namespace of the mounts": lambda: another("mnt"),
    "the user namespace above": lambda: another("user"),
    "setns to one's own mounts": lambda: call(308, os.open("/proc/self/ns/mnt", os.O_RDONLY), 0x20000),
    "setns to the first's user namespace alone": lambda: call(308, os.pidfd_open(1), 0x10000000),
    "setns to the first's network": lambda: call(308, os.pidfd_open(1), 0x40000000),
    "setns to all of the first": lambda: call(308, os.pidfd_open(1), 0x7E020000),
    "a control group": lambda: os.mkdir("/sys/fs/cgroup/new"),
    "more ids": lambda: write("/proc/self/uid_map", "0 0 4294967295"),
    "the clock": lambda: call(227, 0, struct.pack("qq", 1, 0)),
    "a limit": lambda: call(160, 7, struct.pack("QQ", 1 << 22, 1 << 22)),
    "a higher priority": lambda: os.setpriority(0, 0, -5),
    "a real-time priority": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "a lower oom score": lambda: write("/proc/self/oom_score_adj", "-1000"),
    "another user": lambda: os.setuid(1),
    "chroot": lambda: call(161, b"/tmp"),
    "owners of a file": lambda: (write("/tmp/owned", "x"), os.chown("/tmp/owned", 5, 5)),
    "the host's secret": lambda: open("SECRET").read(),
}

def battery():
    # what worked, and the capabilities that this process has in any set
    worked = []
    for name, attempt in TRIES.items():
        if os.fork() == 0:
            try:
                attempt()
            except BaseException:
                os._exit(1)
            os._exit(0)
        if os.wait()[1] == 0:
            worked.append(name)
    held = {line.split(":")[0]: line.split()[1] for line in open("/proc/self/status") if line.startswith("Cap")}
    return sorted(worked), held
""".replace("SECRET", str(SECRET))

_NONE = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16)
_BUILD = f"{caps.mask(caps.BUILD):016x}"

MAY: dict[str, tuple[list[str], dict[str, str]]] = {
    "a snapshot's hook": ([], _NONE),
    "a package imported ahead": ([], _NONE),
    "a container forked from a snapshot": ([], _NONE),
    "a container forked from a zygote": ([], _NONE),
    "a container executed": ([], _NONE),
    "a program entered into a container": ([], _NONE),
    "a step of an image build": (
        ["another user", "chroot", "owners of a file"],
        {**_NONE, "CapPrm": _BUILD, "CapEff": _BUILD, "CapBnd": _BUILD},
    ),
}
"""By kind of process: of the tries those that work, and the capabilities that it holds. A build's are over files of its
own user namespace alone, which owns no other namespace."""

_TELL = "print(json.dumps(battery()))"


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file of the machine that only root may read, below a directory that containers are shown."""
    SECRET.write_text("of root")
    SECRET.chmod(0o600)
    yield SECRET
    SECRET.unlink()


async def _seen(node: Node, kind: str) -> Any:
    if kind == "a container executed":
        return json.loads((await node.python(BATTERY + _TELL))[1])
    if kind == "a step of an image build":
        root = node.root(upper=str(node.state / "node" / "up"))
        return json.loads((await node.python(BATTERY + _TELL, caps="build", root=root))[1])
    if kind in ("a package imported ahead", "a container forked from a zygote"):
        rig = (node.layer / "root" / "rig.py").read_text()
        (node.layer / "root" / "hostile.py").write_text(BATTERY + "seen = battery()\n" + rig)
        await node.template("t", entry="hostile")
        ask = "json.dumps(seen)" if kind == "a package imported ahead" else "json.dumps(battery())"
        return json.loads(eval(await (await node.fork("t")).ask(ask)))
    await node.template("t", boot={"before": BATTERY + "seen = battery()"})
    forked = await node.fork("t")
    if kind == "a program entered into a container":
        return await _entered(node, forked.id)
    which = "seen" if kind == "a snapshot's hook" else "battery()"
    return json.loads(eval(await forked.ask(f"json.dumps({which})")))


async def _entered(node: Node, id: str) -> Any:
    read, write = os.pipe()
    argv = ["/opt/inrush/python/bin/python3", "-I", "-c", BATTERY + _TELL]
    await node.launcher.enter(id, argv, {"PATH": "/usr/bin:/bin"}, "/", 0, write, write, None, "ex")
    os.close(write)
    with os.fdopen(read) as file:
        return json.loads(await asyncio.to_thread(file.read))


@pytest.mark.xdist_group("host files")
@pytest.mark.parametrize("kind", MAY)
async def test_code_of_users_reaches_what_it_may_and_nothing_else(node: Node, secret: Path, kind: str) -> None:
    assert await _seen(node, kind) == [*MAY[kind]]
    assert not Path("/usr/inrush-battery").exists()


async def test_a_template_that_is_given_a_berth_cannot_use_a_part_of_it_nor_learn_its_owner(node: Node) -> None:
    before = """
import ctypes, fcntl
import inrush.guest.isolate as i
libc = ctypes.CDLL(None, use_errno=True)
fork_into, seen = i.fork_into, []
def tried(door):
    for kind in (0x20000, 0x40000000, 0x10000000, 0x20000000, 0x7E020000 & ~0x10000000):
        ctypes.set_errno(0)
        seen.append((libc.setns(door, kind), ctypes.get_errno()))
    for request in (0xFF01, 0xFF05, 0xFF09):
        try:
            seen.append(fcntl.ioctl(door, request))
        except OSError as error:
            seen.append(error.errno)
    return fork_into(door)
i.fork_into = tried
"""
    await node.template("t", boot={"before": before})
    assert await (await node.fork("t")).ask("seen") == repr([*[(-1, 1)] * 5, 1, 1, 1])


async def test_a_socket_of_a_berth_gives_a_template_no_right_over_its_network(node: Node) -> None:
    before = """
import fcntl, struct, threading
import inrush.guest.isolate as i
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # one reply per fork, those ahead too
settle, fork_into = i.settle, i.fork_into
def settled(*arguments):
    with socket.socket() as inside:
        socket.send_fds(theirs, [b"x"], [inside.fileno()])
    return settle(*arguments)
def forked(door):
    pid = fork_into(door)
    if pid:
        with socket.socket(fileno=socket.recv_fds(ours, 1, 1)[1][0]) as inside:
            tries = {
                "flags": lambda: fcntl.ioctl(inside, 0x8914, struct.pack("16sH14x", b"lo", 0)),
                "address": lambda: fcntl.ioctl(inside, 0x8916, struct.pack("16sH2s4s8x", b"lo", 2, b"", bytes(4))),
                "route": lambda: fcntl.ioctl(inside, 0x890B, bytes(120)),
                "hardware": lambda: fcntl.ioctl(inside, 0x8924, struct.pack("16sH14x", b"lo", 1)),
                "mark": lambda: inside.setsockopt(1, 36, 7),
                "filters": lambda: inside.setsockopt(0, 64, bytes(200)),
            }
            said = []
            for name, attempt in tries.items():
                try:
                    attempt()
                    said.append(name)
                except OSError as error:
                    said += [] if error.errno == 1 else [(name, error.errno)]
        ours.send(repr(said).encode())
    return pid
i.settle, i.fork_into = settled, forked
"""
    await node.template("t", boot={"before": before})
    assert await (await node.fork("t")).ask("theirs.recv(4000).decode()") == "'[]'"


async def test_garbage_with_descriptors_in_place_of_a_report_costs_the_launcher_none(node: Node) -> None:
    before = """
import array
import inrush.guest.isolate as i
def flooded(report, *_):
    fds = [os.open("/dev/null", 0) for _ in range(190)]
    try:
        report.sendmsg([b"garbage"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        os.write(1, b"sent, ")
    except OSError:
        os.write(1, b"refused, ")
        report.send(b"garbage")
    time.sleep(5)
i.wait = flooded
"""
    read, write = os.pipe()
    await node.launcher.open_template(node.template_spec("t", boot={"before": before}), write, 2)
    os.close(write)
    launcher = next(iter(Path(f"/proc/{node.handle.pid}/task/{node.handle.pid}/children").read_text().split()))
    await _refused(node)
    before_fds = len(os.listdir(f"/proc/{launcher}/fd"))
    for _ in range(5):
        await _refused(node)
    assert len(os.listdir(f"/proc/{launcher}/fd")) < before_fds + 40
    await node.launcher.close_template("t")
    with os.fdopen(read) as said:
        told = (await asyncio.to_thread(said.read)).split(", ")[:-1]
    assert told, "who is killed for its garbage at once says no more, but not each of them is"
    assert set(told) <= {"sent", "refused"}


async def _refused(node: Node) -> None:
    with pytest.raises(LaunchError):
        await node.fork("t")


async def test_what_only_root_may_read_is_not_read_through_a_layer_of_ours_or_a_path_of_the_host(
    node: Node, secret: Path
) -> None:
    await node.template("t")
    forked = await node.fork("t")
    assert "PermissionError" in await forked.ask(f"open({str(secret)!r}).read()")
    assert await forked.ask(f"os.stat({str(secret)!r}).st_uid") == "65534"


async def test_every_process_of_an_app_outside_of_the_launcher_has_no_capability(node: Node) -> None:
    await node.template("t", boot={"before": ""})
    forked = await node.fork("t")
    await node.start("sleep", "600", output=2)
    assert await forked.ask("1") == "1"
    found = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = caps.read_status(int(status.parent.name))
            groups = (status.parent / "cgroup").read_text()
        except OSError:
            continue
        if fields["Uid"].split()[0] == str(UID_BASE) and any(tag in groups for tag in _tags(node)):
            found += 1
            assert {fields[name] for name in _NONE} == {"0" * 16}, fields["Name"]
            assert fields["NoNewPrivs"] == "1"
    assert found >= 4  # a template, a door, a fork, a program


def _tags(node: Node) -> list[str]:
    return [trace.rsplit("/", 1)[1] for trace in traces(node.state) if trace.startswith("/sys/fs/cgroup")]
