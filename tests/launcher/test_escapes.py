"""Container escapes that are known from vulnerabilities of other runtimes, each tried in a program and in a fork."""

from __future__ import annotations

import os
import socket

import pytest

from inrush.linux import caps
from launcher.launched import UID_BASE, Node, needs_root

pytestmark = needs_root

_NUMBERS = {
    "userfaultfd": "323, 0", "perf_event_open": "298, 0, 0, -1, -1, 0", "fanotify_init": "300, 0, 0",
    "open_by_handle_at": "304, -100, 0, 0", "name_to_handle_at": "303, -100, b'/', 0, 0, 0",
    "add_key": "248, 0, 0, 0, 0, 0",
    "request_key": "249, 0, 0, 0, 0", "pidfd_getfd": "438, 0, 0, 0", "io_uring_enter": "426, 0, 0, 0, 0, 0, 0",
    "init_module": "175, 0, 0, 0", "kexec_load": "246, 0, 0, 0, 0", "fsopen": "430, b'tmpfs', 0",
    "fsmount": "432, 0, 0, 0",
    "move_mount": "429, 0, 0, 0, 0, 0", "mount_setattr": "442, 0, 0, 0, 0, 0", "pivot_root": "155, b'/', b'/'",
    "process_madvise": "440, 0, 0, 0, 0, 0", "swapon": "167, b'/', 0", "iopl": "172, 3", "personality": "135, 0x40000",
    "x32 mount": "0x40000000 + 165, 0, 0, 0, 0, 0",
}  # fmt: skip
"""System calls of x86-64 that the filter refuses, beside those of `test_isolation`."""

_WRITE = "os.write(os.open({!r}, os.O_WRONLY), {!r})"
_REFUSED = {
    "a device of memory": "os.mknod('/tmp/mem', 0o20600, os.makedev(1, 1))",
    "a device of the disk, in the root": "os.mknod('/disk', 0o60600, os.makedev(254, 0))",
    "raw packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)",
    "raw addresses": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "the kernel's log": "open('/proc/kmsg')",
    "the magic key": _WRITE.format("/proc/sysrq-trigger", b"h"),
    "what the kernel runs on a crash": _WRITE.format("/proc/sys/kernel/core_pattern", b"|/tmp/x"),
    "what the kernel runs for modules": _WRITE.format("/proc/sys/kernel/modprobe", b"/tmp/x"),
    "what the kernel runs for devices": _WRITE.format("/sys/kernel/uevent_helper", b"/tmp/x"),
    "the kernel's memory": "open('/proc/kcore', 'rb').read(8)",
    "more memory than others before it is killed": _WRITE.format("/proc/self/oom_score_adj", b"-1000"),
    "more ids": _WRITE.format("/proc/self/uid_map", b"0 0 4294967295"),
    "another user of the host": "os.setuid(70000)",
    "control groups": "os.mkdir('/sys/fs/cgroup/new')",
    "real-time priority": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "more open files": "__import__('resource').setrlimit(7, (1 << 20, 1 << 22))",
    "the host's name": "socket.sethostname('other')",
    "a typed command for the host's terminal": "__import__('fcntl').ioctl(2, 0x5412, b'x')",
    "the runtime's own program": "os.open('/proc/self/exe', os.O_WRONLY)",
    "the interpreter's file": "os.open(os.path.realpath(sys.executable or '/usr/bin/env'), os.O_WRONLY)",
}
"""What must raise `OSError` (or `ValueError`, as `setrlimit` does)."""

_TRY = f"""
import ctypes, os, socket, sys
def worked():
    found, libc = [], ctypes.CDLL(None, use_errno=True)
    for name, numbers in {_NUMBERS!r}.items():
        ctypes.set_errno(0)
        if eval(f"libc.syscall({{numbers}})") != -1 or ctypes.get_errno() != 1:
            found.append(name)
    for name, act in {_REFUSED!r}.items():
        try:
            eval(act)
            found.append(name)
        except (OSError, ValueError):
            pass
    return found
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls of x86-64")
@pytest.mark.parametrize("way", ["program", "fork"])
async def test_no_known_way_out_works(node: Node, way: str) -> None:
    if way == "program":
        exited, text = await node.python(_TRY + "print(worked())")
        assert (exited.code, text) == (0, "[]\n")
    else:
        await node.template("t", boot={"before": _TRY})
        assert await (await node.fork("t")).ask("worked()") == "[]"


_BEYOND = {
    "bpf": "syscall(321, 0, 0, 0)", "io_uring": "syscall(425, 1, 0)", "userfaultfd": "syscall(323, 0)",
    "keyctl": "syscall(250, 0, 0, 0, 0)", "ptrace": "ptrace(0, 0, 0, 0)", "modules": "syscall(175, 0, 0, 0)",
    "perf_event_open": "syscall(298, 0, 0, -1, -1, 0)", "open_by_handle_at": "syscall(304, -100, 0, 0)",
    "a user namespace": "unshare(0x10000000)", "a child in one": "syscall(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "a root": "chroot(b'/tmp')",
}  # fmt: skip


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls of x86-64")
async def test_hooks_of_a_snapshot_which_have_rights_in_their_user_namespace_are_under_a_filter(node: Node) -> None:
    before = f"""
