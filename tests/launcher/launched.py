"""A real launcher in a state directory of its own, with a small root made of the node's `/usr` and Python."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import inrush
from deadline import DEADLINE_S
from inrush.launcher.boot import Given, LauncherHandle, start_launcher
from inrush.launcher.client import Launcher
from inrush.launcher.machine import tag_of
from inrush.launcher.places import Declared
from inrush.launcher.specs import (
    FIRST_UID,
    GUEST_LIB,
    UID_RANGE,
    Bind,
    Exited,
    ForkSpec,
    RootSpec,
    RunSpec,
    Started,
    TemplateSpec,
    TemplateUp,
)

PYTHON = "/opt/inrush/python/bin/python3"
UID_BASE = FIRST_UID + 15_000 * UID_RANGE
"""First uid of the tests' app: far from any that something else on the machine uses."""

RIG = """
import os, socket, sys, time

def template(boot):
    exec(boot.get("before", ""), globals())
    return {"boot": boot}, {"ok": True}

class guest:
    def __init__(self, state):
        self.state = state

    def live(self, sock):
        while True:
            asked = sock.recv(1 << 16)
            if not asked:
                return 0
            try:
                answer = repr(eval(asked.decode(), {**globals(), "state": self.state, "sock": sock}))
            except Exception as error:
                answer = f"{type(error).__name__}: {error}"
            sock.sendall(answer.encode() or b"-")
"""
"""The template of these tests: its children evaluate what they are sent."""

PACKAGE = str(Path(inrush.__file__).parent.parent)
GIVEN = Given(Declared(("/usr", PACKAGE, sys.base_prefix), ("/dev/fuse",)))
"""What these tests' launchers are told may be shown in containers."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@dataclass
class Forked:
    """A container of the rig, and the way to ask it."""

    id: str
    started: Started
    sock: socket.socket

    async def ask(self, expression: str) -> str:
        """The repr of what an expression is worth inside."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.sock, expression.encode())
        async with asyncio.timeout(DEADLINE_S):
            return (await loop.sock_recv(self.sock, 1 << 20)).decode()


