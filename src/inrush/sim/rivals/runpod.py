"""RunPod's two scalers with their defaults: an idle worker goes after 5 s.

Source: docs.runpod.io, serverless endpoint settings. How often it looks is not published; once a second is assumed,
and for QUEUE_DELAY one worker each time, as "adds a worker when a request has waited for more than 4 s" says, but
none for requests for which workers start already.
"""

from __future__ import annotations

import math

from inrush.sim.rivals.crowd import View
from inrush.sim.traces.trace import Trace

CHECK_S, IDLE_S, DELAY_S = 1.0, 5.0, 4.0


class QueueDelay:
    """A worker more while some request has waited for 4 s; from zero at once. No maximum (the default is 3)."""

    name = "runpod-delay"
    tick_s = CHECK_S
    eager = True
    idle_s: float | None = IDLE_S

    def __init__(self, trace: Trace) -> None:
        self._slots = trace.slots

    def desired(self, view: View) -> int:
        if not view.queued:
            return math.ceil(view.running / self._slots)
        waits = view.oldest_s > DELAY_S and view.queued > view.starting * self._slots
        return view.live + (not view.live or waits)


class RequestCount:
    """`ceil((in queue + in progress) / scalerValue)`, the value equal to the slots (the default is 4)."""

    name = "runpod-count"
    tick_s = CHECK_S
    eager = True
    idle_s: float | None = IDLE_S

    def __init__(self, trace: Trace) -> None:
        self._value = trace.slots

    def desired(self, view: View) -> int:
        return math.ceil(view.inputs / self._value)
