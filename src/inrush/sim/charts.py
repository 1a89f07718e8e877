"""The charts of a simulation as data: lines over virtual time. `plots` draws them as a picture, `page` as a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inrush.sim.report import Report
    from inrush.sim.world import World

POINTS = 1000
"""The most points of a line, since a chart has no more pixels."""

FUNCTIONS = 6
"""So many functions are drawn: those with the longest queues."""

COLORS = ("#4269d0", "#ef8a17", "#3b9c73", "#c8385a", "#8a63b8", "#7a5a3a")
"""Colours of lines that stand side by side; people who see no red or no green can tell them apart."""

SHADES = ("#d9dee7", "#9db4e8", "#4269d0")
"""Shades of lines of which each is a part of the one before."""


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
    """Whether each line is a part of the one before, so that the area below it is filled."""

    @property
    def colored(self) -> list[tuple[Line, str]]:
        """The chart's lines, each with a colour."""
        return list(zip(self.lines, SHADES if self.nested else COLORS, strict=False))


def charts(world: World) -> list[Chart]:
    """All charts of a world that has run."""
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
    """The numbers to look at first."""
    return {
        "calls": f"{report.calls:,}, {report.calls_lost:,} lost",
        "in the queue, p50 / p99": f"{report.queue_ms['p50']:,.0f} / {report.queue_ms['p99']:,.0f} ms",
        "cold starts": f"{report.cold_starts:,}",
        "GPUs, at most": f"{report.gpus:,}",
        "of GPU time paid, used": f"{report.utilisation:.0%}",
        "busy while work waits": f"{report.gpu_busy_while_waiting:.1%}",
    }


def ticks(most: float, count: int = 4) -> list[float]:
    """A few round numbers from 0 up to `most`."""
    raw = most / count
    unit = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next((unit * k for k in (1, 2, 5, 10) if unit * k >= raw), unit)
    return [step * k for k in range(int(most / step * (1 + 1e-9)) + 1)]


def peaks(values: Sequence[float], every: int) -> list[float]:
    """The largest of every so many values, so that thinning keeps spikes."""
    return [max(values[start : start + every]) for start in range(0, len(values), every)]
