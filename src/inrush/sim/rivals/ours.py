"""Our policy in the arena: the real `core.Cluster`, spoken to by events, with the default settings."""

from __future__ import annotations

import math
from typing import Any

from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.core.model.tuning import TUNING, Tuning
from inrush.sim.processors import Processors
from inrush.sim.rivals.arena import Arena, Box
from inrush.sim.traces.trace import Trace
from inrush.wire import FunctionSpec, Inventory, ScalePolicy, Status

FUNCTION, NODE = "fn-arena", "no-arena"
OK = (int(Status.OK),)
LOOK_S = 0.1
"""Seconds between two looks at what containers use, where they share cores."""


class Ours(Arena):
    """One function with default settings on one node with room for a hundred thousand containers."""

    policy = "inrush"

    def __init__(self, trace: Trace, seed: int, tuning: Tuning = TUNING) -> None:
        super().__init__(trace, seed)
        self.cluster = Cluster(str(seed), tuning)
        self._ids: dict[str, Box] = {}
        self._names: dict[int, str] = {}
        self._wake_at = math.inf

    def began(self) -> None:
        spec = FunctionSpec(name="arena", scale=ScalePolicy(max_inputs=self.trace.slots))
        cores = self.trace.cores or 1e5
        self._step(events.NodeJoined(NODE, Inventory(cpu=cores, memory_mib=10**9, cpu_overcommit=1e5 / cores)))
        self._step(events.FunctionAdded(FUNCTION, "arena", spec))
        if self.processors is not None:
            self._step(events.CpuUsed(NODE))
            self.after(LOOK_S, self._look, self.processors)

    def _look(self, processors: Processors) -> None:
        """Reports what containers use, as a node does."""
        left_s = processors.left_s()
        starting = [box for box in self.boxes.values() if not box.ready]
        serving = [box for box in self.boxes.values() if box.running]
        uses = [
            sum(str(box.number) in left_s for box in boxes) / len(boxes) if boxes else -1.0
            for boxes in (serving, starting)
        ]
        took_s = max((self._took_s(box, left_s) for box in starting), default=-1.0)
        if starting or serving:
            self._step(events.CpuUsed(NODE, ((FUNCTION, uses[0], uses[1], took_s),)))
        self.after(LOOK_S, self._look, processors)

    def _took_s(self, box: Box, left_s: dict[str, float]) -> float:
        cpu_s = self.trace.start_cpu * self.trace.start_of(self.seed, box.number)
        return max(0.0, cpu_s - left_s.get(str(box.number), 0.0))

    def arrived(self, request: int) -> None:
        self._step(events.CallArrived(str(request), FUNCTION, "remote", 1))
        self._step(events.InputsArrived(str(request), 0, 1))

    def became_ready(self, box: Box) -> None:
        self._step(events.ContainerReady(self._names[box.number], "fork", (self.now - box.since) * 1000))

    def ended(self, box: Box, request: int) -> None:
        self._step(events.AttemptsEnded(self._names[box.number], str(request), (0,), OK, (None,)))

    def woke(self) -> None:
        if self.now >= self._wake_at:
            self._wake_at = math.inf
            self._step(events.Tick())

    def _step(self, event: Any) -> None:
        for effect in self.cluster.step(event, self.now):
            match effect:
                case effects.Dispatch():
                    self.send(self._ids[effect.container], int(effect.call))
                case effects.StartContainer():
                    box = self._ids[effect.container] = self.start()
                    self._names[box.number] = effect.container
                case effects.StopContainer():
                    self.stop(self._ids.pop(effect.container))
                    self._step(events.ContainerEnded(effect.container, int(Status.OK), "asked to"))
                case effects.WakeAt() if effect.at < self._wake_at:
                    self._wake_at = effect.at
                    self.wake(effect.at)
                case effects.ListContainers():
                    self._step(events.NodeContainers(NODE, effect.number, tuple(self._ids)))
                case effects.Recall():
                    self._give_back(effect.container)
                case _:
                    pass

    def _give_back(self, container: str) -> None:
        """Gives back inputs that a container was sent ahead and has not begun."""
        ahead = self._ids[container].ahead
        returned = [str(request) for request in ahead]
        ahead.clear()
        for call in returned:
            self._step(events.InputsReturned(container, call, (0,)))