@dataclass
class Node:
    """A launcher, attached, and short ways to use it."""

    state: Path
    handle: LauncherHandle
    launcher: Launcher
    can: dict[str, Any] = field(default_factory=dict)
    exits: dict[str, asyncio.Future[Exited]] = field(default_factory=dict)
    numbers: int = 0

    @property
    def layer(self) -> Path:
        return self.state / "node" / "layers" / "base"

    def name(self) -> str:
        self.numbers += 1
        return f"co-{self.numbers}"

    def on_exit(self, exited: Exited) -> None:
        self.exit_of(exited.id).set_result(exited)

    def exit_of(self, id: str) -> asyncio.Future[Exited]:
        return self.exits.setdefault(id, asyncio.get_running_loop().create_future())

    async def ended(self, id: str) -> Exited:
        async with asyncio.timeout(DEADLINE_S):
            return await self.exit_of(id)

    def root(self, *layers: str, **options: Any) -> RootSpec:
        binds = (Bind("/usr", "/usr"), Bind(PACKAGE, GUEST_LIB), Bind(sys.base_prefix, "/opt/inrush/python"))
        return RootSpec((*layers, str(self.layer)), (*binds, *options.pop("binds", ())), **options)

    async def start(self, *argv: str, output: int, stdin: int | None = None, **options: Any) -> str:
        """Start a program; its id. What it writes goes to the descriptor `output`."""
        id = options.pop("id", None) or self.name()
        options.setdefault("env", {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin"})
        options.setdefault("root", self.root())
        spec = RunSpec(id, argv=argv, uid_base=options.pop("uid_base", UID_BASE), **options)
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            await self.launcher.run(spec, null if stdin is None else stdin, output, output)
        finally:
            os.close(null)
        return id

    async def run(self, *argv: str, **options: Any) -> tuple[Exited, str]:
        """Run a program to its end; how it ended, and all it wrote."""
        read, write = os.pipe()
        try:
            id = await self.start(*argv, output=write, **options)
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        text = await asyncio.to_thread(_read_all, read)
        return await self.ended(id), text

    async def python(self, code: str, **options: Any) -> tuple[Exited, str]:
        """The same for Python code."""
        return await self.run(PYTHON, "-I", "-c", code, **options)

    def template_spec(self, key: str, **options: Any) -> TemplateSpec:
        options.setdefault("root", self.root())
        options.setdefault("uid_base", UID_BASE)
        options.setdefault("entry", "rig")
        options.setdefault("env", {"LD_LIBRARY_PATH": "/opt/inrush/python/lib"})
        return TemplateSpec(key, python=PYTHON, sys_path=("/root",), **options)

    async def template(self, key: str, **options: Any) -> TemplateUp:
        return await self.launcher.open_template(self.template_spec(key, **options), 2, 2)

    async def fork(self, template: str, **options: Any) -> Forked:
        id = options.pop("id", None) or self.name()
        options.setdefault("root", self.root())
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                started = await self.launcher.fork(ForkSpec(id, template, **options), theirs.fileno(), 2, 2)
        except BaseException:
            ours.close()
            raise
        return Forked(id, started, ours)


async def start_node(state: Path) -> Node:
    """A launcher in a state directory, as the environment is now."""
    handle = start_launcher(state, GIVEN)
    node = Node(state, handle, Launcher(handle, lambda exited: node.on_exit(exited)))
    if not node.layer.exists():
        make_layer(node.layer)
    node.can = await node.launcher.connect()
    return node


def _read_all(fd: int) -> str:
    with os.fdopen(fd, "rb") as file:
        return file.read().decode(errors="replace")


def make_layer(path: Path) -> None:
    """Directories and links of a root whose `/usr` is bound in, and the rig."""
    path.mkdir(parents=True)
    for name in ("usr", "etc", "root", "var", "tmp", "opt", "proc", "sys", "dev"):
        (path / name).mkdir()
    for name in ("bin", "lib", "lib64", "sbin"):
        (path / name).symlink_to(f"usr/{name}")
    (path / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    (path / "root" / "rig.py").write_text(RIG)


def traces(state: Path) -> list[str]:
    """What a launcher has left on the machine: groups, links, tables, mounts."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(state) in line]
    return [*tagged(tag_of(state)), *mounts]


def tagged(tag: str) -> list[str]:
    """Groups, links and tables of a launcher whose home need not be there any more."""
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/inrush-{tag}")]
    links = [name for _, name in socket.if_nameindex() if name.startswith(f"inrush{tag}")]
    tables = os.popen("nft list tables").read().split("\n") if shutil.which("nft") else []
    return [*groups, *links, *(table for table in tables if tag in table)]


_OUTSIDE_LOCK = Path("/run/inrush-tests-outside.lock")
HOST, OUTSIDE, PORT = "198.18.77.1", "198.18.77.2", 7777

_LISTENER = f"""
import os, socket, subprocess, sys
print("made", flush=True); sys.stdin.readline()
for words in ("link set lo up", "link set outside up", "addr add {OUTSIDE}/24 dev outside"):
    subprocess.run(["ip", *words.split()], check=True)
server = socket.create_server(("{OUTSIDE}", {PORT}))
print("up", flush=True)
while True:
    client, address = server.accept()
    client.sendall(address[0].encode())
    client.close()
"""


@contextlib.contextmanager
def outside_machine() -> Iterator[None]:
    """A machine one hop away, which knows no way back to containers: it tells callers the address they came from.

    Its addresses are always the same, so one test has it at a time, whichever worker runs that.
    """
    with _OUTSIDE_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _outside_machine():
            yield


@contextlib.contextmanager
def _outside_machine() -> Iterator[None]:
    link = f"irt{os.getpid() % 100000}"
    process = subprocess.Popen(
        ["unshare", "-n", sys.executable, "-c", _LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "made\n"
        add = f"link add {link} type veth peer name outside netns {process.pid}"
        for words in (add, f"addr add {HOST}/24 dev {link}", f"link set {link} up"):
            subprocess.run(["ip", *words.split()], check=True)
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "up\n"
        yield
    finally:
        subprocess.run(
            ["ip", "link", "del", link], capture_output=True
        )  # the kernel takes its time with a dead namespace
        process.kill()
        process.wait()
