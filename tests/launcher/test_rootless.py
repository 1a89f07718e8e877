"""The launcher of an ordinary user: user namespaces instead of root, with a range of ids and with a single one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import inrush
from launcher.launched import RIG, needs_root

USER = 65534

_DRIVER = """
import asyncio, json, os, socket, sys
from pathlib import Path
package, state, rig = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
sys.path.insert(0, package)
from inrush.launcher.client import LaunchError, Launcher
from inrush.launcher.places import Declared
from inrush.launcher.boot import Given, start_launcher
from inrush.launcher.specs import *
from inrush.linux import messages

handle = start_launcher(state, Given(Declared(("/usr", package))))
layer = state / "node" / "layers" / "base"
for name in ("usr", "etc", "root", "var", "tmp", "opt", "proc", "sys", "dev"):
    (layer / name).mkdir(parents=True)
for name in ("bin", "lib", "lib64", "sbin"):
    (layer / name).symlink_to(f"usr/{name}")
(layer / "root" / "rig.py").write_text(rig)
binds = (Bind("/usr", "/usr"), Bind(package, GUEST_LIB))
found, exits = {}, {}

def root(**more):
    return RootSpec((str(layer),), binds, hostname="box", **more)

async def run(name, script, **more):
    read, write = os.pipe()
    more.setdefault("root", root())
    spec = RunSpec(name, argv=("sh", "-c", script), uid_base=FIRST_UID, env={"PATH": "/usr/bin:/bin"}, **more)
    await launcher.run(spec, 0, write, write)
    os.close(write)
    text = await asyncio.to_thread(lambda: os.fdopen(read).read())
    return text, await ended(name)

async def ended(name):
    future = exits.setdefault(name, asyncio.get_running_loop().create_future())
    async with asyncio.timeout(60):
        return (await future).code

def on_exit(exited):
    exits.setdefault(exited.id, asyncio.get_running_loop().create_future()).set_result(exited)

async def main():
    global launcher
    launcher = Launcher(handle, on_exit)
    found["can"] = await launcher.connect()
    status = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp:)' /proc/self/status | sed 's/.*\t//'"
    found["program"] = await run("a", f"id -u; hostname; touch /root/x /usr/x; {status}; cat /proc/self/uid_map")
    upper = state / "node" / "up"
    script = "echo x > /opt/x; chown 5 /opt/x; rm -r /var"
    found["build"] = await run("b", script, caps="build", root=root(upper=str(upper)))
    await launcher.normalise(str(upper), FIRST_UID, str(state / "node" / "layers" / "built"))
    found["layer"] = sorted(os.listdir(state / "node" / "layers" / "built"))
    above = RootSpec((str(state / "node" / "layers" / "built"), str(layer)), binds)
    found["above"] = await run("c", "cat /opt/x; ls /", root=above)
    boot = {"before": "open('/root/m', 'w').write('hook')"}
    template = TemplateSpec("t", root(), FIRST_UID, "/usr/bin/python3", sys_path=("/root",), entry="rig", boot=boot)
    await launcher.open_template(template, 2, 2)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    started = await launcher.fork(ForkSpec("f", "t", root()), theirs.fileno(), 2, 2)
    theirs.close()
    found["why"] = started.why
    await asyncio.get_running_loop().sock_sendall(ours, b"open('/root/m').read(), os.getpid()")
    found["fork"] = (await asyncio.get_running_loop().sock_recv(ours, 1000)).decode()
    read, write = os.pipe()
    await launcher.enter("f", ["cat", "/root/m"], {"PATH": "/usr/bin"}, "/", 0, write, write, None, "h")
    found["into a fork"] = os.read(read, 1000).decode(), await ended("h")
    mine, for_it = messages.pair()
    fd = for_it.fileno()
    await launcher.enter("f", ["tty"], {"PATH": "/usr/bin"}, "/", fd, fd, fd, Terminal(24, 80), "t")
    found["terminal"] = os.read(messages.receive(mine, wait=False).fds[0], 1000).decode(), await ended("t")
    await launcher.run(RunSpec("g", root(), ("sleep", "60"), FIRST_UID, {"PATH": "/usr/bin"}), 0, 2, 2)
    script = "readlink /proc/1/ns/user || cat /proc/1/environ; id -u"
    argv = ["sh", "-c", script + "; [ $(readlink /proc/self/ns/user) = $(readlink /proc/2/ns/user) ] && echo same"]
    await launcher.enter("g", argv, {"PATH": "/usr/bin"}, "/", 0, write, write, None, "i")
    found["into a program"] = await ended("i")
    found["seen"] = os.read(read, 1000).decode()
    await launcher.kill("g")
    await ended("g")
    await launcher.kill("f")
    found["killed"] = await ended("f")
    await launcher.remove_tree(str(state / "node" / "layers" / "built"))
    await launcher.close()
    print(json.dumps(found))

