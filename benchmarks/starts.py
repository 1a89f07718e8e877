"""How long a container takes to start, and in which of its phases: `python benchmarks/starts.py [ROUNDS]`, as root
for all of it.

Everything is on: every namespace, own root, control groups, network with NAT, no capabilities, seccomp, verified
from outside. A start is measured from the request to the first byte that the guest's code sends.

`compared(rounds)` has the starts of a real guest beside that of a bare Python, taken by turns, as milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import msgspec
from inrush.launcher.boot import start_launcher

from inrush import frames
from inrush.agent.containers.environment import DEPS
from inrush.agent.templates.starts import EXECUTED
from inrush.launcher.client import Launcher
from inrush.launcher.specs import GUEST_LIB, Bind, ForkSpec, RootSpec, RunSpec
from launcher.launched import GIVEN, PYTHON, UID_BASE, Node, make_layer

HELLO = """
def template(boot):
    return None, {}

class guest:
    def __init__(self, state):
        pass

    def live(self, sock):
        sock.sendall(b"up")
        return len(sock.recv(1))
"""


async def fork_once(node: Node, template: str, network: str) -> dict[str, float]:
    """One fork, to its end; milliseconds by phase."""
    loop, id = asyncio.get_running_loop(), node.name()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    began = time.monotonic()
    with theirs:
        started = await node.launcher.fork(ForkSpec(id, template, node.root(), network=network), theirs.fileno(), 2, 2)
    verified = time.monotonic()
    await loop.sock_recv(ours, 10)
    user = time.monotonic()
    ours.close()
    await node.ended(id)
    return {**dict(started.phases), "started": (verified - began) * 1e3, "user": (user - began) * 1e3}


async def run_once(node: Node) -> dict[str, float]:
    """One `true`, to its end."""
    null, id = os.open(os.devnull, os.O_RDWR), node.name()
    began = time.monotonic()
    spec = RunSpec(id, node.root(), ("true",), 1_000_000_000, {"PATH": "/usr/bin:/bin"})
    started = await node.launcher.run(spec, null, null, null)
    running = time.monotonic()
    await node.ended(id)
    os.close(null)
    return {**dict(started.phases), "executing": (running - began) * 1e3, "ended": (time.monotonic() - began) * 1e3}


_LIBRARIES = "/opt/inrush/python/lib"
_LOAD = {"module": "program", "qualname": "f", "max_inputs": 1, "timeout_s": 60}


async def ready(sock: socket.socket, began: float) -> float:
    """Have a guest load its function; milliseconds until it has."""
    loop, parser = asyncio.get_running_loop(), frames.Parser(frames.plain_header)
    await loop.sock_sendall(sock, frames.pack({"t": "load", "spec": _LOAD}))
    while data := await loop.sock_recv(sock, 1 << 16):
        if any(header["t"] == "ready" for header, _ in parser.feed(data)):
            break
    assert data, "the guest ended before it was ready"
    ms = (time.monotonic() - began) * 1e3
    sock.close()
    return ms


def _root(node: Node) -> RootSpec:
    return node.root(binds=(Bind(str(Path(msgspec.__file__).parent.parent), DEPS),))


async def executed(node: Node) -> float:
    """Milliseconds until a guest in an interpreter of its own has loaded its function."""
    began = time.monotonic()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    code = EXECUTED.format(first=[GUEST_LIB], last=[DEPS])
    with theirs:
        spec = RunSpec(node.name(), _root(node), (PYTHON, "-I", "-c", code), UID_BASE, {"LD_LIBRARY_PATH": _LIBRARIES})
        await node.launcher.run(spec, theirs.fileno(), 2, 2)
    ms = await ready(ours, began)
    await node.ended(spec.id)
    return ms


async def forked(node: Node, template: str) -> float:
    """The same, forked."""
    began = time.monotonic()
    guest = await node.fork(template, root=_root(node))
    ms = await ready(guest.sock, began)
    await node.ended(guest.id)
    return ms


async def bare() -> float:
    """A Python that does nothing, isolated from nothing."""
    began = time.monotonic()
    await asyncio.to_thread(subprocess.run, [sys.executable, "-I", "-c", "pass"], check=True)
    return (time.monotonic() - began) * 1e3


async def compared(node: Node, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each way, one after the other in each round."""
    (node.layer / "root" / "program.py").write_text("def f(x):\n    return x\n")
    await node.template("guests", entry="inrush.guest.warm", root=_root(node), sys_path_end=(DEPS,))
    ways = {"bare": bare, "executed": lambda: executed(node), "forked": lambda: forked(node, "guests")}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, start in ways.items():
            times[name].append(await start())
            await asyncio.sleep(0.02)
    return times


async def burst(node: Node, template: str, count: int) -> None:
    """Many at once."""
    began = time.monotonic()
    await asyncio.gather(*(fork_once(node, template, "nat") for _ in range(count)))
    seconds = time.monotonic() - began
    print(f"{f'burst of {count}':24} {count / seconds:8.0f} containers/s, all {seconds * 1e3:.0f} ms")


def show(name: str, rounds: list[dict[str, float]]) -> None:
    """Medians of the phases, and the 95th percentile of the last."""
    medians = {phase: statistics.median(r.get(phase, 0.0) for r in rounds) for phase in rounds[-1]}
    last = sorted(r[list(rounds[-1])[-1]] for r in rounds)
    p95 = last[min(len(last) - 1, int(len(last) * 0.95))]
    print(f"{name:24} " + "  ".join(f"{phase} {ms:.2f}" for phase, ms in medians.items()) + f"  (p95 {p95:.2f})")


async def main(rounds: int) -> None:
    state = Path(tempfile.mkdtemp(prefix="ir-"))
    handle = start_launcher(state, GIVEN)
    node = Node(state, handle, Launcher(handle, lambda exited: node.on_exit(exited)))
    make_layer(node.layer)
    (node.layer / "root" / "hello.py").write_text(HELLO)
    node.can = await node.launcher.connect()
    print({name: has for name, has in node.can["features"].items() if not has} or "all features")
    for key, boot in (("zygote", None), ("snapshot", {})):
        up = await node.template(key, entry="hello", boot=boot)
        print(f"{key} up in {up.ms:.0f} ms")
    await asyncio.sleep(0.5)
    for key, network in (("zygote", "nat"), ("zygote", "none"), ("snapshot", "nat")):
        results: list[dict[str, Any]] = []
        for _ in range(rounds):
            results.append(await fork_once(node, key, network))
            await asyncio.sleep(0.02)
        show(f"{key}, {network}", results)
    runs = []
    for _ in range(rounds):
        runs.append(await run_once(node))
        await asyncio.sleep(0.02)
    show("exec true, nat", runs)
    ways = await compared(node, rounds)
    for name, times in ways.items():
        ratio = statistics.median(each / bare for each, bare in zip(times, ways["bare"], strict=True))
        medians = f"p50 {statistics.median(times):.1f}  best {min(times):.1f}"
        print(f"{f'guest, {name}':24} {medians}  {ratio:.2f} × bare Python")
    await burst(node, "zygote", 50)
    await node.launcher.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
