"""All constants of scaling, each with its unit and its reason; `docs/scaling.md` has the formulas.

One setting serves every function, because what differs between functions (how long a start and an input take, how many
arrive) is measured. `Cluster(seed, tuning=Tuning(...))` runs with other constants, which is how the simulator searches
for better ones.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """The constants of one Cluster. They never change, so the same events with the same tuning give the same
    decisions."""

    horizon_min_s: float = 0.25
    """Seconds. A queue that drains within this time and the time of one start is no reason for another container."""

    horizon_starts: float = 0.43
    """Starts. The horizon grows by so many measured starts, since inputs that would be served before a new container is
    ready deserve none. It is below 1 because those that wait have waited for a start already."""

    horizon_short_s: float = 0.4
    """Seconds. A start counts in full up to this length. A short start is soon over, and so is the wait that it spares,
    while a container that comes late is paid for in vain."""

    patience_starts: float = 0.1
    """Starts. Inputs that arrive within this part of a start may wait as long, since such a queue is noise and gone
    before a start ends."""

    patience_s: float = 1.0
    """Seconds. Inputs are never let wait longer than this for the sake of `patience_starts`."""

    first_starts: int = 2
    """Containers that are started at once for a function of which nothing is known; the second hides a slow or failing
    first one."""

    growth: float = 2.0
    """Factor by which containers are multiplied while the service time is unknown and nothing that runs has ended."""

    stall_factor: float = 2.0
    """Factor. An estimate is dropped when no input has ended for so many service times and one horizon."""

    dear_start_s: float = 0.1
    """Seconds. For a start that takes longer than this, learning by starting a few containers first would cost callers
    too much."""

    guess_s: float = 11.0
    """Seconds. While only a start of such a function has been seen, its inputs are assumed to last as long as the
    start. Above this length the guess counts only in part, because the length of a start says less and less about
    inputs."""

    gap_price: float = 2.0
    """Container seconds that one second of a caller is worth, when the observed gaps decide how long the last idle
    container stays."""

    gap_least: int = 8
    """Gaps. With fewer observed, the last container is kept as for the worst possible gaps (ski rental)."""

    keep_ratio: float = 20.0
    """Starts. With too few gaps observed, the last idle container is kept for so many times the length of its start."""

    keep_min_s: float = 1.0
    """Seconds. However cheap a start is, the last idle container stays this long, up to `scaledown_window_s`."""

    keep_more_ratio: float = 0.25
    """Starts. An idle container of several that arrivals do not need stays for so many starts."""

    keep_more_min_s: float = 0.1
    """Seconds. However cheap a start is, an idle container of several stays this long."""

    chance_deviations: float = 0.5
    """Standard deviations. Containers up to so far above the wanted number may soon be wanted again by chance."""

    chance_least: float = 0.4
    """Containers. An idle container counts as left over from a burst when it is above the reach of chance by more than
    this."""

    keep_far_ratio: float = 0.03
    """Starts. An idle container that is left over from a burst stays only for so many starts."""

    unwanted_starts: float = 0.75
    """Starts. A container that has been starting for this part of a start is not called off, because it is almost
    ready."""

    spare_price_s: float = 1.3
    """Seconds. With a start of this length, one container too many costs as much as one too few. Spare containers cover
    the part start / (start + this) of what may arrive during the next start (the newsvendor's rule)."""

    spare_drain: float = 1.4
    """Inputs per second. Spare containers never drain a queue faster than this: with d inputs per second to spare, the
    chance of a wait falls by e in each s / d seconds, however many arrive."""

    trend_fade_s: float = 25.0
    """Seconds. The belief that arrivals go on growing falls by e in this time (a damped trend, as in Gardner and
    McKenzie, "Forecasting Trends in Time Series", Management Science 1985)."""

    cpu_mostly: float = 0.5
    """Cores. A container that uses this much while it serves mostly computes, and more of them than a node has
    processors for are of no use."""

    cpu_slack: float = 1.25
    """Factor. So much of a node's processors is given out, since containers pause between inputs."""

    starts_cpu_s: float = 0.5
    """Seconds. The starts of a function under way may need so much of each core, so that a start that computes is not
    made much longer by the others."""

    unseen_s: float = 0.15
    """Seconds. A new function gets no more containers than there are cores until a node has seen what they use, or for
    this long."""

    crowd_patience_s: float = 10.0
    """Seconds. When nothing has ended for so long, one container more is started even where the processors are busy."""

    crowd_most: float = 1.5
    """Factor. With more containers than so many times those that the processors serve, the others are drained."""

    round_up: float = 0.3
    """Part of a container. It is added before rounding down, so that a container is started ahead of its inputs from
    0.7 on."""

    start_weight: float = 0.3
    """Weight of the latest start in the average. Starts are few, and a new image shows within three of them."""

    service_weight: float = 0.004
    """Weight of the latest input in the average of service times, once there have been enough. With heavy tails, an
    average over fewer inputs would start and stop containers by chance."""

    service_recent: float = 3.0
    """Until there have been enough inputs, the latest counts with this number over their count, so that the first to
    end, the short ones, count for less."""

    review_min_s: float = 0.02
    """Seconds. While inputs wait, a function is reviewed no sooner than this."""

    review_max_s: float = 1.0
    """Seconds. While inputs wait, a function is reviewed at least this often."""

    review_share: float = 0.125
    """Part of its horizon after which a function whose inputs wait is reviewed again."""

    refused_review_s: float = 0.25
    """Seconds. A function without a place is reviewed no more often than this; room that comes free is offered to it
    anyway."""

    burst_review_s: float = 0.02
    """Seconds after which scaling reviews a function whose inputs went above the target."""


TUNING = Tuning()
"""The constants that a Cluster uses unless it is given others."""
