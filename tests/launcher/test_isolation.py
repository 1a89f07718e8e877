"""Isolation of containers, tried from inside and verified from outside, for executed and for forked ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inrush.launcher.client import LaunchError
from inrush.launcher.machine import tag_of
from inrush.launcher.specs import Bind
from inrush.linux import caps, namespaces
from launcher.launched import UID_BASE, Node, needs_root

pytestmark = needs_root

_CALLS = {
    "mount": "mount(b'none', b'/tmp', b'tmpfs', 0, None)",
    "umount": "umount2(b'/tmp', 0)",
    "unshare": "unshare(0x10000000)",
    "setns": "setns(0, 0)",
    "ptrace": "ptrace(0, 0, 0, 0)",
    "keyctl": "syscall(250, 0, 0, 0, 0)",
    "bpf": "syscall(321, 0, 0, 0)",
    "io_uring": "syscall(425, 1, 0)",
    "open_tree": "syscall(428, -100, b'/', 1)",
    "chroot": "chroot(b'/tmp')",
    "sethostname": "sethostname(b'x', 1)",
    "reboot": "reboot(0)",
    "process_vm_readv": "syscall(310, 1, 0, 0, 0, 0, 0)",
    "clone into a user namespace": "syscall(56, 0x10000000 | 17, 0, 0, 0, 0)",
}

_TRY = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def refused(call):
    ctypes.set_errno(0)
    return eval("libc." + call) == -1 and ctypes.get_errno() == 1
"""


async def test_calls_that_could_break_out_are_refused_in_a_program(node: Node) -> None:
    code = _TRY + f"print([name for name, call in {_CALLS!r}.items() if not refused(call)])"
    exited, text = await node.python(code)
    assert (exited.code, text) == (0, "[]\n")


async def test_calls_that_could_break_out_are_refused_in_a_fork(node: Node) -> None:
    await node.template("t", boot={"before": _TRY})
    forked = await node.fork("t")
    assert await forked.ask(f"[name for name, call in {_CALLS!r}.items() if not refused(call)]") == "[]"


async def test_threads_and_processes_can_be_made_under_the_filter(node: Node) -> None:
    code = """
import subprocess, threading
t = threading.Thread(target=print, args=("thread",)); t.start(); t.join()
print(subprocess.run(["echo", "process"], capture_output=True, text=True).stdout)
"""
    exited, text = await node.python(code)
    assert (exited.code, text.split()) == (0, ["thread", "process"])


async def test_sockets_are_of_the_kinds_that_programs_use(node: Node) -> None:
    code = """
import socket
netlink = 16, socket.SOCK_RAW
families = [(family, kind, 0) for family in range(48) for kind in (1, 2, 3, 5)]
found = set()
for kind in [*families, *((*netlink, number) for number in range(32))]:
    try:
        socket.socket(*kind).close()
        found.add((kind[0], kind[2]))
    except OSError as error:
        if error.errno not in (93, 94, 97) and kind[0] not in (2, 10):  # raw addresses, which the kernel refuses
            found.add((kind[0], kind[2], error.errno))
for family in range(3, 48):
    try:
        socket.socketpair(family)
    except OSError:
        continue
    found.add(("pair", family))
print(sorted(found), bool(socket.if_nameindex()))
"""
    exited, text = await node.python(code)
    assert (exited.code, text.strip()) == (0, "[(1, 0), (2, 0), (10, 0), (16, 0), (16, 4), (16, 15)] True")


@pytest.mark.parametrize("way", ["program", "fork"])
async def test_from_outside_a_container_is_confined_in_every_respect(node: Node, way: str) -> None:
    up = await node.template("t")
    if way == "fork":
        forked = await node.fork("t")
        pid = forked.started.pid
    else:
        _, write = os.pipe()
        id = await node.start("sleep", "600", output=write)
        pid = _pid_in(node, id)
    status = caps.read_status(pid)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["Uid"].split() == [str(UID_BASE)] * 4
    assert status["Groups"].strip() == ""
    for kind in namespaces.KINDS:
        assert namespaces.identity(kind, pid) != namespaces.identity(kind), kind
        if kind != "user":
            assert namespaces.identity(kind, pid) != namespaces.identity(kind, up.pid), kind
    assert "inrush-" in Path(f"/proc/{pid}/cgroup").read_text()


