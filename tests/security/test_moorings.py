"""What makes a berth is seen by its template's code, which may stop, slow down or kill it: nobody else waits for it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from inrush.launcher import moorings
from inrush.launcher.client import LaunchError
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
        assert time.monotonic() - began < moorings.WAIT_S / 2
    for start in starts:
        with pytest.raises(LaunchError):
            await start
    await node.launcher.close_template("hostile")
    await _none_left(HOSTILE_BASE)


async def _none_left(base: int) -> None:
    """Until no process of an app's users is there."""
    async with asyncio.timeout(moorings.WAIT_S):
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
