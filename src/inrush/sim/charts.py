"""What is drawn of a simulation, as data: some charts, each with its lines over virtual time. `plots` makes a picture
of them, `page` a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inrush.sim.world import World

POINTS = 1000
"""Of a line, at most; a chart has no more pixels."""

QUEUES = 6
"""Functions whose queues are drawn: those that had the longest."""


class Line(NamedTuple):
    """One value over time."""

    name: str
    values: Sequence[float]


class Chart(NamedTuple):
    """Lines that share their axes."""

    title: str
    time_s: Sequence[float]
    lines: tuple[Line, ...]


def charts(world: World) -> list[Chart]:
    """Of a world that has run."""
    curves, queues = world.gauge.curves, world.gauge.queues
    time_s = curves["time_s"]
    every = max(1, -(-len(time_s) // POINTS))

    def chart(title: str, lines: dict[str, Sequence[float]]) -> Chart:
        return Chart(title, time_s[::every], tuple(Line(name, peaks(values, every)) for name, values in lines.items()))

    longest = sorted(queues, key=lambda name: -max(queues[name]))[:QUEUES]
    return [
        chart("GPUs", {"there": curves["gpus"], "held": curves["gpus_held"], "running inputs": curves["gpus_busy"]}),
        chart("containers and nodes", {"containers": curves["containers"], "nodes": curves["nodes"]}),
        chart("inputs", {"waiting": curves["queued"], "running": curves["running"]}),
        chart("waiting, by function", {name: queues[name] for name in longest}),
    ]


def peaks(values: Sequence[float], every: int) -> list[float]:
    """The most of each so many values: a spike is not thinned away."""
    return [max(values[start : start + every]) for start in range(0, len(values), every)]
