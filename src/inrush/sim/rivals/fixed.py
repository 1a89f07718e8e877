"""A fixed pool: a constant number of containers, warm from the first moment to the last."""

from __future__ import annotations

from inrush.sim.rivals.arena import Box
from inrush.sim.rivals.crowd import Crowd, View
from inrush.sim.traces.trace import Trace


class Fixed:
    """A policy with a size given from outside."""

    name = "fixed"
    tick_s = 3600.0
    eager = False
    idle_s: float | None = 1e9

    def __init__(self, size: int) -> None:
        self._size = size

    def desired(self, view: View) -> int:
        return self._size


class WarmCrowd(Crowd):
    """Containers that are ready at once, because they were started before."""

    def __init__(self, trace: Trace, seed: int, size: int) -> None:
        super().__init__(trace, seed, Fixed(size))

    def start(self) -> Box:
        box = Box(self.starts, self.now)
        self.boxes[box.number] = box
        self.starts += 1
        self.at(self.now, "ready", box.number)
        return box