asyncio.run(main())
"""


def _python() -> str | None:
    """An interpreter that an ordinary user may execute, and that is in `/usr`."""
    for path in ("/usr/bin/python3",):
        done = subprocess.run(
            [path, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True, text=True
        )
        if done.stdout.strip() == "True":
            return path
    return None


@pytest.fixture
def place(state: Path) -> Path:
    """A state directory that belongs to the user."""
    os.chown(state, USER, USER)
    return state


def _drive(place: Path, *before: str) -> dict[str, Any]:
    python = _python()
    if python is None:
        pytest.skip("no Python 3.11 in /usr for ordinary users")
    package = str(Path(inrush.__file__).parent.parent)
    user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    command = [*user, python, "-c", _DRIVER, package, str(place), RIG]
    no_network = "{ [ ! -d /dev/net ] || mount -t tmpfs none /dev/net; }"
    script = " && ".join([no_network, *before, 'exec "$@"'])
    command = ["unshare", "-m", "sh", "-c", script, "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@needs_root
@pytest.mark.parametrize("ids", ["a single id", "a range of ids"])
def test_an_ordinary_user_runs_builds_and_forks_containers(place: Path, tmp_path: Path, ids: str) -> None:
    ranges = tmp_path / "subid"
    ranges.write_text(f"{USER}:1000000:65536\n" if ids == "a range of ids" else "")
    found = _drive(place, *(f"mount --bind {ranges} /etc/{name}" for name in ("subuid", "subgid")))
    many = ids == "a range of ids"
    assert found["can"]["rootless"] is True
    assert bool(found["can"]["lost"]) is not many
    assert "nat" in found["can"]["why"]
    text, code = found["program"]
    lines = text.splitlines()
    assert code == 0
    assert lines[:2] == ["0", "box"]
    assert "cannot touch '/usr/x'" in lines[2]
    assert lines[3:7] == ["0" * 16, "0" * 16, "1", "2"]
    text, code = found["build"]
    assert ("chown" in text) is not many
    assert found["layer"] == ["opt", "var"]
    text, code = found["above"]
    assert text.startswith("x\n")
    assert "var" not in text
    assert found["fork"] == "('hook', 2)"
    assert found["into a fork"] == ["hook", 0]
    assert found["terminal"] == ["/dev/pts/0\r\n", 0]
    assert found["seen"].endswith("0\nsame\n"), found["seen"]
    assert "Permission denied" in found["seen"]
    assert found["killed"] == 137
    assert "no network" in found["why"]
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if str(place) in line]


@needs_root
def test_where_user_namespaces_are_forbidden_it_is_said(state: Path) -> None:
    python = _python()
    if python is None:
        pytest.skip("no Python 3.11 in /usr for ordinary users")
    command = ["unshare", "-U", "-r", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]
    package = str(Path(inrush.__file__).parent.parent)
    code = f"""
import asyncio, sys
sys.path.insert(0, {package!r})
from pathlib import Path
from inrush.launcher.client import LaunchError, Launcher
from inrush.launcher.boot import start_launcher
async def main():
    launcher = Launcher(start_launcher(Path({str(state)!r}), rootless=True), print)
    try:
        await launcher.connect()
    except LaunchError as error:
        print(error)
asyncio.run(main())
"""
    done = subprocess.run([*command, sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "doctor" in done.stdout, done.stderr
    assert "max_user_namespaces" in done.stdout
