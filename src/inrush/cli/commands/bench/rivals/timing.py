"""How rivals are timed, so that all are timed alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def calls_ms(call: Callable[[int], Any], count: int, warm_up: int = 50) -> list[float]:
    """One caller, one call at a time, after some that do not count."""
    for i in range(warm_up):
        call(i)
    samples = []
    for i in range(count):
        began = time.perf_counter()
        assert call(i) == i
        samples.append((time.perf_counter() - began) * 1000)
    return samples


def per_s(work: Callable[[int], int], inputs: int, runs: int) -> list[float]:
    """`work` takes a number of inputs 0, 1, … and gives the sum of their results."""
    work(inputs // 10)  # so that every worker has it
    rates = []
    for _ in range(runs):
        began = time.perf_counter()
        assert work(inputs) == sum(range(inputs))
        rates.append(inputs / (time.perf_counter() - began))
    return rates


def sums_s(total: Callable[[Any], float], runs: int) -> list[float]:
    """Seconds from a call with a fresh array of 1 GiB to its sum. Nothing without numpy, or with too little memory."""
    try:
        import numpy
    except ImportError:
        return []
    if not enough_memory():
        return []
    total(numpy.ones(8))
    samples = []
    for run in range(runs):
        array = numpy.full(2**27, float(run))
        began = time.perf_counter()
        assert total(array) == run * 2**27
        samples.append(time.perf_counter() - began)
        del array
    return samples


def enough_memory(needed_gib: float = 6.0) -> bool:
    """An array here, in a store and in a worker, and copies on the way."""
    with open("/proc/meminfo") as file:
        available = next(line for line in file if line.startswith("MemAvailable"))
    return int(available.split()[1]) / 2**20 >= needed_gib
