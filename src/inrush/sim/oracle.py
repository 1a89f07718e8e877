"""A policy that knows the future: what the least of container time is for the delay that a policy gave its callers.

It knows when every input arrives and how long it runs, lets none wait for longer than D, and is never surprised by a
start: a container is ordered so early that it is ready when it is needed. An input goes to the container that is free
last within its patience, so that containers run without a gap as far as that is possible; a gap is paid, or a start
where that is cheaper. Slots are counted by themselves, as if the containers of a trace were always full. So it is a
hard bound: the cheapest plan for several D up to the p99 that it is compared at.

It gives every input its patience, not only 99 of 100, and takes inputs in their order; the work alone, which no policy
undercuts, is what the cells of the table are shares of.
"""

from __future__ import annotations

from bisect import bisect_right, insort

from inrush.sim.traces.trace import Request, Trace

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Parts of the allowed delay that are tried."""

LATE = (0.0, 0.5, 1.0)
"""Parts of an input's patience after which a container that is started for it becomes ready."""


def work_s(trace: Trace, requests: list[Request]) -> float:
    """Container seconds of the inputs alone, with all slots full."""
    return sum(request.service_s for request in requests) / trace.slots


def oracle_s(trace: Trace, requests: list[Request], p99_s: float) -> float:
    """Container seconds that the oracle pays if no input waits longer than `p99_s`."""
    plans = [(p99_s * share, p99_s * share * late) for share in SHARES for late in LATE]
    return min(_paid_s(requests, trace.start_s, patience_s, late_s) for patience_s, late_s in plans) / trace.slots


def _paid_s(requests: list[Request], start_s: float, patience_s: float, late_s: float) -> float:
    free_at: list[float] = []
    paid = 0.0
    for request in requests:
        latest = request.at + patience_s
        k = bisect_right(free_at, latest)
        if k:
            free = free_at.pop(k - 1)
            begin = max(free, request.at)
            paid += min(begin - free, start_s)
        else:
            begin = request.at + late_s
            paid += start_s
        paid += request.service_s
        insort(free_at, begin + request.service_s)
    return paid
