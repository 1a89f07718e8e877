"""Single calls: a round trip to a warm container, and calls that the server owns."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from inrush.cli.commands.bench import containers
from inrush.cli.commands.bench.rows import Measured

_WARM_UP = 200
_CALLERS, _EACH = 128, 40


def warm(program: Any, calls: int) -> Measured:
    """One caller, one call at a time."""
    for i in range(_WARM_UP):
        program.nothing.remote(i)
    samples = []
    for i in range(calls):
        began = time.perf_counter()
        program.nothing.remote(i)
        samples.append((time.perf_counter() - began) * 1000)
    return Measured("remote.warm_ms", samples)


def spawn(program: Any, runs: int) -> Measured:
    """So many callers at once, each of which waits for the acknowledgement before it spawns again."""
    containers.ready(program.app.name, "durable", 10)
    asyncio.run(_spawned(program.durable))
    rates = []
    for _ in range(runs):
        began = time.perf_counter()
        last = asyncio.run(_spawned(program.durable))
        rates.append(_CALLERS * _EACH / (time.perf_counter() - began))
        last.get(timeout=60)  # what was acknowledged runs, and does not disturb the next run
    return Measured("spawn.calls_per_s", rates)


async def _spawned(function: Any) -> Any:
    async def caller() -> Any:
        for i in range(_EACH):
            call = await function.spawn.aio(i)
        return call

    return (await asyncio.gather(*(caller() for _ in range(_CALLERS))))[-1]
