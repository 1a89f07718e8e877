"""What a start costs, as ratios to starting a bare Python on the same machine in the same seconds.

Time is that of the best of many, which other work on the machine hardly moves. Work is the processor's time in all
processes that take part, which other work moves even less, but which does not see waiting. What is above its bound is
measured again. The bounds are below twice of what is usual on a quiet machine, so that a start that has become twice as
slow, or takes twice the work, is seen.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from launcher.launched import Node, needs_root

pytestmark = needs_root

_ROUNDS, _TRIES = 40, 5


@dataclass(frozen=True)
class Cost:
    """Ratios to a bare Python."""

    time: float
    work: float

    def within(self, bound: Cost) -> bool:
        return self.time <= bound.time and self.work <= bound.work


async def test_a_start_from_a_zygote_costs_no_more_than_that_of_a_bare_python(node: Node) -> None:
    await node.template("t")

    async def fork() -> float:
        began = time.perf_counter()
        forked = await node.fork("t")
        assert await forked.ask("1") == "1"
        took = time.perf_counter() - began
        forked.sock.close()
        await node.ended(forked.id)
        return took

    await _stays_within(node, fork, Cost(time=0.68, work=1.05))


async def test_executing_a_program_isolated_costs_little_more_than_that_of_a_bare_python(node: Node) -> None:
    async def execute() -> float:
        began = time.perf_counter()
        assert (await node.run("true"))[0].code == 0
        return time.perf_counter() - began

    await _stays_within(node, execute, Cost(time=2.3, work=2.0))


async def _stays_within(node: Node, start: Callable[[], Awaitable[float]], bound: Cost) -> None:
    measured: list[Cost] = []
    while not any(cost.within(bound) for cost in measured):
        assert len(measured) < _TRIES, measured
        measured.append(await _cost(node, start))


async def _cost(node: Node, start: Callable[[], Awaitable[float]]) -> Cost:
    """Some starts, and as many bare ones, taken by turns."""
    ours, bare, before = [], [], _work_of(node)
    for _ in range(_ROUNDS):
        ours.append(await start())
        began = time.perf_counter()
        await asyncio.to_thread(subprocess.run, [sys.executable, "-I", "-c", "pass"], check=True)
        bare.append(time.perf_counter() - began)
    after = _work_of(node)
    return Cost(min(ours) / min(bare), (after[0] - before[0]) / (after[1] - before[1]))


def _work_of(node: Node) -> tuple[float, float]:
    """Seconds of the processor so far: of the launcher with all below it, ended ones too, and of ended bare Pythons."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    below = sum(map(_seconds, _family(node.handle.pid)))
    return below, children.ru_utime + children.ru_stime


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]
