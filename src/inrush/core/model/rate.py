"""How many inputs arrive a second, as it is now, and how that grows: averages over windows of several lengths, of which
the right one is found anew each time, and a line in place of the longest.

A long window is steady and late, a short one quick and noisy. So the longest is believed as far as no shorter one
contradicts it (Lepski's rule): where a shorter window's average is further from a longer one's than its noise explains,
something has changed, and the longer one begins anew from within the noise of the shorter. A step of 100x shows after a
handful of inputs, and steady traffic is averaged over a minute. The shorter a window, the oftener chance alone has a go
at it: more is asked of it. The longest is an average only for as long as the line through what came since the last
change (`trend.py`) is too young to be fitted: so a ramp is followed, and contradicts nothing.

Noise is that of counts: the root of an average has a standard deviation of half the root of 1 / (2 window), whatever
the average is. Inputs that come together (a map) are one event: what comes within `batch_s` counts once in the number
of events, with its square in the variance, as in a compound Poisson process; and what makes such a rate noisier than
one of single inputs is taken off it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from inrush.core.model.gaps import Gaps
from inrush.core.model.trend import Line

WINDOWS_S = (0.5, 2.0, 8.0, 32.0)
"""Lengths of the windows in seconds, the shortest first."""

CERTAIN = (4.5, 4.0, 3.0)
"""For each shorter window: the standard deviations from which on it is believed."""

BATCH_S = 0.02
"""Inputs that arrive within so many seconds count as one batch."""

STEP_S = 0.001
"""Averages fade only in steps of so many seconds, so that many inputs in a millisecond cost one exponential."""


def _zeros() -> list[float]:
    return [0.0] * len(WINDOWS_S)


@dataclass(slots=True, eq=False)
class Rate:
    """Averages over each window, faded up to `at`, and the gaps between inputs."""

    at: float = 0.0
    batch_at: float = -math.inf
    batch: int = 0
    """Inputs that arrived since `batch_at`."""
    rates: list[float] = field(default_factory=_zeros)
    squares: list[float] = field(default_factory=_zeros)
    """For each window: the sum of squared batch sizes per second."""
    gaps: Gaps = field(default_factory=Gaps)
    line: Line = field(default_factory=Line)
    """The line through what arrived since the last change."""

    def arrived(self, count: int, now: float) -> None:
        """Counts inputs that arrived at this time."""
        if now - self.at >= STEP_S:
            self._fade(now)
        if now - self.batch_at > BATCH_S:
            if self.batch:
                self.gaps.seen(now - self.batch_at)
            self.batch_at, self.batch = now, 0
        square = count * (2 * self.batch + count)
        self.batch += count
        rates, squares = self.rates, self.squares
        for k, window_s in enumerate(WINDOWS_S):
            rates[k] += count / window_s
            squares[k] += square / window_s
        self.line.arrived(count, square)

    def now(self, now: float) -> tuple[float, float]:
        """Inputs per second, and by how many per second that grows."""
        self._fade(now)
        rates, line, last = self.rates, self.line, len(WINDOWS_S) - 1
        level, slope = (rates[last], 0.0) if line.is_young else line.fit()
        for k in range(len(CERTAIN) - 1, -1, -1):
            root, noise = math.sqrt(rates[k]), self._noise(k)
            least = max(0.0, root - CERTAIN[k] * noise) ** 2
            most = (root + CERTAIN[k] * noise) ** 2
            for longer in range(k + 1, last):
                if not least <= rates[longer] <= most:
                    self._begin_anew(longer, _towards(rates[longer], root, noise))
            expected = max(0.0, level - slope * WINDOWS_S[k])  # over this window, which is late by its length
            if not least <= expected <= most:
                level, slope = _towards(expected, root, noise), 0.0
                self._begin_anew(last, level)
                line.begin()
        return max(0.0, level - (self._doubt() if line.is_young else line.doubt())), slope

    def _noise(self, k: int) -> float:
        """The standard deviation of the square root of a window's average."""
        rate = self.rates[k]
        together = max(1.0, self.squares[k] / rate) if rate else 1.0
        return 0.5 * math.sqrt(together / (2 * WINDOWS_S[k]))

    def _begin_anew(self, k: int, rate: float) -> None:
        before = self.rates[k]
        self.squares[k] = self.squares[k] * rate / before if before else rate
        self.rates[k] = rate

    def _doubt(self) -> float:
        """By how much batches make the longest window noisier than inputs that arrive one by one."""
        twice_s = 2 * WINDOWS_S[-1]
        return max(0.0, math.sqrt(self.squares[-1] / twice_s) - math.sqrt(self.rates[-1] / twice_s))

    def _fade(self, now: float) -> None:
        passed = now - self.at
        if passed < STEP_S:
            return
        self.at = now
        self.line.fade(now)
        rates, squares = self.rates, self.squares
        for k, window_s in enumerate(WINDOWS_S):
            left = math.exp(-passed / window_s)
            rates[k] *= left
            squares[k] *= left


def _towards(before: float, root: float, noise: float) -> float:
    """The rate nearest to `before` that lies within the noise of a shorter window."""
    return max(0.0, root - noise if before < root * root else root + noise) ** 2
