"""The straight line through what arrived since traffic last changed: how many inputs a second now, and how that grows.

An average is late by its own length: on a ramp it says too little all the way up and too much all the way down, and a
start from now things will be further still. A line is not. It is fitted by least squares, with weights that fade by e
in each `FADE_S`, so that the present counts most; what chance alone may bring about is taken off its slope (soft
thresholding), so that steady traffic has hardly any.

With x the time before now (negative), w = e^(x / FADE_S), W0, W1, W2 the integrals of w, w·x and w·x² since the change,
and N0, N1 the sums of w and w·x over the inputs:

    slope = (W0·N1 - W1·N0) / (W0·W2 - W1²)        level = (N0 - slope·W1) / W0

Each input adds w·(W0·x - W1) to the numerator, so its variance is that, squared, times the rate, integrated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FADE_S = 64.0
"""The seconds in which the weight of what arrived falls by a factor of e."""

YOUNG_S = 8.0
"""For so many seconds after a change there is no line, since a few inputs can point anywhere."""

CERTAIN = 1.2
"""Standard deviations that are subtracted from a slope."""


@dataclass(slots=True, eq=False)
class Line:
    """The weighted sums that the line is fitted from, as of `at`."""

    since: float = 0.0
    """When traffic last changed."""
    at: float = 0.0
    count: float = 0.0
    """N0 of the formula above."""
    moment: float = 0.0
    """N1 of the formula above."""
    square: float = 0.0
    """As `count`, but a batch counts with the square of its size; it estimates the variance of `count`."""

    @property
    def is_young(self) -> bool:
        """Whether there is too little to fit a line to."""
        return self.at - self.since < YOUNG_S

    def begin(self) -> None:
        """Starts over, because traffic has changed."""
        self.since, self.count, self.moment, self.square = self.at, 0.0, 0.0, 0.0

    def arrived(self, count: int, square: float) -> None:
        """Adds inputs that arrived at this time."""
        self.count += count
        self.square += square

    def fade(self, now: float) -> None:
        """Lets the sums fade up to `now`."""
        passed = now - self.at
        left = math.exp(-passed / FADE_S)
        self.at = now
        self.moment = (self.moment - passed * self.count) * left
        self.count *= left
        self.square *= left

    def fit(self) -> tuple[float, float]:
        """Inputs per second now, and by how many per second that grows."""
        w0, w1, w2 = _integrals(self.at - self.since, FADE_S)
        spread = w0 * w2 - w1 * w1
        slope = (w0 * self.moment - w1 * self.count) / spread
        v0, v1, v2 = _integrals(self.at - self.since, FADE_S / 2)  # of w², which fades twice as fast
        variance = self.square / w0 * (w0 * w0 * v2 - 2 * w0 * w1 * v1 + w1 * w1 * v0)
        slope = math.copysign(max(0.0, abs(slope) - CERTAIN * math.sqrt(variance) / spread), slope)
        return max(0.0, (self.count - slope * w1) / w0), slope

    def doubt(self) -> float:
        """By how much batches make the level noisier than inputs that arrive one by one."""
        weight = _integrals(self.at - self.since, FADE_S)[0] * 2 * FADE_S
        return max(0.0, math.sqrt(self.square / weight) - math.sqrt(self.count / weight))


def _integrals(age_s: float, fade_s: float) -> tuple[float, float, float]:
    """The integrals of e^(x / fade), of that times x and of that times x², from -age to 0."""
    ages = age_s / fade_s
    left = math.exp(-ages)
    return (
        fade_s * (1 - left),
        -(fade_s**2) * (1 - left * (1 + ages)),
        fade_s**3 * (2 - left * (2 + 2 * ages + ages * ages)),
    )
