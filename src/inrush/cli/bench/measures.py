"""How each number is measured. All are taken through the SDK and the management API, as a user's program would.

"From zero" is made by stopping the function's containers and waiting until the server lists none; its zygote or
snapshot stays.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inrush.cli import api, programs
from inrush.cli.bench.targets import Measured
from inrush.errors import NotFoundError, TimeoutError

_PROGRAMS = Path(__file__).parent / "programs"
_APP = "import inrush; inrush.App, inrush.Image"
"""Names are loaded when they are first used; these two every program uses."""
_MAP_INPUTS = 20_000
_END_LIMIT_S = 60.0
_IDLE_SAMPLE_S = 1.0


def all_of_them(quick: bool) -> Iterator[Measured]:
    """One after the other, so that they do not disturb each other."""
    runs = 10 if quick else 40
    bare_ms = _median([_python("pass") for _ in range(runs)])
    yield Measured("import.inrush_ms", [_python("import inrush") - _python("pass") for _ in range(runs)])
    yield Measured("import.app_ms", [_python(_APP) - _python("pass") for _ in range(runs)])
    nothing = programs.load(str(_PROGRAMS / "nothing.py")).module
    with nothing.app.run():
        nothing.nothing.remote(0)
        yield from _idle(nothing.app.name, runs)
        yield Measured("remote.cold_ms", [_cold(nothing.app.name, nothing.nothing) for _ in range(runs)], bare_ms)
        yield Measured("remote.warm_ms", _warm(nothing.nothing, 50 * runs), bare_ms)
        yield Measured("map.inputs_per_s", _maps(nothing.many, 3 if quick else 30))
    if not quick:
        yield _model(runs, bare_ms)


def _python(code: str) -> float:
    """Milliseconds that a Python process takes to run `code`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return _ms_since(began)


def _cold(app: str, function: Any) -> float:
    _no_containers(app)
    began = time.perf_counter()
    function.remote(1)
    return _ms_since(began)


def _warm(function: Any, calls: int) -> list[float]:
    for i in range(50):
        function.remote(i)
    samples = []
    for i in range(calls):
        began = time.perf_counter()
        function.remote(i)
        samples.append(_ms_since(began))
    return samples


def _maps(function: Any, runs: int) -> list[float]:
    rates = []
    for run in range(runs + 1):
        began = time.perf_counter()
        assert sum(function.map(range(_MAP_INPUTS))) == sum(range(_MAP_INPUTS))
        if run:  # the first one starts the container and learns its service time
            rates.append(_MAP_INPUTS / (time.perf_counter() - began))
    return rates


def _model(runs: int, bare_ms: float) -> Measured:
    model = programs.load(str(_PROGRAMS / "model.py")).module
    with model.app.run():
        instance = model.Model()
        assert "Paris" in instance.generate.remote("The capital of France is", 8)[1]
        samples = []
        for _ in range(runs):
            _no_containers(model.app.name)
            called = time.time()
            began, _text = instance.generate.remote("Hello", 1)
            samples.append((began - called) * 1000)
    return Measured("llm.snapshot_ms", samples, bare_ms)


def _idle(app: str, runs: int) -> Iterator[Measured]:
    """The local server and its launcher, with no container."""
    local = api.local_server()
    if local is None:
        return
    _no_containers(app)
    pids = [local["pid"], *_launchers(local["pid"])]
    cpu: list[float] = []
    for _ in range(runs):
        before, began = _cpu_s(pids), time.monotonic()
        time.sleep(_IDLE_SAMPLE_S)
        cpu.append(100 * (_cpu_s(pids) - before) / (time.monotonic() - began))
    yield Measured("server.idle_cpu_percent", cpu)
    yield Measured("server.idle_mib", [sum(_mib(pid) for pid in pids)])


def _no_containers(app: str) -> None:
    deadline = time.monotonic() + _END_LIMIT_S
    while there := api.get("/containers", app=app):
        for container in there:
            with contextlib.suppress(NotFoundError):  # it ended meanwhile
                api.post(f"/containers/{container['id']}/stop")
        if time.monotonic() > deadline:
            raise TimeoutError(f"containers of {app} do not end: {', '.join(c['id'] for c in there)}")
        time.sleep(0.02)


def _launchers(pid: int) -> list[int]:
    """The server's own children; zygotes are children of the launcher."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_s(pids: list[int]) -> float:
    """Seconds on a core, of all threads; the scheduler counts in nanoseconds where /proc/PID/stat counts in ticks."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _mib(pid: int) -> float:
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Pss:")) / 1024


def _median(samples: list[float]) -> float:
    return sorted(samples)[len(samples) // 2]


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