import ctypes
libc, worked = ctypes.CDLL(None, use_errno=True), []
for name, call in {_BEYOND!r}.items():
    ctypes.set_errno(0)
    if eval("libc." + call) != -1 or ctypes.get_errno() != 1:
        worked.append(name)
"""
    up = await node.template("t", boot={"before": before})
    assert await (await node.fork("t")).ask("worked") == "[]"
    status = caps.read_status(up.pid)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


async def test_sockets_of_the_node_are_not_reached_by_name_or_path(node: Node) -> None:
    await node.template("t")
    forked = await node.fork("t")
    path = str(node.state / "s")
    for address in (f"\0inrush-test-{os.getpid()}", path):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(address)
            server.listen()
            with socket.socket(socket.AF_UNIX) as own:
                own.connect(address)
            said = await forked.ask(f"socket.socket(socket.AF_UNIX).connect({address!r})")
            assert "ConnectionRefusedError" in said or "FileNotFoundError" in said


async def test_loopback_of_the_node_is_not_that_of_a_container(node: Node) -> None:
    await node.template("t")
    forked = await node.fork("t")
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = await forked.ask(f"socket.create_connection({server.getsockname()!r}, 5)")
        assert "ConnectionRefusedError" in said


async def test_a_fork_has_its_standard_streams_and_its_agent_and_nothing_else_open(node: Node) -> None:
    await node.template("t")
    open_now = "sorted(int(fd) for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd))"
    for _ in range(4):  # the later ones go to a berth that was made ahead
        forked = await node.fork("t", devices=("/dev/fuse",))
        guest = int(await forked.ask("sock.fileno()"))
        assert await forked.ask(open_now) == repr([0, 1, 2, guest])
        forked.sock.close()
        await node.ended(forked.id)


async def test_a_program_has_its_standard_streams_and_nothing_else_open_nor_sees_its_init(node: Node) -> None:
    code = """
import os
print([fd for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd)])
for name in ("exe", "cwd", "root", "ns/mnt"):
    try:
        print(os.readlink("/proc/1/" + name))
    except OSError as error:
        print(error.errno)
"""
    _, text = await node.python(code)
    assert text.splitlines() == ["['0', '1', '2']", "13", "13", "13", "13"]


async def test_nothing_of_the_servers_environment_is_in_a_container(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.template("t", env={"LD_LIBRARY_PATH": "/opt/inrush/python/lib", "MINE": "1"})
    forked = await node.fork("t", env={"COLOR": "red"})
    assert await forked.ask("dict(os.environ)") == repr({"COLOR": "red"})
    names = (
        "sorted(line.split(b'=')[0].decode() for line in open('/proc/self/environ', 'rb').read().split(b'\\0') if line)"
    )
    allowed = {"LD_LIBRARY_PATH", "MINE", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    assert set(eval(await forked.ask(names))) <= allowed


async def test_containers_of_two_apps_neither_see_nor_signal_each_other(node: Node) -> None:
    other = UID_BASE + 65536
    await node.template("one")
    await node.template("two", uid_base=other)
    first, second = await node.fork("one"), await node.fork("two")
    assert await first.ask("[pid for pid in os.listdir('/proc') if pid.isdigit()]") == "['1', '2']"
    for pid in (first.started.pid, os.getpid()):
        assert "ProcessLookupError" in await second.ask(f"os.kill({pid}, 9)")
    await first.ask("open('/dev/shm/x', 'w').write('x')")
    assert await second.ask("os.listdir('/dev/shm')") == "[]"
    assert await first.ask("1 + 1") == "2"


async def test_a_device_in_a_layer_does_not_work(node: Node) -> None:
    layer = node.state / "node" / "layers" / "devices"
    layer.mkdir()
    os.mknod(layer / "mem", 0o20666, os.makedev(1, 5))  # as harmless as /dev/zero
    os.chmod(layer / "mem", 0o666)
    await node.template("t")
    for _ in range(3):
        forked = await node.fork("t", root=node.root(str(layer)))
        assert "PermissionError" in await forked.ask("open('/mem', 'rb').read(1)")
    _, text = await node.python("print(open('/mem', 'rb').read(1))", root=node.root(str(layer)))
    assert "PermissionError" in text
