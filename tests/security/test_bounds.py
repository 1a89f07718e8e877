"""Bounds over all containers together: many that stay within their own limits cannot take the machine."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deadline import DEADLINE_S
from inrush.launcher.boot import Given, start_launcher
from inrush.launcher.client import Launcher
from inrush.launcher.machine import tag_of
from inrush.launcher.specs import Limits
from launcher.launched import GIVEN, PYTHON, Node, make_layer, needs_root, traces
from running_server import RunningServer, poll

pytestmark = needs_root

MEMORY_MIB, PROCESSES = 400, 300
CONTAINERS = 6

_BOMB = """
import os, time
while True:
    try:
        if os.fork() == 0:
            time.sleep(600)
    except OSError:
        time.sleep(0.01)
"""

_HOG = """
import time
held = []
for _ in range(200):
    held.append(b"x" * (1 << 20))
print("full", flush=True)
time.sleep(600)
"""

_SPIN = "while True: pass"


@pytest.fixture
async def small(state: Path) -> AsyncIterator[Node]:
    """A launcher whose containers may have a little of the machine."""
    memory_mib = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    most = min(int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max"))
    given = Given(GIVEN.declared, memory_mib - MEMORY_MIB, reserve_processes=most - PROCESSES)
    handle = start_launcher(state, given)
    node = Node(state, handle, Launcher(handle, lambda exited: node.on_exit(exited)))
    make_layer(node.layer)
    await node.launcher.connect()
    yield node
    await node.launcher.close()
    assert traces(state) == []


def bound_of(node: Node, *files: str) -> int:
    """A number of the group around all containers, in whichever layout the machine has."""
    tag, groups = f"inrush-{tag_of(node.state)}", Path("/sys/fs/cgroup")
    shallow = [f"{above}{tag}/{name}" for above in ("", "*/", "*/*/") for name in files]  # below, groups come and go
    found = [path for pattern in shallow for path in groups.glob(pattern)]
    return int(found[0].read_text())


async def begin(node: Node, code: str, count: int) -> tuple[list[str], int]:
    """As many containers of a piece of Python, and the end of the pipe that they write to."""
    read, write = os.pipe()
    ids = [
        await node.start(PYTHON, "-I", "-c", code, output=write, limits=Limits(memory_mib=300), network="none")
        for _ in range(count)
    ]
    os.close(write)
    return ids, read


async def end(node: Node, ids: list[str], read: int) -> None:
    for id in ids:
        await node.launcher.kill(id)
    for id in ids:
        await node.ended(id)
    os.close(read)


async def test_bombs_in_many_containers_leave_processes_for_the_machine(small: Node) -> None:
    ids, read = await begin(small, _BOMB, CONTAINERS)
    deadline = time.monotonic() + DEADLINE_S
    while bound_of(small, "pids.current") < PROCESSES:
        assert time.monotonic() < deadline, "the bombs did not reach their bound"
        await asyncio.sleep(0.02)
    assert bound_of(small, "pids.max") == PROCESSES
    began = time.monotonic()
    await small.launcher.probe()
    assert time.monotonic() - began < 2, "the launcher does not answer"
    assert await (await asyncio.create_subprocess_exec("/bin/true")).wait() == 0
    await end(small, ids, read)
    assert (await small.run("true"))[0].code == 0


async def test_hogs_in_many_containers_leave_memory_for_the_machine(small: Node) -> None:
    ids, read = await begin(small, _HOG, CONTAINERS)
    deaths = [asyncio.ensure_future(small.ended(id)) for id in ids]
    done, _ = await asyncio.wait(deaths, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_S)
    assert done, "1,200 MiB were taken where there are 400"
    assert all(death.result().signal for death in done)
    assert bound_of(small, "memory.max_usage_in_bytes", "memory.peak") <= MEMORY_MIB << 20
    await small.launcher.probe()
    await end(small, ids, read)
    await asyncio.gather(*deaths)
    assert (await small.run("true"))[0].code == 0


_APP = f"""
import inrush
app = inrush.App("bombs")

@app.function(max_containers={CONTAINERS}, retries=0, timeout=120)
def bomb(n):
    exec({_BOMB!r})

@app.function(max_containers={CONTAINERS}, retries=0, timeout=120, memory=256)
def hog(n):
    exec({_HOG!r})

@app.function(max_containers={CONTAINERS}, retries=0, timeout=120)
def spin(n):
    exec({_SPIN!r})

@app.local_entrypoint()
def main(kind):
    list(app.registered_functions[kind].map(range({CONTAINERS}), return_exceptions=True))
"""


@pytest.mark.parametrize("kind", ["bomb", "hog", "spin"])
def test_a_server_answers_while_all_its_containers_misbehave(own_server: RunningServer, kind: str) -> None:
    memory_mib = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    most = min(int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max"))
    own_server.env["INRUSH_RESERVE_MEMORY_MIB"] = str(memory_mib - 700)
    own_server.env["INRUSH_RESERVE_PROCESSES"] = str(most - PROCESSES)
    own_server.start()
    program = own_server.begin(_APP, "--kind", kind)
    try:
        deadline = time.monotonic() + 60
        while len(own_server.containers()) < 2:
            assert time.monotonic() < deadline
            assert program.poll() is None, program.communicate()[0]
        slowest_s = 0.0
        for _ in range(5):
            began = time.monotonic()
            assert own_server.inrush("server", "status").returncode == 0
            slowest_s = max(slowest_s, time.monotonic() - began)
        assert slowest_s < 15, "a command takes a second to begin, and should find an answer soon then"
    finally:
        program.kill()
        program.wait()
    poll(lambda: not own_server.containers(), 60)
    assert own_server.run(_AFTER).stdout == "1\n"


_AFTER = """
import inrush
app = inrush.App("after")
@app.function()
def f():
    return 1
@app.local_entrypoint()
def main():
    print(f.remote())
"""
