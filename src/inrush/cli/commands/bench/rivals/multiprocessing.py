"""A pool of the standard library: processes forked from this one, not isolated from it.

Its best ways: warm workers for calls, and for maps chunks of the size that the pool itself picks.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inrush.cli.commands.bench.rivals.timing import calls_ms, per_s, sums_s


def missing() -> str:
    """It comes with Python."""
    return ""


def version() -> str:
    return platform.python_version()


def measure(quick: bool, folder: Path) -> Iterator[tuple[str, str, list[float]]]:
    name, workers = "multiprocessing", os.cpu_count() or 1
    starts = [_start() for _ in range(10 if quick else 40)]
    yield "start.isolated_ms", name, [first_ms for first_ms, _ in starts]
    yield "remote.cold_ms", name, [result_ms for _, result_ms in starts]
    with multiprocessing.Pool(workers) as pool:
        yield "remote.warm_ms", name, calls_ms(lambda i: pool.apply(nothing, (i,)), 500 if quick else 2000)
        rates = per_s(lambda inputs: sum(pool.map(nothing, range(inputs))), 20_000, 3 if quick else 10)
        yield "map.inputs_per_s", name, rates
        if not quick:  # some ten seconds for each
            yield "payload.gib_s", name, sums_s(lambda array: pool.apply(total, (array,)), 2)


def nothing(x: int) -> int:
    return x


def total(array: Any) -> float:
    return float(array.sum())


def stamp() -> float:
    return time.monotonic()


def _start() -> tuple[float, float]:
    """A pool of one worker: milliseconds to its first line, and to the result."""
    began = time.monotonic()
    with multiprocessing.Pool(1) as pool:
        first_line = pool.apply(stamp)
        return (first_line - began) * 1000, (time.monotonic() - began) * 1000
