"""The rights of the server's process when root has started it: none over root's files, and none outside its home.

A process takes the same steps as the server, in a home below a directory that only root may enter, and then tries.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import inrush
from inrush.launcher.home import FIRST_STORE_UID, settle
from inrush.linux import landlock
from launcher.launched import needs_root
from running_server import RunningServer

pytestmark = needs_root

_TRY = """
import ctypes, json, os, socket, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from inrush.launcher.home import settle
from inrush.launcher.rights import drop_privileges
home, outside, neighbour = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
uid = settle(home)
drop_privileges(home, uid, [sys.argv[1], sys.base_prefix])
def tried(act):
    try:
        act()
        return True
    except OSError:
        return False
def read(path):
    open(path, "rb").read(1) if os.path.isfile(path) else os.listdir(path)
def write(path):
    open(path + "/inrush-test-new", "x").close()
def fill(name):
    (home / name).write_text("x")
def change(name):
    os.listdir(home / name) if name == "launcher" else open(home / name, "r+")
libc = ctypes.CDLL(None, use_errno=True)
def called(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
found = {
    "ids": [*os.getresuid(), *os.getresgid(), *os.getgroups()],
    "status": {n: v.strip() for n, v in (line.split(":", 1) for line in open("/proc/self/status"))},
    "reads": [path for path in sys.argv[5].split(":") if tried(lambda: read(path))],
    "writes": [path for path in sys.argv[6].split(":") if tried(lambda: write(path))],
    "shows": sorted(os.listdir(home.parent)),
    "writes home": tried(lambda: fill("new")) and tried(lambda: fill("run/new")),
    "imports": tried(lambda: __import__("sqlite3")),
    "mine": sorted(os.listdir(home)),
    "moves": [name for name in ("launcher", "config.toml") if tried(lambda: os.rename(home / name, home / "gone"))],
    "opens": [name for name in ("launcher", "config.toml") if tried(lambda: change(name))],
    "becomes": [n for n in (0, 1000) if tried(lambda: os.setresuid(n, n, n))],
    "chowns": tried(lambda: os.chown(home / "new", 0, 0)),
    "mounts": tried(lambda: called(libc.mount(b"none", str(home).encode(), b"tmpfs", 0, None))),
    "roots": tried(lambda: os.chroot(home)),
    "kills": tried(lambda: os.kill(neighbour, 0)),
    "traces": tried(lambda: called(libc.ptrace(16, neighbour, 0, 0))),
    "raw": tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    "port": tried(lambda: socket.create_server(("127.0.0.1", 1))),
    "dumpable": libc.prctl(3, 0, 0, 0, 0),
    "sudo": os.popen("grep CapEff /proc/self/status; id -u").read().split(),
}
print(json.dumps(found))
"""


_PROGRAM = """
import inrush
app = inrush.App()
@app.function()
def f():
    return 1
@app.local_entrypoint()
def main():
    print(f.remote())
"""


@pytest.fixture
def private() -> Iterator[Path]:
    """A directory that only root may enter, as root's home is."""
    path = Path(tempfile.mkdtemp(prefix="ir-private-"))
    (path / "secret").write_text("root's")
    yield path
    shutil.rmtree(path)


def dropped(private: Path, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """What a process found to be possible that was started by root and dropped its rights; and its home."""
    home = private / "home"
    (home / "launcher").mkdir(parents=True, mode=0o700)
    (home / "config.toml").write_text("port = 0\n")
    (home / "config.toml").chmod(0o600)
    secret = tmp_path / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    tmp_path.chmod(0o755)
    private_files = [
        "/etc/shadow",
        *(str(path) for path in Path("/root").iterdir() if path.is_file()),
        str(secret),
        str(private / "secret"),
        "/proc/1/environ",
        "/proc/1/root/etc",
    ]
    open_to_all = ["/tmp", "/var/tmp", "/dev/shm", "/", "/etc", "/usr", "/run", str(private)]
    package = str(Path(inrush.__file__).parent.parent)
    neighbour = subprocess.Popen(["sleep", "600"])
    try:
        command = [sys.executable, "-S", "-c", _TRY, package, str(home), str(tmp_path), str(neighbour.pid)]
        done = subprocess.run(
            [*command, ":".join(private_files), ":".join(open_to_all)], capture_output=True, text=True, timeout=60
        )
    finally:
        neighbour.kill()
        neighbour.wait()
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found, home


def test_a_server_started_by_root_is_a_user_that_nobody_else_is_and_reaches_only_its_home(
    private: Path, tmp_path: Path
) -> None:
    found, home = dropped(private, tmp_path)
    uid = home.stat().st_gid
    assert uid >= FIRST_STORE_UID
    assert set(found["ids"]) == {uid}
    assert {found["status"][f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert found["status"]["NoNewPrivs"] == "1"
    assert found["status"]["Groups"] == ""
    assert found["reads"] == []
    assert found["writes"] == [], "it is confined by Landlock and by its user id"
    assert found["shows"] == ["home"], "of a directory that only root may enter it sees what it needs"
    assert found["writes home"]
    assert found["imports"]
    assert {"config.toml", "launcher", "new", "node", "run", "tmp"} <= set(found["mine"])
    for what in ("moves", "opens", "becomes"):
        assert found[what] == [], what
    for what in ("chowns", "mounts", "roots", "kills", "traces", "raw"):
        assert found[what] is False, what
    assert found["dumpable"] == 0
    assert found["sudo"] == ["CapEff:", "0" * 16, str(uid)]


@pytest.mark.skipif(landlock.version() < 2, reason="needs Landlock 2")
def test_what_all_may_write_it_may_not(private: Path, tmp_path: Path) -> None:
    found, _ = dropped(private, tmp_path)
    assert not [path for path in found["writes"] if path in ("/tmp", "/var/tmp", "/dev/shm")]


def test_the_running_server_and_nobody_but_the_launcher_has_rights(own_server: RunningServer) -> None:
    own_server.start()
    uid = own_server.home.stat().st_gid
    status = dict(line.split(":\t", 1) for line in _lines(f"/proc/{own_server.pid}/status") if ":\t" in line)
    assert status["Uid"].split() == status["Gid"].split() == [str(uid)] * 4
    assert status["Groups"].strip() == ""
    assert int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
    for file in own_server.home.rglob("*"):
        if file.name not in ("launcher", "test.log", "lock") and "launcher" not in file.parts:
            assert file.lstat().st_uid == uid, file
    assert own_server.run(_PROGRAM).stdout == "1\n"
    assert own_server.inrush("server", "stop", "-y").returncode == 0
    assert own_server.process is not None
    assert own_server.process.wait(60) == 0
    own_server.start()
    assert own_server.home.stat().st_gid == uid, "the same user after a restart"


def test_nothing_that_an_earlier_server_left_behind_runs_on(own_server: RunningServer) -> None:
    uid = settle(own_server.home)
    left = subprocess.Popen(["sleep", "600"], user=uid, group=uid, extra_groups=[])
    own_server.start()
    assert left.wait(60) == -signal.SIGKILL


def test_a_home_from_before_is_given_to_the_server_and_nothing_that_is_linked_from_it(
    private: Path, tmp_path: Path
) -> None:
    home, victim = private / "home", tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("root's")
    (victim / "file").chmod(0o600)
    layer = home / "node" / "layers" / "l"
    (layer / "etc").mkdir(parents=True)
    (layer / "etc" / "mail").touch()
    os.chown(layer / "etc" / "mail", 8, 12)
    (layer / "etc" / "mail").chmod(0o2755)
    (layer / "out").symlink_to(victim)
    (home / "run").symlink_to(victim)
    (home / "token").symlink_to(victim / "file")
    os.link(victim / "file", home / "store.db")
    (home / "key").write_text("key")
    (home / "mine.txt").write_text("not the server's")
    (home / "node" / "mark").write_text("an earlier launcher's")
    uid = settle(home)
    assert (home.stat().st_uid, home.stat().st_gid, home.stat().st_mode & 0o7777) == (0, uid, 0o1770)
    info = (layer / "etc" / "mail").stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (uid + 8, uid + 12, 0o2755)
    assert layer.stat().st_uid == (layer / "out").lstat().st_uid == (home / "key").stat().st_uid == uid
    assert not (home / "node" / "mark").exists()
    assert (home / "mine.txt").stat().st_uid == 0
    for path in (victim, victim / "file"):
        assert (path.stat().st_uid, path.stat().st_gid) == (0, 0), path
    assert settle(home) == uid
    assert (layer / "etc" / "mail").stat().st_uid == uid + 8


def test_a_home_of_somebody_else_is_refused(private: Path) -> None:
    os.chown(private, 1234, 1234)
    with pytest.raises(PermissionError, match="belongs to user 1234"):
        settle(private)
    assert private.stat().st_uid == 1234


@pytest.mark.parametrize("planted", ["run/lock", "run/starting", "server.log", "run"])
def test_links_that_the_server_has_left_do_not_lead_roots_commands(
    own_server: RunningServer, tmp_path: Path, planted: str
) -> None:
    """Root's command line opens files in a home in which a user without rights writes."""
    own_server.start()
    own_server.stop()
    victim = tmp_path / "victim"
    victim.write_text("root's\n")
    path = own_server.home / planted
    target: Path = victim
    if path.is_dir():
        shutil.rmtree(path)
        target = tmp_path
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(target)
    program = own_server.write("import inrush\napp = inrush.App()\n@app.local_entrypoint()\ndef main(): pass\n")
    command = [sys.executable, "-m", "inrush", "run", str(program)]
    done = subprocess.run(command, env=own_server.env, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert victim.read_text() == "root's\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["victim"]
    own_server.pid = 0


def test_a_link_in_place_of_the_settings_does_not_lead_roots_command(home: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("")
    home.mkdir(exist_ok=True)
    (home / "config.toml").symlink_to(victim)
    command = [sys.executable, "-m", "inrush", "config", "set-environment", "prod"]
    done = subprocess.run(
        command, env={**os.environ, "INRUSH_HOME": str(home)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert victim.read_text() == ""


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
