"""From samples to a row of the report: percentiles, the verdict, the ratios to rivals, and a line for people."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from inrush.cli.commands.bench.targets import TARGETS, Target


class Measured(NamedTuple):
    """Samples of one number, and of the same work by others."""

    name: str
    samples: Sequence[float]
    rivals: Mapping[str, Sequence[float]] = {}


class Skipped(NamedTuple):
    """What was not measured, and why; `failed` when it should have been."""

    what: str
    why: str
    failed: bool = False


def row(measured: Measured) -> dict[str, Any]:
    """As it stands in the JSON file. `against` holds, for each rival, our median divided by the rival's; `rivals` the
    medians themselves and how often they were taken.
    """
    target = TARGETS[measured.name]
    p50, p95, p99 = (percentile(measured.samples, share, target.more) for share in (0.5, 0.95, 0.99))
    others = {name: percentile(samples, 0.5, target.more) for name, samples in measured.rivals.items() if samples}
    against = {name: p50 / other for name, other in others.items() if other > 0}
    bounds = {"must": target.must, "must_p95": target.must_p95, "goal": target.goal, "goal_p95": target.goal_p95}
    return {
        "name": measured.name,
        "unit": target.unit,
        "n": len(measured.samples),
        "p50": _rounded(p50),
        "p95": _rounded(p95),
        "p99": _rounded(p99),
        "against": {name: _rounded(ratio) for name, ratio in against.items()},
        "rivals": {name: {"p50": _rounded(other), "n": len(measured.rivals[name])} for name, other in others.items()},
        "meaning": target.meaning,
        **{name: bound for name, bound in bounds.items() if bound is not None},
        "pass": _reaches(target, target.must, p50)
        and _reaches(target, target.must_p95, p95)
        and _keeps(target, against),
        "goal_reached": _reaches(target, target.goal, p50) and _reaches(target, target.goal_p95, p95),
    }


def percentile(samples: Sequence[float], share: float, worst_is_low: bool = False) -> float:
    """What this share of the samples is no worse than."""
    if share == 0.5:
        return statistics.median(samples)
    ordered = sorted(samples, reverse=worst_is_low)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def line(row: Mapping[str, Any]) -> str:
    """One row for people."""
    verdict = "    " if "must" not in row else "goal" if row["goal_reached"] else "pass" if row["pass"] else "MISS"
    name, unit = row["name"], row["unit"]
    values = "  ".join(f"{p} {row[p]:>9,.2f}" for p in ("p50", "p95", "p99"))
    return f"{verdict}  {name:<24} {values} {unit:<4}  n {row['n']:<5} {_bounds(row)}{_rivals(row)}".rstrip()


def _bounds(row: Mapping[str, Any]) -> str:
    if "must" not in row:
        return ""
    sign = "≥" if TARGETS[row["name"]].more else "≤"
    late = f" / {row['must_p95']:,g}" if "must_p95" in row else ""
    return f"must {sign} {row['must']:,g}{late}, goal {row['goal']:,g}"


def _rivals(row: Mapping[str, Any]) -> str:
    """How much better than each rival."""
    if not row["against"]:
        return ""
    more = TARGETS[row["name"]].more
    times = {name: ratio if more else 1 / ratio for name, ratio in row["against"].items() if ratio > 0}
    return "   " + ", ".join(
        f"{factor:,.0f}× {name}" if factor >= 100 else f"{factor:.3g}× {name}" for name, factor in times.items()
    )


def _reaches(target: Target, bound: float | None, value: float) -> bool:
    return bound is None or (value >= bound if target.more else value <= bound)


def _keeps(target: Target, against: Mapping[str, float]) -> bool:
    """The ratio to one rival, where that took part."""
    if target.ratio is None or target.ratio[0] not in against:
        return True
    rival, bound = target.ratio
    return _reaches(target, bound, against[rival])


def _rounded(value: float) -> float:
    """Four digits say all that a measurement can."""
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value, 1)
