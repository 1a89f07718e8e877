"""Calls, maps and large payloads: round trips, calls that the server owns, inputs per second, and bytes per second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from inrush.cli.commands.bench import containers
from inrush.cli.commands.bench.memory import Growth
from inrush.cli.commands.bench.rows import Measured, Skipped

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


INPUTS = 20_000


MILLION = 1_000_000


def rates(program: Any, runs: int) -> Iterator[Measured]:
    """Three shapes of one map."""
    for row, name, count in (
        ("map.inputs_per_s", "ten", 10),
        ("map.one_container_per_s", "one", 0),
        ("map.single_slot_per_s", "single", 10),
    ):
        function = getattr(program, name)
        containers.ready(program.app.name, name, count)
        _seconds(function)  # the first one teaches how long an input takes
        yield Measured(row, [INPUTS / _seconds(function) for _ in range(runs)])


def million(program: Any, inputs: int = MILLION) -> Measured:
    """How far client, server and guests grow, whichever of them does so most."""
    _seconds(program.ten)
    with Growth() as growth:
        assert sum(program.ten.map(iter(range(inputs)))) == sum(range(inputs))
    return Measured("map.million_mib", [growth.most_mib])


def _seconds(function: Any) -> float:
    began = time.perf_counter()
    assert sum(function.map(range(INPUTS))) == sum(range(INPUTS))
    return time.perf_counter() - began


GIB_OF_FLOATS = 2**27


def gib(program: Any, runs: int) -> Iterator[Measured | Skipped]:
    """From the call to the sum of all its numbers; every array is a new one."""
    if not find_spec("numpy"):
        yield Skipped("payload.gib_s", "numpy is not installed; `pip install 'inrush[bench]'` brings it")
        return
    import numpy

    program.total.remote(numpy.ones(8))
    seconds, grew = [], []
    for run in range(runs):
        array = numpy.full(GIB_OF_FLOATS, float(run))
        with Growth() as growth:
            began = time.perf_counter()
            assert program.total.remote(array) == run * GIB_OF_FLOATS
            seconds.append(time.perf_counter() - began)
        grew.append(growth.most_mib)
        del array
    yield Measured("payload.gib_s", seconds)
    yield Measured("payload.grew_mib", grew)
