"""A fresh interpreter that does nothing, without any isolation: what the operating system charges at least."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path

STAMP = "import time; print(time.monotonic(), flush=True)"
"""The first line of user code, on the clock that all processes share."""


def missing() -> str:
    """It is here: it runs this."""
    return ""


def version() -> str:
    return platform.python_version()


def measure(quick: bool, folder: Path) -> Iterator[tuple[str, str, list[float]]]:
    yield from starts_of("bare_python", lambda: [sys.executable, "-c", STAMP], quick)


def starts_of(name: str, command: Callable[[], list[str]], quick: bool) -> Iterator[tuple[str, str, list[float]]]:
    """Starts of a program that prints a stamp: to the stamp, to its end, and many at once, on busy cores."""
    started = [start(command()) for _ in range(10 if quick else 40)]
    yield "start.isolated_ms", name, [first_ms for first_ms, _ in started]
    yield "remote.cold_ms", name, [ended_ms for _, ended_ms in started]
    yield "burst.containers_per_s", name, [_burst(command, 40 if quick else 200) for _ in range(1 if quick else 3)]


def start(command: Sequence[str]) -> tuple[float, float]:
    """Milliseconds to its first line, and to its end."""
    began = time.monotonic()
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return (float(said) - began) * 1000, (time.monotonic() - began) * 1000


def _burst(command: Callable[[], list[str]], count: int) -> float:
    """Per second, to the end of the last."""
    began = time.monotonic()
    with ThreadPoolExecutor(2 * (cpu_count() or 1)) as pool:
        list(pool.map(lambda _: start(command()), range(count)))
    return count / (time.monotonic() - began)
