"""A large argument: an array of 1 GiB to a function on the same node."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from inrush.cli.commands.bench.memory import Growth
from inrush.cli.commands.bench.rows import Measured, Skipped

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