async def test_settings_of_the_kernel_cannot_be_written(node: Node) -> None:
    write = "open('/proc/sys/net/ipv4/ip_default_ttl', 'w').write('9')"
    exited, text = await node.python(write)
    assert exited.code == 1
    assert "Read-only" in text
    await node.template("t")
    forked = await node.fork("t")
    assert "Read-only" in await forked.ask(write)
    assert await forked.ask("open('/proc/sys/net/ipv4/ip_default_ttl').read()") != "'9\\n'"


async def test_two_apps_are_different_users_of_the_host(node: Node) -> None:
    other = UID_BASE + 65536
    _, write = os.pipe()
    first = await node.start("sleep", "600", output=write)
    second = await node.start("sleep", "600", output=write, uid_base=other)
    uids = [caps.read_status(_pid_in(node, id))["Uid"].split()[0] for id in (first, second)]
    assert uids == [str(UID_BASE), str(other)]


async def test_processes_and_files_of_the_host_are_not_seen(node: Node) -> None:
    secret = node.state / "secret"
    secret.write_text("secret")
    code = f"""
import os
print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()))
print(os.path.exists({str(secret)!r}), os.path.exists('/etc/shadow'), os.path.exists('/home'))
print(open('/proc/1/cmdline').read().strip(chr(0)))
for path in ('/proc/1/mem', '/proc/1/environ', '/proc/1/fd', '/proc/1/root'):
    try:
        os.listdir(path) if path.endswith(('fd', 'root')) else open(path, 'rb').read(1)
        print('read', path)
    except OSError:
        pass
"""
    _, text = await node.python(code)
    assert text.splitlines() == ["[1, 2]", "False False False", "inrush-init"]


async def test_what_one_container_writes_the_next_does_not_see(node: Node) -> None:
    await node.template("t")
    first, second = await node.fork("t"), await node.fork("t")
    for path in ("/root/x", "/tmp/x", "/dev/shm/x"):
        assert await first.ask(f"open({path!r}, 'w').write('x')") == "1"
        assert await second.ask(f"os.path.exists({path!r})") == "False"
    assert "Error" in await first.ask("open('/usr/x', 'w')")
    assert "Error" in await first.ask("open('/dev/x', 'w')")
    assert "Error" in await first.ask("open('/sys/kernel/x', 'w')")
    assert not (node.layer / "root" / "x").exists()


async def test_a_read_only_bind_cannot_be_written_and_a_writable_one_keeps_its_owner(node: Node) -> None:
    volume = node.state / "node" / "volume"
    volume.mkdir()
    (volume / "old").write_text("old")
    for readonly, code in ((True, 1), (False, 0)):
        root = node.root(binds=(Bind(str(volume), "/data", readonly),))
        exited, text = await node.run("sh", "-c", "cat /data/old && echo new > /data/new", root=root)
        assert text.startswith("old")
        assert bool(exited.code) is bool(code), text
    assert (volume / "new").stat().st_uid == os.getuid()


async def test_devices_of_the_host_are_there_only_when_given(node: Node) -> None:
    await node.template("t")
    plain, given = await node.fork("t"), await node.fork("t", devices=("/dev/fuse",))
    assert await plain.ask("os.path.exists('/dev/fuse')") == "False"
    assert await given.ask("(os.path.exists('/dev/fuse'), os.path.exists('/dev/null'))") == "(True, True)"
    assert await plain.ask("os.path.exists('/dev/fuse')") == "False"


async def test_links_in_an_image_do_not_steer_mounts_out_of_it(node: Node) -> None:
    layer, target = node.state / "node" / "layers" / "evil", node.state / "target"
    (layer / "opt").mkdir(parents=True)
    target.mkdir()
    (layer / "opt" / "out").symlink_to(str(target))
    (layer / "opt" / "in").symlink_to("/var")
    with pytest.raises(LaunchError) as caught:
        await node.run("true", root=node.root(str(layer), binds=(Bind("/usr/share", "/opt/out/share"),)))
    assert caught.value.code == "root"
    assert list(target.iterdir()) == []
    root = node.root(str(layer), binds=(Bind("/usr/share", "/opt/in/share"),))
    exited, _ = await node.run("ls", "/var/share", root=root)
    assert exited.code == 0


def _pid_in(node: Node, id: str) -> int:
    """The host's pid of a container's program: the only process in its group that is no init."""
    tag = next(Path("/sys/fs/cgroup").glob(f"**/inrush-{tag_of(node.state)}/{id}/cgroup.procs"))
    pids = [int(line) for line in tag.read_text().split()]
    return next(pid for pid in pids if Path(f"/proc/{pid}/comm").read_text() != "inrush-init\n")
