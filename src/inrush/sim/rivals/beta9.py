"""beta9's (Beam's) autoscaler with its defaults: once a second, `ceil(tasks in flight / tasks per container)`. A
container stays warm after its last request for 180 s if it is of an endpoint, and for 10 s if of a task queue.

Source: beam-cloud/beta9, pkg/abstractions/common/autoscaler.go (sampleRate), pkg/abstractions/endpoint/autoscaler.go
and instance.go (what is kept warm is not stopped), and its Python SDK (keep_warm_seconds).
"""

from __future__ import annotations

import math

from inrush.sim.rivals.crowd import View
from inrush.sim.traces.trace import Trace

SAMPLE_S, ENDPOINT_S, QUEUE_S = 1.0, 180.0, 10.0


class Beta9Endpoint:
    """`tasks_per_container` equal to the slots, no maximum (the default is 1)."""

    name = "beta9-endpoint"
    tick_s = SAMPLE_S
    eager = False
    idle_s: float | None = ENDPOINT_S

    def __init__(self, trace: Trace) -> None:
        self._tasks = trace.slots

    def desired(self, view: View) -> int:
        return math.ceil(view.inputs / self._tasks)


class Beta9Queue(Beta9Endpoint):
    """The policy of a task queue, which keeps containers warm for 10 s."""

    name = "beta9-queue"
    idle_s: float | None = QUEUE_S
