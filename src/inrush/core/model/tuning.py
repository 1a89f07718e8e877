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

    horizon_starts: float = 0.43
    """Starts. The horizon grows with so many measured starts: what would be drained before a new container is there
    deserves none. Below 1, for those that wait have waited for a start already;"""

    horizon_short_s: float = 0.4
    """seconds: but with a whole start up to here. A start of a second is soon over, and so is the wait that it spares,
    while a container that is late by as much has been paid for nothing."""

    patience_starts: float = 0.1
    """Starts. What arrives within so much of one may wait as long: such a queue is noise, and gone before a start
    ends,"""

    patience_s: float = 1.0
    """seconds: and no longer than this."""

    first_starts: int = 2
    """Containers started at once for a function of which nothing is known: the second hides a slow or failing first."""

    growth: float = 2.0
    """Factor. While the service time is unknown and all that runs keeps silent, containers are multiplied by it."""

    stall_factor: float = 2.0
    """Factor. No result for so many service times and a horizon means that the estimate is no longer true."""

    dear_start_s: float = 0.1
    """Seconds. A start that takes longer is no fork: to learn by starting a few first would cost callers more."""

    guess_s: float = 11.0
    """Seconds. While only a start of such a function has been seen, its inputs are taken to last as long as that; but
    from this length on only in part, for how dear a start is says ever less of an input."""

    gap_price: float = 2.0
    """Container seconds for one of a caller: what the start that a last idle container spares is worth, by the gaps
    seen between inputs."""

    gap_least: int = 8
    """Gaps. With fewer seen, the last one is kept as for the worst of them (ski rental),"""

    keep_ratio: float = 20.0
    """starts: for so many times what its own took."""

    keep_min_s: float = 1.0
    """Seconds. However cheap a start is, the last one stays for this long (never past `scaledown_window_s`)."""

    keep_more_ratio: float = 0.25
    """Starts. An idle container of several, not wanted for what arrives, stays for so long."""

    keep_more_min_s: float = 0.1
    """Seconds. However cheap a start is, it stays for this long."""

    chance_deviations: float = 0.5
    """Standard deviations of what is wanted. So far above it a container may soon be wanted again by chance. What
    starts beyond that is called off where nothing waits, and what is idle"""

    chance_least: float = 0.4
    """and above it by so many containers more"""

    keep_far_ratio: float = 0.03
    """stays for so many starts only: it is left over from a burst."""

    unwanted_starts: float = 0.75
    """Starts. What has been starting for so long is not called off, for it is as good as there."""

    spare_price_s: float = 1.3
    """Seconds. One container too many costs as much as one too few when a start takes so long: containers to spare are
    there for the part start / (start + this) of what the next start may bring (the newsvendor's rule),"""

    spare_drain: float = 1.4
    """inputs a second: and never more than with which a queue drains by so many, for with d to spare the chance to wait
    falls by e in each s / d seconds, however many arrive."""

    trend_fade_s: float = 25.0
    """Seconds. That arrivals go on growing as they do is believed less and less, by e in each of these (a damped trend,
    as in Gardner and McKenzie, "Forecasting Trends in Time Series", Management Science 1985)."""

    round_up: float = 0.3
    """What is added before parts of a container are dropped: a whole one is started ahead of its inputs from 0.7 on."""

    start_weight: float = 0.3
    """Weight of the latest start in the average of starts: they are few, and a new image shows within three."""

    service_weight: float = 0.004
    """Weight of the latest input in the average of service times, once there have been enough: with heavy tails an
    average of fewer has containers come and go by chance; before,"""

    service_recent: float = 3.0
    """so many over their number: all count, the first to end, which are the short ones, for less."""

    review_min_s: float = 0.02
    """Seconds. While inputs wait, a function is looked at again no sooner than this,"""

    review_max_s: float = 1.0
    """and no later than this."""

    review_share: float = 0.125
    """Share of its horizon after which a function whose inputs wait is looked at again."""

    refused_review_s: float = 0.25
    """Seconds. A function without a place is looked at no more often; room that comes free is offered to it anyway."""

    burst_review_s: float = 0.02
    """Seconds after which scaling looks again when inputs went above the target."""


TUNING = Tuning()
"""The one that is used unless another is given."""
