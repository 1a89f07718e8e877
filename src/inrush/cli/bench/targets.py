"""What each number must be and what is hoped for; how a result is judged and shown."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NamedTuple


class Target(NamedTuple):
    """`more` is better for rates, less for everything else."""

    unit: str
    must: float
    goal: float
    more: bool = False
    meaning: str = ""


TARGETS = {
    "remote.cold_ms": Target("ms", 60, 20, meaning="a no-op from zero containers, zygote up, to the result"),
    "remote.warm_ms": Target("ms", 1.0, 0.4, meaning="round trip of a no-op"),
    "map.inputs_per_s": Target("/s", 10_000, 30_000, more=True, meaning="20,000 no-ops, one container, 64 at once"),
    "llm.snapshot_ms": Target("ms", 150, 30, meaning="a loaded model from zero containers until generate runs"),
    "import.inrush_ms": Target("ms", 80, 80, meaning="`import inrush` over bare Python"),
    "import.app_ms": Target("ms", 200, 80, meaning="the same, with App and Image used: names are loaded lazily"),
    "server.idle_cpu_percent": Target("%", 1.0, 1.0, meaning="of a core, server and launcher without work"),
    "server.idle_mib": Target("MiB", 120, 120, meaning="memory of server and launcher without work"),
}


class Measured(NamedTuple):
    """Samples of one number. `bare_ms`, where a ratio means something: the start of bare Python in the same run."""

    name: str
    samples: Sequence[float]
    bare_ms: float | None = None


def judge(measured: Measured) -> dict[str, Any]:
    """The result, as it stands in the JSON file."""
    target = TARGETS[measured.name]
    median = statistics.median(measured.samples)

    def reaches(bound: float) -> bool:
        return median >= bound if target.more else median <= bound

    result: dict[str, Any] = {
        "name": measured.name,
        "meaning": target.meaning,
        "unit": target.unit,
        "median": round(median, 3),
        "p95": round(percentile_95(measured.samples, worst_is_low=target.more), 3),
        "samples": len(measured.samples),
        "must": target.must,
        "goal": target.goal,
        "pass": reaches(target.must),
        "goal_reached": reaches(target.goal),
    }
    if measured.bare_ms is not None:
        result["over_bare_python"] = round(median / measured.bare_ms, 3)
    return result


def percentile_95(samples: Sequence[float], worst_is_low: bool = False) -> float:
    """What 95 of 100 samples are no worse than."""
    ordered = sorted(samples, reverse=worst_is_low)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def line(result: dict[str, Any]) -> str:
    """One result for people."""
    verdict = "goal" if result["goal_reached"] else "pass" if result["pass"] else "MISS"
    bound = ">=" if TARGETS[result["name"]].more else "<="
    unit = result["unit"]
    return (
        f"{verdict}  {result['name']:<24} {result['median']:>10,.2f} {unit:<4} p95 {result['p95']:>10,.2f} {unit:<4} "
        f"must {bound} {result['must']:,g}, goal {result['goal']:,g}"
    )


def machine() -> dict[str, Any]:
    """What was measured, and on what."""
    return {
        "inrush": version("inrush"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
