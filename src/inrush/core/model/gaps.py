"""How long to keep the last idle container, by the pauses seen between inputs.

Keeping costs container time, letting go costs the next caller a start; with the pauses of the past at hand the best
time to wait is looked up, not bounded: the one for which the pauses seen would have cost least together. That is a
histogram of pauses in powers of two (as in Shahrad et al., "Serverless in the Wild", ATC 2020), which forgets slowly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

SHORTEST_S = 0.25
"""The first bucket holds all shorter gaps; each further bucket reaches twice as far as the one before."""

BUCKETS = 14
COUNTS_MAX = 4096
"""All counts are halved when they add up to this."""


def _zeros() -> list[float]:
    return [0.0] * BUCKETS


@dataclass(slots=True, eq=False)
class Gaps:
    """A histogram of the gaps between inputs, or between maps."""

    total: float = 0.0
    counts: list[float] = field(default_factory=_zeros)
    sums_s: list[float] = field(default_factory=_zeros)

    def seen(self, gap_s: float) -> None:
        """Counts a gap of so many seconds."""
        k = 0 if gap_s < SHORTEST_S else min(BUCKETS - 1, 1 + int(math.log2(gap_s / SHORTEST_S)))
        self.counts[k] += 1
        self.sums_s[k] += gap_s
        self.total += 1
        if self.total >= COUNTS_MAX:
            self.total /= 2
            self.counts = [count / 2 for count in self.counts]
            self.sums_s = [gaps_s / 2 for gaps_s in self.sums_s]

    def keep_s(self, price_s: float, service_s: float, most_s: float) -> float:
        """How long to keep the last idle container, at most `most_s`: the time that would have cost least, when an
        input takes `service_s` of each gap and a start costs a caller as much as `price_s` of a container."""
        best_s, least, waited, later = 0.0, price_s * self.total, 0.0, self.total
        for k in range(BUCKETS):
            if self.counts[k]:
                waited += max(0.0, self.sums_s[k] - self.counts[k] * service_s)
                later -= self.counts[k]
            edge_s = SHORTEST_S * 2.0**k
            cost = waited + later * (price_s + edge_s)
            if cost < least:
                best_s, least = edge_s, cost
            if edge_s >= most_s:
                break
        return min(best_s, most_s)
