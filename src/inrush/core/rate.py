"""How many inputs arrive a second, as it is now: averages over windows of several lengths, of which the right one is
found anew each time.

A long window is steady and late, a short one quick and noisy. So the longest is believed as far as no shorter one
contradicts it (Lepski's rule): going from the longest to the shortest, whenever the estimate is further from a window's
average than that one's noise explains, it moves to within half its noise. A step of 100x shows after a handful of
inputs, and steady traffic is averaged over half a minute. More is asked of a window that says less: a burst that has
just passed may not be the last.

Inputs that come together (a map) are one event: what comes within `batch_s` counts once in the number of events, with
its square in the variance, as in a compound Poisson process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

WINDOWS_S = (0.5, 2.0, 8.0, 32.0)
"""Seconds, the shortest first."""

BATCH_S = 0.02
"""Seconds within which inputs count as come together."""

CERTAIN_UP, CERTAIN_DOWN = 2.5, 4.0
"""Standard deviations from which on a window that says more, or less, is believed."""

STEP_S = 0.001
"""Seconds below which nothing fades: many inputs in a millisecond cost one exponential."""


def _zeros() -> list[float]:
    return [0.0] * len(WINDOWS_S)


@dataclass(slots=True, eq=False)
class Rate:
    """Averages over each window, faded up to `at`."""

    at: float = 0.0
    batch_at: float = -math.inf
    batch: int = 0
    """Inputs that have come since `batch_at`."""
    rates: list[float] = field(default_factory=_zeros)
    squares: list[float] = field(default_factory=_zeros)
    """The sums of squares of what came together, a second."""

    def arrived(self, count: int, now: float) -> None:
        """So many inputs arrived."""
        if now - self.at >= STEP_S:
            self._fade(now)
        if now - self.batch_at > BATCH_S:
            self.batch_at, self.batch = now, 0
        square = count * (2 * self.batch + count)
        self.batch += count
        rates, squares = self.rates, self.squares
        for k, window_s in enumerate(WINDOWS_S):
            rates[k] += count / window_s
            squares[k] += square / window_s

    def now(self, now: float) -> float:
        """Inputs a second."""
        self._fade(now)
        rate = self.rates[-1]
        for k in range(len(WINDOWS_S) - 2, -1, -1):
            noise, seen = self._noise(k), self.rates[k]
            if rate < seen - CERTAIN_UP * noise:
                rate = seen - noise
            elif rate > seen + CERTAIN_DOWN * noise:
                rate = seen + noise
        return rate

    def slope(self) -> float:
        """How much it rises in a second, as far as that is certain; 0 where it does not."""
        rise = self.rates[-2] - self.rates[-1] - 2 * self._noise(-2)
        return max(0.0, rise) / (WINDOWS_S[-1] - WINDOWS_S[-2])

    def _noise(self, k: int) -> float:
        """The standard deviation of a window's average; one input is the least that can be told apart."""
        window_s = WINDOWS_S[k]
        return math.sqrt(max(self.squares[k], 1 / window_s) / (2 * window_s))

    def _fade(self, now: float) -> None:
        passed = now - self.at
        if passed < STEP_S:
            return
        self.at = now
        rates, squares = self.rates, self.squares
        for k, window_s in enumerate(WINDOWS_S):
            left = math.exp(-passed / window_s)
            rates[k] *= left
            squares[k] *= left
