"""What costs before anything is called: imports, and a server without work."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from inrush.cli import api
from inrush.cli.commands.bench.rows import Measured, Skipped
from inrush.linux.process import proportional_mib

_APP = "import inrush; inrush.App, inrush.Image"
"""Names are loaded when they are first used; these two every program uses."""
_SAMPLE_S = 1.0


def imports(runs: int) -> Iterator[Measured]:
    """Over a Python that does nothing."""
    for name, code in (("import.inrush_ms", "import inrush"), ("import.app_ms", _APP)):
        yield Measured(name, [_python_ms(code) - _python_ms("pass") for _ in range(runs)])


def server(runs: int) -> Iterator[Measured | Skipped]:
    """The local server and its launcher, with no container and no template."""
    local = api.local_server()
    if local is None:
        yield Skipped("server.idle_cpu_percent", "the server is not on this machine")
        return
    pids = [local["pid"], *_launchers(local["pid"])]
    yield Measured("server.idle_mib", [sum(proportional_mib(pid) for pid in pids)])
    cpu: list[float] = []
    for _ in range(runs):
        before, began = _cpu_s(pids), time.monotonic()
        time.sleep(_SAMPLE_S)
        cpu.append(100 * (_cpu_s(pids) - before) / (time.monotonic() - began))
    yield Measured("server.idle_cpu_percent", cpu)


def _python_ms(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - began) * 1000


def _launchers(pid: int) -> list[int]:
    """The server's own children; zygotes are children of the launcher."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_s(pids: list[int]) -> float:
    """Seconds on a core, of all threads; the scheduler counts in nanoseconds where /proc/PID/stat counts in ticks."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
