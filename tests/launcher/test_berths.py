"""Berths that are made ahead: containers in them are like others, no two share one, and none is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from deadline import DEADLINE_S
from inrush.launcher.berths import MAX_READY, Berth, Stock
from inrush.launcher.children import Child
from inrush.launcher.loop import Loop
from inrush.launcher.machine import Held, tag_of
from inrush.launcher.overlay import Root
from launcher.launched import HOST, OUTSIDE, PORT, UID_BASE, Forked, Node, needs_root, outside_machine, traces

pytestmark = needs_root

_SEEN = """(
    socket.gethostname(), open('/etc/hostname').read(), 'box' in open('/etc/hosts').read(),
    sorted(os.listdir('/dev')), os.getpid(), len([p for p in os.listdir('/proc') if p.isdigit()]),
    sorted(line.split()[1] + ' ' + line.split()[3].split(',')[0] for line in open('/proc/mounts')),
    open('/etc/resolv.conf').read(), os.getcwd(), os.listdir('/tmp'), os.stat('/tmp').st_mode, os.statvfs('/').f_blocks,
)"""


def _made_ahead(forked: Forked) -> bool:
    return "berth" in dict(forked.started.phases)


async def _forked(node: Node, ahead: bool, **options: object) -> Forked:
    """A container whose berth was made ahead, or not."""
    async with asyncio.timeout(DEADLINE_S):
        while _made_ahead(forked := await node.fork("t", **options)) is not ahead:
            forked.sock.close()
            await node.ended(forked.id)
    return forked


def _links(node: Node) -> set[str]:
    return {trace for trace in traces(node.state) if trace.startswith("inrush") and "-" in trace}


async def test_a_container_finds_the_same_in_a_berth_that_was_made_ahead(node: Node) -> None:
    await node.template("t")
    options = {"root": node.root(hostname="box", disk_mib=64), "cwd": "/root"}
    plain = await _forked(node, False, **options)
    ahead = await _forked(node, True, **options)
    assert await ahead.ask(_SEEN) == await plain.ask(_SEEN)


async def test_containers_of_a_burst_have_each_a_berth_of_its_own(node: Node) -> None:
    await node.template("t")
    kinds = "[os.readlink('/proc/self/ns/' + kind) for kind in ('mnt', 'net', 'ipc', 'uts', 'pid', 'cgroup')]"
    for _ in range(2):
        forks = await asyncio.gather(*(node.fork("t") for _ in range(12)))
        await asyncio.gather(*(each.ask("open('/tmp/mine', 'x').close()") for each in forks))
        seen = [eval(await each.ask(kinds)) for each in forks]
        assert all(len(set(column)) == len(forks) for column in zip(*seen, strict=True))
        for each in forks:
            each.sock.close()
            await node.ended(each.id)
        last = await _forked(node, True)
    assert await last.ask("os.listdir('/tmp')") == "[]"


async def test_a_berth_made_ahead_reaches_the_outside_or_nothing_as_its_function_may(node: Node) -> None:
    await node.template("t")
    talk = f"socket.create_connection(('{OUTSIDE}', {PORT}), 2).recv(100).decode()"
    with outside_machine():
        assert await (await _forked(node, True)).ask(talk) == repr(HOST)
        assert "unreachable" in await (await _forked(node, True, network="none")).ask(talk)


async def test_a_snapshots_berths_show_what_it_has_written(node: Node) -> None:
    await node.template("t", boot={"before": "open('/root/written', 'w').write('once')"})
    assert await (await _forked(node, True)).ask("open('/root/written').read()") == "'once'"


async def test_a_layer_that_is_removed_takes_the_berths_on_it_along(node: Node) -> None:
    source = node.state / "node" / "layers" / "source"
    root = node.root(str(source))
    (source / "root").mkdir(parents=True)
    (source / "root" / "word").write_text("old")
    await node.template("t")
    assert await (await _forked(node, True, root=root)).ask("open('/root/word').read()") == "'old'"
    await node.launcher.remove_tree(str(source))
    (source / "root").mkdir(parents=True)
    (source / "root" / "word").write_text("new")
    assert await (await node.fork("t", root=root)).ask("open('/root/word').read()") == "'new'"


async def test_a_process_that_ends_while_it_waits_takes_its_berth_along(node: Node) -> None:
    await node.template("t")
    running = await _forked(node, True)
    killed = await _waiting(node, running)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    await _ended(node, killed)
    assert await (await node.fork("t")).ask("1") == "1"
    assert await (await _forked(node, True)).ask("1") == "1"


async def test_a_process_that_waits_is_ended_when_its_layer_goes(node: Node) -> None:
    source = node.state / "node" / "layers" / "source"
    (source / "root").mkdir(parents=True)
    await node.template("t")
    running = await _forked(node, True, root=node.root(str(source)))
    before = await _waiting(node, running)
    await node.launcher.remove_tree(str(source))
    await _ended(node, before)


async def _ended(node: Node, pids: list[int]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while set(pids) & set(_forks(node)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def _forks(node: Node) -> list[int]:
    """Processes of templates that have come into a berth."""
    found, tag = [], f"inrush-{tag_of(node.state)}/"
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            ours = lines["Name"] == "inrush-zygote" and lines["Uid"].split()[0] == str(UID_BASE)
            pids = lines["NSpid"].split()
            ours = ours and tag in (status.parent / "cgroup").read_text()
            if ours and pids[-1] == "2" and lines["State"][0] not in "ZX":
                found.append(int(pids[0]))
    return found


async def _waiting(node: Node, running: Forked) -> list[int]:
    """Those that wait beside this one, of which there are two when there are enough."""
    deadline = time.monotonic() + DEADLINE_S
    while len(found := [pid for pid in _forks(node) if pid != running.started.pid]) < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return found


async def test_of_a_burst_nothing_is_left_when_its_template_has_gone(
    make_node: Callable[[], Awaitable[Node]], state: Path
) -> None:
    node = await make_node()
    await node.template("t")
    forks = await asyncio.gather(*(node.fork("t") for _ in range(20)))
    for each in forks:
        each.sock.close()
        await node.ended(each.id)
    last = await _forked(node, True)
    assert len(_links(node)) >= 20
    last.sock.close()
    await node.ended(last.id)
    await node.launcher.close_template("t")
    deadline = time.monotonic() + DEADLINE_S
    while _links(node):
        assert time.monotonic() < deadline, _links(node)
        await asyncio.sleep(0.02)
    await node.launcher.close()
    assert traces(state) == []


def test_as_many_are_wanted_as_were_started_since_there_were_enough_within_bounds() -> None:
    stock = Stock(lambda: None)
    child = Child(Loop(), 1, False, lambda: None, lambda: None)
    made = Berth(Held(Root(-1, []), -1), child)

    def fill() -> None:
        while len(stock.ready) < stock.wanted:
            stock.put(made)

    fill()
    for _ in range(9):  # one by one: what is taken is made anew before the next
        stock.note()
        stock.ready.pop()
        fill()
    assert stock.wanted == 2
    for number in range(31):  # in one go, though some were made meanwhile
        stock.note()
        if stock.ready:
            stock.ready.pop()
        if number % 2:
            stock.put(made)
    assert stock.wanted == 31
    for _ in range(10 * MAX_READY):
        stock.note()
    assert stock.wanted == MAX_READY
    stock.want(4)
    stock.note()
    assert stock.wanted == 4
    child.close()
