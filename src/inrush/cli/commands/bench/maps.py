"""Maps: inputs per second over containers of one and of many slots, and the memory of a very long one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from inrush.cli.commands.bench import containers
from inrush.cli.commands.bench.memory import Growth
from inrush.cli.commands.bench.rows import Measured

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
