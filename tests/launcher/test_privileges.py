"""The rights that the server still has after it has dropped its privileges, tried in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import inrush
from inrush.launcher import rights
from inrush.linux import landlock
from launcher.launched import needs_root

_TRY = """
import ctypes, os, sys, threading
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from inrush.launcher.boot import drop_privileges
home, outside = Path(sys.argv[2]), Path(sys.argv[3])
print(drop_privileges(home))
def can(act):
    try:
        act()
        return True
    except OSError:
        return False
def try_all():
    (home / "a").mkdir(exist_ok=True)
    (home / "b").mkdir(exist_ok=True)
    (home / "a" / "file").write_text("x")
    print("inside", can(lambda: os.rename(home / "a" / "file", home / "b" / "file")))
    print("outside", can(lambda: (outside / "new").write_text("x")), can(lambda: os.unlink(outside / "old")))
    print("read", (outside / "old").read_text())
    print("chown", can(lambda: os.chown(home / "b" / "file", 5, 5)))
    print("mount", ctypes.CDLL(None).mount(b"none", str(home).encode(), b"tmpfs", 0, None) == 0)
    file = Path("/tmp/inrush-test-file")
    print("tmp", can(lambda: file.write_text("x")) and can(file.unlink))
    print("null", can(lambda: Path("/dev/null").write_text("x")))
try_all()
thread = threading.Thread(target=try_all); thread.start(); thread.join()
status = [line.split() for line in open("/proc/self/status")]
print([words[1] for words in status if words[0][:3] in ("Cap", "NoN")])
print(os.popen("grep CapEff /proc/self/status").read().split()[1])
"""


@needs_root
def test_the_server_keeps_its_home_and_nothing_else(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", Path("/opt") / f"inrush-test-{tmp_path.name}"
    home.mkdir()
    outside.mkdir()
    (outside / "old").write_text("old")
    try:
        package = str(Path(inrush.__file__).parent.parent)
        command = [sys.executable, "-c", _TRY, package, str(home), str(outside)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finally:
        for path in outside.iterdir():
            path.unlink()
        outside.rmdir()
    assert done.returncode == 0, done.stderr
    said, *rest = done.stdout.splitlines()
    assert "without capabilities" in said
    if landlock.version() < 2:
        assert "not confined" in said
        return
    assert f"only below {home}" in said
    once = ["inside True", "outside False False", "read old", "chown False", "mount False", "tmp False", "null True"]
    assert rest[:14] == once * 2
    assert rest[14] == str(["0" * 16] * 5 + ["1"])
    assert rest[15] == "0" * 16


_FIRST = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from inrush.launcher.boot import Given, start_launcher
from inrush.launcher.rights import go_first
print(go_first())
handle = start_launcher(Path(sys.argv[2]), Given())
later = threading.Thread(target=lambda: print(os.getpriority(os.PRIO_PROCESS, 0)))
later.start()
later.join()
deadline = time.monotonic() + 20
while os.getpriority(os.PRIO_PROCESS, handle.pid) != 0 and time.monotonic() < deadline:
    pass
print(os.getpriority(os.PRIO_PROCESS, handle.pid))
"""


@needs_root
def test_only_the_server_goes_first(tmp_path: Path) -> None:
    package = str(Path(inrush.__file__).parent.parent)
    command = [sys.executable, "-c", _FIRST, package, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
    alone, server, launcher = done.stdout.split()
    assert server == str(rights.PREFERRED), done.stderr
    assert launcher == "0"
    membership = [line.split(":") for line in Path("/proc/self/cgroup").read_text().splitlines()]
    named = {name: path for _, names, path in membership for name in names.split(",")}
    assert alone == str(named.get("cpu", named.get("")) == "/")


@pytest.mark.parametrize(
    ("membership", "alone"),
    [
        ("0::/", True),
        ("0::/system.slice/inrush.service", False),
        ("4:cpu,cpuacct:/\n1:name=systemd:/system.slice/inrush.service\n0::/system.slice/inrush.service", True),
        ("4:cpu,cpuacct:/system.slice/inrush.service\n0::/", False),
    ],
)
def test_a_group_of_its_own_decides_what_the_server_weighs(membership: str, alone: bool) -> None:
    assert rights.is_alone(membership) == alone
