"""beta9's (Beam's) autoscaler of endpoints with its defaults: once a second, `ceil(tasks in flight / tasks per
container)`, and a container that served stays warm for 180 s after its last request.

Source: beam-cloud/beta9, pkg/abstractions/common/autoscaler.go (sampleRate), pkg/abstractions/endpoint/autoscaler.go
and instance.go (what is kept warm is not stopped), and its Python SDK (keep_warm_seconds).
"""

from __future__ import annotations

import math

from inrush.sim.rivals.crowd import View
from inrush.sim.traces.trace import Trace

SAMPLE_S, KEEP_WARM_S = 1.0, 180.0


class Beta9:
    """`tasks_per_container` equal to the slots, no maximum (the default is 1)."""

    name, tick_s, eager, idle_s = "beta9", SAMPLE_S, False, KEEP_WARM_S

    def __init__(self, trace: Trace) -> None:
        self._tasks = trace.slots

    def desired(self, view: View) -> int:
        return math.ceil(view.inputs / self._tasks)
