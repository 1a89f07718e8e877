"""Ray Serve's autoscaler with its defaults: a loop each 0.1 s, ongoing requests averaged over 30 s, 30 s of agreement
before it goes up, 600 s before it goes down.

Source: ray-project/ray, python/ray/serve: autoscaling_policy.py and config.py (upscale and downscale smoothing 1.0,
`downscale_to_zero_delay_s` unset: 600 s too). From zero it goes up at once.
"""

from __future__ import annotations

import math
from collections import deque

from inrush.sim.rivals.crowd import View
from inrush.sim.traces.trace import Trace

LOOK_BACK_S, UP_S, DOWN_S, LOOP_S = 30.0, 30.0, 600.0, 0.1


class RayServe:
    """With `target_ongoing_requests` equal to the slots (the default is 2), `min_replicas` 0 and no maximum."""

    name = "ray-serve"
    tick_s = LOOP_S
    eager = False
    idle_s: float | None = None

    def __init__(self, trace: Trace) -> None:
        self._target = trace.slots
        self._seen: deque[tuple[float, float]] = deque([(0.0, 0.0)])
        self._sign, self._loops = 0, 0
        self._wanted = 0

    def desired(self, view: View) -> int:
        self._seen.append((view.now, view.demand_s))
        while self._seen[1][0] <= view.now - LOOK_BACK_S:
            self._seen.popleft()
        if self._wanted == 0:
            self._wanted = max(1, math.ceil(view.inputs / self._target)) if view.inputs else 0
            return self._wanted
        since, demand_s = self._seen[0]
        average = (view.demand_s - demand_s) / (view.now - since) if view.now > since else float(view.inputs)
        self._decide(math.ceil(round(average / self._target, 6)))
        return self._wanted

    def _decide(self, raw: int) -> None:
        """Changes the number only to what was wanted without a break for long enough."""
        sign = (raw > self._wanted) - (raw < self._wanted)
        self._loops = self._loops + 1 if sign == self._sign else 1
        self._sign = sign
        if sign > 0 and self._loops > UP_S / LOOP_S:
            self._wanted, self._loops = raw, 0
        elif sign < 0 and self._loops > DOWN_S / LOOP_S:
            self._wanted, self._loops = max(raw, 1 if self._wanted > 1 else 0), 0
