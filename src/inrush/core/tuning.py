"""The constants of scaling, all in one place, each with its unit and its reason; `docs/scaling.md` has the formulas.

One setting is meant to serve every function: what differs from function to function (how long a start and an input
take, how many arrive) is measured. `Cluster(seed, tuning=Tuning(...))` runs with another, which is how a better one is
searched for in the simulator.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """Frozen: a Cluster has one for life, and the same events with the same tuning give the same decisions."""

    horizon_min_s: float = 0.25
    """Seconds. A queue that drains within this time, and the time of one start, is no reason for another container."""

    horizon_starts: float = 1.0
    """Starts. The horizon grows with so many measured starts: what would be drained before a new container is there
    deserves none."""

    first_starts: int = 2
    """Containers started at once for a function of which nothing is known: the second hides a slow or failing first."""

    growth: float = 2.0
    """Factor. While the service time is unknown and all that runs keeps silent, containers are multiplied by it."""

    stall_factor: float = 2.0
    """Factor. No result for so many service times and a horizon means that the estimate is no longer true."""

    keep_ratio: float = 20.0
    """Container seconds for one of a caller: an idle container stays for so many times its start (ski rental)."""

    keep_min_s: float = 2.0
    """Seconds. However cheap a start is, an idle container stays for this long (never past `scaledown_window_s`)."""

    concurrency_tau_s: float = 1.0
    """Seconds over which the inputs that run at once are averaged: long against an input, short against a wave."""

    start_weight: float = 0.3
    """Weight of the latest start in the average of starts: they are few, and a new image shows within three."""

    service_weight: float = 0.2
    """Weight of the latest input in the average of service times."""

    burst_short_s: float = 1.0
    """Seconds of the short window of arrivals: a spike shows within about a second."""

    burst_long_s: float = 60.0
    """Seconds of the long window: what is usual now."""

    burst_factor: float = 4.0
    """The short rate over the long one from which on it is a burst; random arrivals seldom come to 4 in a second."""

    burst_least: float = 8.0
    """Inputs within the short window below which nothing is a burst: three calls after a pause are not."""

    burst_ahead: float = 1.0
    """Starts. In a burst, containers are wanted also for what will arrive within so many starts, but never for more
    than waits and runs already: a wave that has passed leaves at most twice too many."""

    review_min_s: float = 0.02
    """Seconds. While inputs wait, a function is looked at again no sooner than this,"""

    review_max_s: float = 1.0
    """and no later than this."""

    review_share: float = 0.125
    """Share of its horizon after which a function whose inputs wait is looked at again."""

    refused_review_s: float = 0.25
    """Seconds. A function without a place is looked at no more often; room that comes free is offered to it anyway."""

    burst_review_s: float = 0.05
    """Seconds after which scaling looks again when inputs went above the target."""


TUNING = Tuning()
"""The one that is used unless another is given."""
