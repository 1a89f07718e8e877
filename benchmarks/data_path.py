"""What one input costs on its way: `python benchmarks/data_path.py [NAME …]`, as root for real containers.

A server of its own, in a home of its own; this process is the client. For each measurement the rate, and the CPU time
an input costs the client, the server and the containers; rates differ with what else the machine does, CPU times less.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOME = Path(tempfile.mkdtemp(prefix="ir-"))
os.environ["INRUSH_HOME"] = str(HOME)
HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))

import data_path_app as program  # noqa: E402 - the home is set before anything of inrush is imported

INPUTS = 20_000
ROUNDS = 5


class Meter:
    """CPU time by part, read from the scheduler's own account."""

    def __init__(self) -> None:
        self.server = int(json.loads((HOME / "run" / "server.json").read_text())["pid"])

    def cpu_s(self) -> dict[str, float]:
        family = _family(self.server)
        return {
            "client": time.process_time(),
            "server": _cpu_s(self.server),
            "containers": sum(_cpu_s(pid) for pid in family if pid != self.server),
        }

    def memory_mib(self) -> dict[str, float]:
        """The most that any process of each part holds by itself."""
        family = [pid for pid in _family(self.server) if pid != self.server]
        return {"client": _mib(os.getpid()), "server": _mib(self.server), "container": max(map(_mib, family))}

    def measure(self, work: Callable[[], Any], inputs: int) -> dict[str, float]:
        before, began = self.cpu_s(), time.perf_counter()
        work()
        seconds, after = time.perf_counter() - began, self.cpu_s()
        cpu = {part: round((after[part] - before[part]) / inputs * 1e6, 1) for part in before}
        return {"per_s": round(inputs / seconds), **{f"{part}_us": us for part, us in cpu.items()}}


def _family(pid: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return family


def _cpu_s(pid: int) -> float:
    """Of all its threads, to the nanosecond."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    except OSError:
        return 0.0
    return total / 1e9


def _mib(pid: int) -> float:
    """Its own memory, and what it shares."""
    try:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(row.split()[1]) for row in rows if row.startswith("Rss:")) / 1024


def _best(samples: list[dict[str, float]]) -> dict[str, float]:
    """The median of each column."""
    return {name: statistics.median(sample[name] for sample in samples) for name in samples[0]}


def warm(meter: Meter) -> dict[str, float]:
    """One caller, one input at a time."""
    for _ in range(200):
        program.single.remote(1)
    times: list[float] = []

    def calls() -> None:
        for n in range(3000):
            began = time.perf_counter()
            program.single.remote(n)
            times.append((time.perf_counter() - began) * 1000)

    found = meter.measure(calls, 3000)
    ordered = sorted(times)
    parts = {f"p{part}_ms": round(ordered[30 * part], 3) for part in (50, 95, 99)}
    return {**parts, **found}


def _map(function: Any, meter: Meter) -> dict[str, float]:
    def once() -> None:
        assert sum(function.map(range(INPUTS))) == sum(range(INPUTS))

    once()
    return _best([meter.measure(once, INPUTS) for _ in range(ROUNDS)])


def map_many(meter: Meter) -> dict[str, float]:
    """Ten containers of 64 slots."""
    return _map(program.many, meter)


def map_single(meter: Meter) -> dict[str, float]:
    """Ten containers of one slot."""
    return _map(program.single, meter)


def spawn(meter: Meter) -> dict[str, float]:
    """128 in flight, each acknowledged before its caller spawns again."""
    callers, each = 128, 80

    async def loop() -> None:
        for n in range(each):
            await program.many.spawn.aio(n)

    async def once() -> None:
        await asyncio.gather(*[loop() for _ in range(callers)])

    asyncio.run(once())
    return _best([meter.measure(lambda: asyncio.run(once()), callers * each) for _ in range(3)])


def large(meter: Meter) -> dict[str, float]:
    """A buffer of 1 GiB there, and another back."""
    size = 1 << 30
    program.touched.remote(program.Block(b"x"))
    block = program.Block(b"x" * size)
    peak = _Peak(meter)
    began = time.perf_counter()
    assert program.touched.remote(block) == ord("x") * (size // 4096)
    there_s, there = time.perf_counter() - began, peak.stop()
    program.made.remote(1)
    del block
    peak = _Peak(meter)
    began = time.perf_counter()
    assert program.made.remote(size).touch() == ord("x") * (size // 4096)
    back_s, back = time.perf_counter() - began, peak.stop()
    return {
        "there_s": round(there_s, 2),
        **there,
        "back_s": round(back_s, 2),
        **{f"back_{k}": v for k, v in back.items()},
    }


def million(meter: Meter) -> dict[str, float]:
    """A million inputs: how far each part grows."""
    for _ in program.many.map(range(INPUTS), order_outputs=False):
        pass
    peak = _Peak(meter)
    found = meter.measure(lambda: sum(program.many.map(iter(range(1_000_000)))), 1_000_000)
    return {**found, **peak.stop()}


class _Peak:
    """Looks at memory ten times a second, in a thread; tells how far each part grew."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._before = self._most = meter.memory_mib()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            now = self._meter.memory_mib()
            self._most = {part: max(self._most[part], now[part]) for part in now}

    def stop(self) -> dict[str, float]:
        self._over.set()
        self._thread.join()
        return {f"{part}_grew_mib": round(self._most[part] - self._before[part]) for part in self._most}


MEASURED = {f.__name__: f for f in (warm, map_many, map_single, spawn, large, million)}


def main() -> None:
    names = sys.argv[1:] or list(MEASURED)
    with (HOME / "bench.log").open("ab") as log:
        server = subprocess.Popen([sys.executable, "-m", "inrush", "server"], stdout=log, stderr=log)
    try:
        while not (HOME / "run" / "server.json").exists():
            if server.poll() is not None:
                raise SystemExit((HOME / "bench.log").read_text()[-4000:])
            time.sleep(0.05)
        for name in names:
            with (program.large if name == "large" else program.app).run():
                found = MEASURED[name](Meter())
            sys.stdout.write(f"{name:12} " + "  ".join(f"{k} {v:,}" for k, v in found.items()) + "\n")
            sys.stdout.flush()
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(HOME, ignore_errors=True)


if __name__ == "__main__":
    main()
