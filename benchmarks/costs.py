"""What a start costs, as ratios to starting a bare Python on the same machine in the same seconds:
`python benchmarks/costs.py`, as root. Its status is 1 when a start costs more than its bound.

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
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from inrush.launcher.boot import start_launcher

from inrush.launcher.client import Launcher
from launcher.launched import GIVEN, Node, make_layer

_ROUNDS, _TRIES = 40, 5


@dataclass(frozen=True)
class Cost:
    """Ratios to a bare Python."""

    time: float
    work: float

    def within(self, bound: Cost) -> bool:
        return self.time <= bound.time and self.work <= bound.work


async def fork(node: Node) -> float:
    """Seconds of a start from a zygote, until its code has answered."""
    began = time.perf_counter()
    forked = await node.fork("t")
    assert await forked.ask("1") == "1"
    took = time.perf_counter() - began
    forked.sock.close()
    await node.ended(forked.id)
    return took


async def execute(node: Node) -> float:
    """Seconds of an isolated program that does nothing, to its end."""
    began = time.perf_counter()
    assert (await node.run("true"))[0].code == 0
    return time.perf_counter() - began


BOUNDS = {fork: Cost(time=0.68, work=1.05), execute: Cost(time=2.3, work=2.0)}


async def stays_within(node: Node, start: Callable[[Node], Awaitable[float]], bound: Cost) -> bool:
    """Whether a start was seen to cost no more than its bound; prints what was measured."""
    for _ in range(_TRIES):
        cost = await _cost(node, lambda: start(node))
        print(f"{start.__name__}: time {cost.time:.2f} (at most {bound.time}), work {cost.work:.2f} ({bound.work})")
        if cost.within(bound):
            return True
    return False


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


async def main() -> int:
    """Starts a launcher of its own and measures each way to start; the program's exit status."""
    with tempfile.TemporaryDirectory(prefix="ir-") as folder:
        state = Path(folder)
        handle = start_launcher(state, GIVEN)
        node = Node(state, handle, Launcher(handle, lambda exited: node.on_exit(exited)))
        make_layer(node.layer)
        await node.launcher.connect()
        try:
            await node.template("t")
            within = [await stays_within(node, start, bound) for start, bound in BOUNDS.items()]
        finally:
            await node.launcher.close()
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
