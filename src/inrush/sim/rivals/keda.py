"""KEDA with the HorizontalPodAutoscaler beneath it, both with their defaults.

Source: keda.sh, ScaledObject (pollingInterval 30 s from zero, cooldownPeriod 300 s to zero), and kubernetes.io, HPA:
every 15 s `ceil(metric / target)` unless within 10 % of it, up by at most four pods or 100 % in 15 s, whichever is
more, down to the highest wish of the last 300 s.
"""

from __future__ import annotations

import math
from collections import deque

from inrush.sim.rivals.crowd import View
from inrush.sim.traces.trace import Trace

SYNC_S, POLL_S, COOLDOWN_S, STABILISE_S = 15.0, 30.0, 300.0, 300.0
TOLERANCE, UP_PODS, UP_FACTOR = 0.1, 4, 2


class Keda:
    """Scales on the inputs that wait or run, with a target equal to the slots and no maximum (the default is 100)."""

    name = "keda-hpa"
    tick_s = SYNC_S
    eager = False
    idle_s: float | None = None

    def __init__(self, trace: Trace) -> None:
        self._target = trace.slots
        self._wishes: deque[tuple[float, int]] = deque()
        self._active_at = 0.0

    def desired(self, view: View) -> int:
        if view.inputs:
            self._active_at = view.now
        if not view.live:
            polled = round(view.now / SYNC_S) % round(POLL_S / SYNC_S) == 0
            return 1 if view.inputs and polled else 0
        if not view.inputs and view.now - self._active_at >= COOLDOWN_S:
            self._wishes.clear()
            return 0
        wish = math.ceil(view.inputs / self._target)
        if abs(view.inputs / (self._target * view.live) - 1) <= TOLERANCE:
            wish = view.live
        self._wishes.append((view.now, wish))
        while self._wishes[0][0] < view.now - STABILISE_S:
            self._wishes.popleft()
        if wish > view.live:
            return min(wish, max(view.live + UP_PODS, view.live * UP_FACTOR))
        return min(view.live, max(1, *(number for _, number in self._wishes)))
