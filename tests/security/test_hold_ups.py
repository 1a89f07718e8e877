"""What user code of a template or a container can hold up: itself, and neither the launcher nor a neighbour."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from inrush.launcher import openings
from inrush.launcher.client import LaunchError
from inrush.launcher.machine import tag_of
from inrush.launcher.specs import UID_RANGE, Limits
from launcher.launched import UID_BASE, Node, needs_root

pytestmark = needs_root

HOSTILE_BASE = UID_BASE + UID_RANGE

_SIGNALS = """
import signal
if os.fork() == 0:
    first = os.getpid() + 1
    while True:
        for pid in range(first, first + 300):
            try:
                os.kill(pid, signal.{name})
            except OSError:
                pass
"""


@pytest.mark.parametrize("name", ["SIGSTOP", "SIGKILL"])
async def test_who_stops_what_makes_its_berths_waits_alone(node: Node, name: str) -> None:
    await node.template("neighbour")
    await node.fork("neighbour")
    hostile = {"before": _SIGNALS.format(name=name)}
    await node.template("hostile", boot=hostile, uid_base=HOSTILE_BASE)
    starts = [asyncio.create_task(node.fork("hostile")) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(3):  # of a kind of which no berth was made ahead
        began = time.monotonic()
        await node.fork("neighbour", limits=Limits(pids=100 + number))
        assert time.monotonic() - began < openings.WAIT_S / 2
    for end in await asyncio.gather(*starts, return_exceptions=True):
        assert not isinstance(end, BaseException) or isinstance(end, LaunchError), "some may be too quick for it"
    await node.launcher.close_template("hostile")
    await _none_left(HOSTILE_BASE)


async def _none_left(base: int) -> None:
    """Until no process of an app's users is there. One whose making was begun last is given up after `WAIT_S`."""
    async with asyncio.timeout(3 * openings.WAIT_S):
        while any(base <= uid < base + UID_RANGE for uid in _users()):  # noqa: ASYNC110 (nobody tells of it)
            await asyncio.sleep(0.05)


def _users() -> list[int]:
    users = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            users.append(path.stat().st_uid)
        except FileNotFoundError:
            continue
    return users


async def test_the_launcher_frees_the_memory_of_no_container(node: Node) -> None:
    """Whoever closes the last mount of a file system in memory waits until all of it is free: a second for 5 GiB."""
    await node.template("t")
    await node.fork("t")
    before = _mounts(node)
    await node.start("sleep", "600", output=2)
    for _ in range(20):
        await node.fork("t")
    assert _mounts(node) < before + 10, "some are of berths made ahead, whose number changes"


def _mounts(node: Node) -> int:
    """How many roots of file systems the launcher has open that are mounted nowhere in its own namespace."""
    children = Path(f"/proc/{node.handle.pid}/task/{node.handle.pid}/children").read_text().split()
    return sum(path.readlink() == Path("/") for path in Path(f"/proc/{children[0]}/fd").iterdir() if path.is_symlink())


_MOVES_IN = """
import inrush.guest.isolate as i
place, joins = i.place, []
def placed(body, fds):
    if not body["ahead"]:
        joins.append([os.dup(fd) for fd in fds[2:]])
        for _ in range(20 * (len(joins) == 2)):
            if os.fork() == 0:
                while True:
                    for fd in [fd for group in joins for fd in group]:
                        try:
                            os.write(fd, b"0")
                        except OSError:
                            pass
    return place(body, fds)
i.place = placed
"""
"""Processes that change between the groups of two containers all the time, so that some are always in one of them."""


async def test_who_moves_into_the_group_of_a_container_that_has_ended_is_ended_too(node: Node) -> None:
    await node.template("t", boot={"before": _MOVES_IN})
    forked, _ = await node.fork("t"), await node.fork("t", limits=Limits(pids=99))
    await node.launcher.kill(forked.id)
    await node.ended(forked.id)
    groups = f"*/inrush-{tag_of(node.state)}/{forked.id}"
    async with asyncio.timeout(openings.WAIT_S):
        while [*Path("/sys/fs/cgroup").glob(groups)]:  # noqa: ASYNC110 (nobody tells of it)
            await asyncio.sleep(0.05)
