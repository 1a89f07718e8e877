"""The network of an ordinary user's launcher: pasta or slirp4netns carries it, and the walls are root's.

Each test makes a small node: a network namespace with a machine outside, a bridge as Docker has one, and a user.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import inrush
from launcher.launched import HOST, OUTSIDE, PORT, needs_root
from launcher.test_rootless import USER, _python

pytestmark = [needs_root, pytest.mark.xdist_group("outside")]

BRIDGE, LATER = "172.31.7.1", "172.31.8.1"
METADATA = "169.254.169.254"

_NODE = """
import json, os, socket, subprocess, sys, threading
user, command = int(sys.argv[1]), sys.argv[3:]
sys.path[:0] = json.loads(sys.argv[2])
from launcher.launched import OUTSIDE, outside_machine

def ip(words):
    subprocess.run(["ip", *words.split()], check=True)

def serve(listener):
    while True:
        client, _ = listener.accept()
        client.sendall(b"reached")
        client.close()

ip("link set lo up")
with outside_machine():
    ip(f"route add default via {OUTSIDE}")
    ip("link add docker7 type bridge")
    ip("address add 172.31.7.1/24 dev docker7")
    ip("link set docker7 up")
    listener = socket.create_server(("0.0.0.0", 7778))
    threading.Thread(target=serve, args=[listener], daemon=True).start()
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    process = subprocess.Popen([*become, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")
    for line in process.stdout:
        if line == "address\\n":
            ip("address add 172.31.8.1/24 dev docker7")
            process.stdin.write("added\\n")
            process.stdin.flush()
        else:
            print(line, end="", flush=True)
    sys.exit(process.wait())
"""

_DRIVER = """
import asyncio, json, os, signal, sys, time
from pathlib import Path
package, state, targets, later, ended = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), *sys.argv[4:]
sys.path.insert(0, package)
from inrush.launcher.client import Launcher
from inrush.launcher.places import Declared
from inrush.launcher.boot import Given, start_launcher
from inrush.launcher.specs import *

if ended == "program":  # what the launcher says is looked for
    os.dup2(os.open(state / "errors", os.O_CREAT | os.O_WRONLY, 0o600), 2)
handle = start_launcher(state, Given(Declared(("/usr", package)), blocked=("169.254.0.0/16",)))
layer = state / "node" / "layers" / "base"
for name in ("usr", "etc", "root", "var", "tmp", "opt", "proc", "sys", "dev"):
    (layer / name).mkdir(parents=True)
for name in ("bin", "lib", "lib64", "sbin"):
    (layer / name).symlink_to(f"usr/{name}")
REACH = '''
import json, socket, sys
found = {}
for address, port in json.loads(sys.argv[1]):
    try:
        with socket.create_connection((address, port), 3) as connection:
            found[f"{address}:{port}"] = connection.recv(100).decode()
    except OSError as error:
        found[f"{address}:{port}"] = type(error).__name__
print(json.dumps(found))
'''
exits = {}

async def reach(name, targets, **more):
    read, write = os.pipe()
    argv = ("/usr/bin/python3", "-I", "-c", REACH, json.dumps(targets))
    binds = (Bind("/usr", "/usr"), Bind(package, GUEST_LIB))
    spec = RunSpec(name, argv=argv, uid_base=FIRST_UID, root=RootSpec((str(layer),), binds, **more), env={})
    started = await launcher.run(spec, 0, write, write)
    os.close(write)
    text = await asyncio.to_thread(lambda: os.fdopen(read).read())
    async with asyncio.timeout(60):
        await exits.setdefault(name, asyncio.get_running_loop().create_future())
    return json.loads(text), started.why

def on_exit(exited):
    exits.setdefault(exited.id, asyncio.get_running_loop().create_future()).set_result(exited)

def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

def family(pid):
    return {pid, *(each for child in children(pid) for each in family(child))}

def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

async def main():
    global launcher
    launcher = Launcher(handle, on_exit)
    found = {"can": await launcher.connect()}
    found["reached"], found["why"] = await reach("a", targets)
    found["second"], _ = await reach("b", targets[:1])
    if found["why"] == "":
        print("address", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        tries = 0
        deadline = time.monotonic() + 20  # the launcher hears of it in its own time
        while time.monotonic() < deadline and "reached" in (await reach(f"later-{tries}", [[later, 7778]]))[0].values():
            tries += 1
        found["later"] = time.monotonic() < deadline
    all_of_them = family(handle.pid)
    found["names"] = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in all_of_them]
    if ended == "program":
        for pid in all_of_them:
            if Path(f"/proc/{pid}/comm").read_text().startswith(("pasta", "passt", "slirp4netns")):
                os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while "\\n" not in (said := (state / "errors").read_text()):
                await asyncio.sleep(0.01)
        found["said"] = said
        found["cut off"], _ = await reach("cut-off", targets[:1])
    launcher_pid = children(handle.pid)[0]
    os.kill(launcher_pid, signal.SIGKILL)
    os.waitpid(handle.pid, 0)
    async with asyncio.timeout(20):
        while any(runs(pid) for pid in all_of_them):
            await asyncio.sleep(0.01)
    print(json.dumps(found), flush=True)
    os._exit(0)

asyncio.run(main())
"""


def _drive(
    state: Path,
    hidden: tuple[str, ...] = (),
    tun: str = "mknod -m 666 /dev/net/tun c 10 200",
    ended: str = "launcher",
) -> dict[str, Any]:
    python = _python()
    if python is None:
        pytest.skip("no Python 3.11 in /usr for ordinary users")
    state.chmod(0o700)
    subprocess.run(["chown", f"{USER}:{USER}", state], check=True)
    (ids := state.parent / f"{state.name}-ids").write_text(f"{USER}:1000000:65536\n")
    before = [
        *(f"mount --bind {ids} /etc/{name}" for name in ("subuid", "subgid")),
        "mount -t tmpfs none /dev/net",
        tun,
        'exec "$@"',
    ]
    targets = [[OUTSIDE, PORT], [HOST, 7778], [BRIDGE, 7778], ["127.0.0.1", 7778], [METADATA, 80], ["10.0.2.2", 7778]]
    programs = state.parent / f"{state.name}-programs"
    programs.mkdir()
    for name in {"newuidmap", "newgidmap", "nft", "pasta", "slirp4netns"} - set(hidden):
        (programs / name).symlink_to(shutil.which(name) or f"/nowhere/{name}")
    driver = [
        "env",
        f"PATH={programs}",
        python,
        "-c",
        _DRIVER,
        str(Path(inrush.__file__).parent.parent),
        str(state),
        json.dumps(targets),
        LATER,
        ended,
    ]
    node = [sys.executable, "-c", _NODE, str(USER), json.dumps(sys.path), *driver]
    command = ["unshare", "-n", "-m", "sh", "-e", "-c", "\n".join(before), "sh", *node]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    finally:
        ids.unlink()
        shutil.rmtree(programs)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("program", ["pasta", "slirp4netns"])
def test_an_ordinary_users_containers_reach_the_outside_and_nothing_of_the_node(state: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    found = _drive(state, hidden=("pasta",) if program == "slirp4netns" else ())
    assert found["can"]["features"]["nat"], found["can"]["why"]
    assert found["why"] == ""
    assert found["reached"].pop(f"{OUTSIDE}:{PORT}") == HOST, "seen from outside it is the node that connects"
    assert found["second"] == {f"{OUTSIDE}:{PORT}": HOST}
    assert set(found["reached"].values()) <= {"ConnectionRefusedError", "OSError", "TimeoutError"}, found["reached"]
    assert found["later"], "an address that the node got later is reached"
    named = {"pasta": ("pasta", "passt"), "slirp4netns": ("slirp4netns",)}[program]  # pasta is a name of passt's
    assert [name for name in found["names"] if name.startswith(named)], found["names"]
    assert len(found["names"]) <= 6, found["names"]


def test_that_the_program_has_ended_is_said_and_containers_go_on_without(state: Path) -> None:
    if shutil.which("pasta") is None:
        pytest.skip("pasta is not installed")
    found = _drive(state, ended="program")
    assert found["cut off"][f"{OUTSIDE}:{PORT}"] in ("TimeoutError", "OSError")
    assert "containers have no network any more: pasta has ended" in found["said"]


@pytest.mark.parametrize(
    ("hidden", "tun", "words"),
    [(("pasta", "slirp4netns"), "true", "packages passt, slirp4netns"), ((), "true", "chmod 666 /dev/net/tun")],
)
def test_what_the_network_lacks_is_said_and_containers_run_without(
    state: Path, hidden: tuple[str, ...], tun: str, words: str
) -> None:
    found = _drive(state, hidden, tun)
    assert words in found["can"]["why"]["nat"]
    assert words in found["why"]
    assert set(found["reached"].values()) <= {"OSError", "ConnectionRefusedError"}
