"""What the core measures of a function, and what it last decided about the number of its containers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from inrush.core.model.rate import Rate
from inrush.core.model.tuning import TUNING, Tuning
from inrush.wire import ScalePolicy

PAUSE_KEPT = 0.99
"""What is left of the longest pause at each report of ends: half of it after 69."""

UNBOUNDED = 10**9
"""More containers than there can ever be."""


class Decision(NamedTuple):
    """How many containers are `wanted`, and how many serve or start already; `why` is a sentence for people."""

    wanted: int
    have: int
    why: str
    held_back: str = ""
    """Why more containers would be of no use although inputs wait for them."""


class Memo(NamedTuple):
    """What one decision tells the next while the service time is unknown: at how many ready containers it last doubled,
    and to how many."""

    doubled_at: int = 0
    doubled_to: int = 0


@dataclass(slots=True, eq=False)
class Measured:
    """Measurements of a function; None stands for what is not known yet."""

    start_s: float | None = None
    service_s: float | None = None
    served_count: int = 0
    progress_at: float = 0.0
    """When an attempt last ended, a container last became ready, or the first input after a pause was dispatched."""
    pause_s: float = 0.0
    """The longest time of late in which a container that had inputs ended none and ran none, fading."""
    use: float | None = None
    """The cores that a container would keep busy on an idle machine while it serves."""
    start_use: float | None = None
    """The same while it starts."""
    start_cpu_s: float = 0.0
    """The seconds of a core that a start takes, as far as was seen."""
    arrivals: Rate = field(default_factory=Rate)
    tuning: Tuning = TUNING

    def started(self, seconds: float, now: float) -> None:
        """Learns from a container that became ready `seconds` after it was placed."""
        weight = self.tuning.start_weight
        self.start_s = seconds if self.start_s is None else self.start_s + weight * (seconds - self.start_s)
        self.start_cpu_s = min(self.start_cpu_s, seconds)  # a start from a template needs less than the first
        self.progress_at = now

    def served(self, seconds: float, count: int, now: float) -> None:
        """Learns from `count` attempts that ended and took `seconds` each on average."""
        self.served_count += count
        each = max(self.tuning.service_weight, min(1.0, self.tuning.service_recent / self.served_count))
        weight = each if count == 1 else 1.0 - (1.0 - each) ** min(count, 64)
        self.service_s = seconds if self.service_s is None else self.service_s + weight * (seconds - self.service_s)
        self.progress_at = now

    def at_once(self, cores: float) -> int:
        """How many containers so many cores can serve. The less of a core each of them uses, the less that bounds
        them."""
        if not self.use:
            return UNBOUNDED
        waits = max(1.0, self.tuning.cpu_mostly / self.use)
        return max(1, int(min(UNBOUNDED, self.tuning.cpu_slack * cores / self.use * waits * waits)))

    def paused(self, seconds: float) -> None:
        """Learns that a container that had inputs spent `seconds` on something else between two ends."""
        self.pause_s = max(seconds, self.pause_s * PAUSE_KEPT)


def target_of(policy: ScalePolicy) -> int:
    """The inputs at once in one container that scaling aims at."""
    slots = slots_of(policy)
    return min(slots, max(1, policy.target_inputs or slots))


def slots_of(policy: ScalePolicy) -> int:
    """The most inputs at once in one container."""
    return 1 if policy.single_use else max(1, policy.max_inputs)
