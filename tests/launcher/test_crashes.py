"""When server, launcher or janitor are killed, in any combination, no process, group, link, table or mount is left."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deadline import DEADLINE_S
from inrush.launcher.boot import start_launcher
from inrush.launcher.client import LaunchError
from inrush.launcher.machine import tag_of
from inrush.launcher.sweep import CLAIMS
from launcher.launched import GIVEN, Forked, Node, needs_root, start_node, tagged, traces

pytestmark = needs_root

_SERVER = """
import asyncio, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from launcher.launched import GIVEN, Forked, Node, make_layer
from inrush.launcher.client import Launcher
from inrush.launcher.boot import start_launcher

async def main():
    state = Path(sys.argv[1])
    handle = start_launcher(state, GIVEN)
    node = Node(state, handle, Launcher(handle, lambda exited: None))
    make_layer(node.layer)
    await node.launcher.connect()
    await node.template("t")
    forked = [await node.fork("t") for _ in range(3)]
    await node.start("sh", "-c", "sleep 600 & sleep 600", output=1)
    print("up", *(f.started.pid for f in forked), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def _busy(node: Node) -> list[Forked]:
    """Some of everything; the forks live as long as what is returned."""
    await node.template("t")
    await node.template("s", boot={})
    await node.start("sh", "-c", "sleep 600 & sleep 600", output=1)
    return [await node.fork(template) for template in ("t", "t", "s")]


async def test_after_the_launcher_is_killed_nothing_is_left_and_requests_say_so(
    make_node: Callable[[], Awaitable[Node]],
) -> None:
    node = await make_node()
    forks = await _busy(node)
    family = _family(node.handle.pid)
    assert {forked.started.pid for forked in forks} < family
    os.kill(_launcher_of(node.handle.pid), signal.SIGKILL)
    await _gone(node.state, family)
    with pytest.raises(LaunchError) as caught:
        await node.run("true")
    assert caught.value.code == "gone"
    await node.launcher.close()


async def test_after_the_janitor_is_killed_nothing_is_left(make_node: Callable[[], Awaitable[Node]]) -> None:
    node = await make_node()
    forks = await _busy(node)
    family = _family(node.handle.pid)
    assert {forked.started.pid for forked in forks} < family
    os.kill(node.handle.pid, signal.SIGKILL)
    await _gone(node.state, family)
    await node.launcher.close()


async def test_after_both_are_killed_the_next_start_sweeps(make_node: Callable[[], Awaitable[Node]]) -> None:
    node = await make_node()
    forks = await _busy(node)
    family = _family(node.handle.pid)
    assert {forked.started.pid for forked in forks} < family
    await _kill_both(node)
    await _until(lambda: not _alive(family))
    again = await make_node()
    assert (await again.run("true"))[0].code == 0
    await again.launcher.close()
    assert traces(node.state) == []


@pytest.mark.parametrize("without_links", [False, True])
async def test_what_a_killed_launcher_of_a_deleted_home_left_is_swept_by_any_other_and_no_living_ones(
    node: Node, without_links: bool
) -> None:
    living = await _busy(node)
    before = traces(node.state)
    dead = await start_node(node.state.with_name(f"{node.state.name}.dead"))
    forks = await _busy(dead)
    family = _family(dead.handle.pid)
    assert {forked.started.pid for forked in forks} < family
    tag = tag_of(dead.state)
    await _kill_both(dead)
    if without_links:
        subprocess.run(["ip", "link", "delete", f"inrush{tag}"], capture_output=True)
    await _until(lambda: not _alive(family))
    shutil.rmtree(dead.state)
    other = await start_node(node.state.with_name(f"{node.state.name}.other"))
    await _until(lambda: not tagged(tag) and not (CLAIMS / tag).exists(), lambda: str(tagged(tag)))
    assert set(before) <= set(traces(node.state)), "the living one makes more ahead, and loses nothing"
    assert await living[0].ask("1 + 1") == "2"
    assert (await node.run("true"))[0].code == 0
    await other.launcher.close()
    shutil.rmtree(other.state)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
async def test_after_the_server_is_killed_nothing_is_left(state: Path, signum: int) -> None:
    paths = sys.path
    server = subprocess.Popen([sys.executable, "-c", _SERVER, str(state), *paths], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = await asyncio.to_thread(server.stdout.readline)
    assert line.startswith("up "), line
    family = _family(server.pid)
    assert {int(word) for word in line.split()[1:]} <= family
    server.send_signal(signum)
    await asyncio.to_thread(server.wait)
    await _gone(state, family)


async def test_an_interrupt_at_the_terminal_does_not_reach_the_launcher(node: Node) -> None:
    for pid in (node.handle.pid, _launcher_of(node.handle.pid)):
        os.kill(pid, signal.SIGINT)
    assert (await node.run("true"))[0].code == 0


async def test_a_second_launcher_of_a_state_directory_waits_for_the_first(node: Node) -> None:
    second = start_launcher(node.state, GIVEN)
    assert (await node.run("true"))[0].code == 0  # the first is unharmed
    second.socket.close()
    await node.launcher.close()
    await asyncio.to_thread(os.waitpid, second.pid, 0)


async def test_many_starts_leave_no_descriptors_and_no_memory_behind(node: Node) -> None:
    launcher = _launcher_of(node.handle.pid)

    async def rounds(count: int) -> None:
        up = await node.template("t")
        for _ in range(count):
            forked = await node.fork("t")
            forked.sock.close()
            await node.ended(forked.id)
            await node.run("true")
        await node.launcher.close_template("t")  # and what was made ahead for it
        await _until(lambda: not os.path.exists(f"/proc/{up.pid}"))

    await rounds(20)
    descriptors, memory = len(os.listdir(f"/proc/{launcher}/fd")), _private_kib(launcher)
    await rounds(40)
    await _until(lambda: len(os.listdir(f"/proc/{launcher}/fd")) <= descriptors + 10)
    assert _private_kib(launcher) <= memory + 1024


async def _kill_both(node: Node) -> None:
    """The launcher and its janitor at once, so that neither can sweep; from then on others may."""
    launcher = _launcher_of(node.handle.pid)
    os.kill(node.handle.pid, signal.SIGSTOP)
    os.kill(launcher, signal.SIGSTOP)
    assert len(traces(node.state)) > 1
    os.kill(launcher, signal.SIGKILL)
    os.kill(node.handle.pid, signal.SIGKILL)
    await node.launcher.close()


def _private_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))


def _family(pid: int) -> set[int]:
    """The process and all below it."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _launcher_of(janitor: int) -> int:
    children = Path(f"/proc/{janitor}/task/{janitor}/children").read_text().split()
    return next(int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "inrush-launcher\n")


def _alive(pids: set[int]) -> set[int]:
    alive = set()
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                alive.add(pid)
        except OSError:
            continue
    return alive


async def _gone(state: Path, family: set[int]) -> None:
    await _until(lambda: not _alive(family) and not traces(state), lambda: f"{_alive(family)} {traces(state)}")


async def _until(condition: Callable[[], bool], why: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, why()
        await asyncio.sleep(0.05)


async def test_a_home_made_again_under_the_path_of_a_removed_one_takes_nothing_from_its_launcher(
    make_node: Callable[[], Awaitable[Node]], state: Path
) -> None:
    first = await make_node()
    await first.template("t")
    forked = await first.fork("t")
    left = traces(state)
    state.rename(f"{state}.old")
    state.mkdir()
    second = await make_node()
    await second.launcher.close()
    try:
        assert await forked.ask("1 + 1") == "2"
        assert [trace for trace in left if os.path.exists(trace)] != []
    finally:
        await first.launcher.close()
        shutil.rmtree(f"{state}.old")
