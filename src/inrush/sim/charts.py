"""What is drawn of a simulation, as data: some charts, each with its lines over virtual time. `plots` makes a picture
of them, `page` a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inrush.sim.report import Report
    from inrush.sim.world import World

POINTS = 1000
"""Of a line, at most; a chart has no more pixels."""

FUNCTIONS = 6
"""So many are drawn: those that had the longest queues."""

COLORS = ("#4269d0", "#ef8a17", "#3b9c73", "#c8385a", "#8a63b8", "#7a5a3a")
"""Of lines that stand side by side; told apart by those who see no red or no green too."""

SHADES = ("#d9dee7", "#9db4e8", "#4269d0")
"""Of lines of which each is a part of the one before."""


class Line(NamedTuple):
    """One value over time."""

    name: str
    values: Sequence[float]


class Chart(NamedTuple):
    """Lines that share their axes."""

    title: str
    time_s: Sequence[float]
    lines: tuple[Line, ...]
    nested: bool = False
    """Each line is a part of the one before: what is below it is filled."""

    @property
    def colored(self) -> list[tuple[Line, str]]:
        """Its lines, with a color each."""
        return list(zip(self.lines, SHADES if self.nested else COLORS, strict=False))


def charts(world: World) -> list[Chart]:
    """Of a world that has run."""
    curves, queues, waits_s = world.gauge.curves, world.gauge.queues, world.gauge.waits_s
    time_s = curves["time_s"]
    every = max(1, -(-len(time_s) // POINTS))

    def chart(title: str, lines: dict[str, Sequence[float]], nested: bool = False) -> Chart:
        drawn = tuple(Line(name, peaks(values, every)) for name, values in lines.items())
        return Chart(title, time_s[::every], drawn, nested)

    longest = sorted(queues, key=lambda function: -max(queues[function]))[:FUNCTIONS]
    names = {function: f"{world.workloads[function].app}/{world.workloads[function].spec.name}" for function in longest}
    gpus: dict[str, Sequence[float]] = {
        "there": curves["gpus"],
        "held by containers": curves["gpus_held"],
        "running inputs": curves["gpus_busy"],
    }
    return [
        chart("GPUs", gpus, nested=True),
        chart("containers and nodes", {"containers": curves["containers"], "nodes": curves["nodes"]}),
        chart("inputs that wait", {name: queues[function] for function, name in names.items()}),
        chart("seconds in the queue, p99 of those that begin", {n: waits_s[f] for f, n in names.items()}),
    ]


def headline(report: Report) -> dict[str, str]:
    """What to look at first."""
    return {
        "calls": f"{report.calls:,}, {report.calls_lost:,} lost",
        "in the queue, p50 / p99": f"{report.queue_ms['p50']:,.0f} / {report.queue_ms['p99']:,.0f} ms",
        "cold starts": f"{report.cold_starts:,}",
        "GPUs, at most": f"{report.gpus:,}",
        "of GPU time paid, used": f"{report.utilisation:.0%}",
        "busy while work waits": f"{report.gpu_busy_while_waiting:.1%}",
    }


def ticks(most: float, count: int = 4) -> list[float]:
    """Round numbers from 0 up to `most`, at most a few of them."""
    raw = most / count
    unit = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next((unit * k for k in (1, 2, 5, 10) if unit * k >= raw), unit)
    return [step * k for k in range(int(most / step * (1 + 1e-9)) + 1)]


def peaks(values: Sequence[float], every: int) -> list[float]:
    """The most of each so many values: a spike is not thinned away."""
    return [max(values[start : start + every]) for start in range(0, len(values), every)]
