"""Knative's pod autoscaler with its defaults: every 2 s, concurrency averaged over 60 s, and over 6 s for panic.

Source: knative/serving, pkg/autoscaler/scaling/autoscaler.go, and config-autoscaler: utilisation 70 %, at most 1000
times up and half down in one step, panic from twice the capacity on, which lasts until it has not been for 60 s and
never shrinks. The activator reports a first request at once, so from zero it does not wait for a tick. The last pod
goes after 30 s of grace.
"""

from __future__ import annotations

import math
from collections import deque

from inrush.sim.rivals.crowd import View
from inrush.sim.traces.trace import Trace

STABLE_S, PANIC_S, GRACE_S = 60.0, 6.0, 30.0
UTILISATION, UP, DOWN, PANIC = 0.7, 1000.0, 2.0, 2.0


class Knative:
    """KPA, with `containerConcurrency` equal to the slots."""

    name = "knative"
    tick_s = 2.0
    eager = True
    idle_s: float | None = None

    def __init__(self, trace: Trace) -> None:
        self._target = max(0.01, trace.slots * UTILISATION)
        self._seen: deque[tuple[float, float]] = deque([(0.0, 0.0)])
        self._panic_at: float | None = None
        self._most = 0
        self._zero_at: float | None = None

    def desired(self, view: View) -> int:
        self._seen.append((view.now, view.demand_s))
        while self._seen[1][0] <= view.now - STABLE_S:
            self._seen.popleft()
        pods = max(1, view.ready)
        stable = self._clamp(self._average(view, STABLE_S), pods)
        burst_average = max(self._average(view, PANIC_S), view.inputs if not view.live else 0)
        burst = self._clamp(burst_average, pods)
        over = math.ceil(burst_average / self._target) / pods >= PANIC
        if over:
            self._panic_at = view.now
        elif self._panic_at is not None and self._panic_at + STABLE_S < view.now:
            self._panic_at, self._most = None, 0
        wanted = stable
        if self._panic_at is not None:
            self._most = wanted = max(self._most, stable, burst)
        return self._to_zero(wanted, view)

    def _average(self, view: View, window_s: float) -> float:
        """The average concurrency over a window. A function that is younger than the window has a shorter one."""
        since, demand_s = next((at, demand) for at, demand in self._seen if at > view.now - window_s - 1e-9)
        return (view.demand_s - demand_s) / (view.now - since) if view.now > since else float(view.inputs)

    def _clamp(self, average: float, pods: int) -> int:
        return min(max(math.ceil(average / self._target), math.floor(pods / DOWN)), math.ceil(UP * pods))

    def _to_zero(self, wanted: int, view: View) -> int:
        if wanted or not view.live:
            self._zero_at = None
            return wanted
        if self._zero_at is None:
            self._zero_at = view.now
        return 0 if view.now - self._zero_at >= GRACE_S else 1
