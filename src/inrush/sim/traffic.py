"""When calls arrive: rates that step or ramp, days, bursts, and what was recorded.

A rate over time is made of pieces on which it is constant or changes evenly. The calls expected up to a time are then
a sum of trapezoids, and the n-th call comes where that sum reaches n (evenly), or n independent gaps of mean 1 (as
calls that do not know of each other do). One pass over the pieces tells all of them in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import merge
from typing import NamedTuple

from inrush.errors import InvalidError
from inrush.sim.chance import exponential
from inrush.sim.recorded import Durations, recorded
from inrush.sim.section import Section

DAY_PIECES = 48
"""Straight pieces of which a day's curve is made."""


class Arrival(NamedTuple):
    """A call: when, and how long each of its inputs runs where that is known."""

    at: float
    service_s: float | None = None


class Piece(NamedTuple):
    """From `start` to `end` the rate goes evenly from `first` to `last` calls a second."""

    start: float
    end: float
    first: float
    last: float

    @property
    def calls(self) -> float:
        """Expected within the piece."""
        return (self.end - self.start) * (self.first + self.last) / 2

    def after(self, calls: float) -> float:
        """When so many of them have come."""
        bend = (self.last - self.first) / (self.end - self.start)
        if bend == 0:
            return self.start + calls / self.first
        root = math.sqrt(max(0.0, self.first * self.first + 2 * bend * calls))
        return self.start + 2 * calls / (self.first + root)


class Day(Section, frozen=True):
    """Calls a second over a day (or whatever `period_s` is): least at its begin, most in its middle."""

    low: float
    high: float
    period_s: float = 86_400.0


class Traffic(Section, frozen=True):
    """All that is given adds up. `rates` are (from when on, calls a second): a step is two of them, a spike three; with
    `ramp` the rate changes evenly from one to the next. `bursts` are (when, how many calls). `trace` is the path
    of a CSV of arrivals, played `speed` times as fast."""

    rates: tuple[tuple[float, float], ...] = ()
    ramp: bool = False
    day: Day | None = None
    until_s: float = math.inf
    poisson: bool = True
    bursts: tuple[tuple[float, int], ...] = ()
    trace: str = ""
    speed: float = 1.0
    durations: Durations = Durations()
    """How long a call of the trace runs, where the trace does not say it outright."""

    def arrivals(self, seed: int, name: str) -> Iterator[Arrival]:
        """Calls, in order. Raises `InvalidError` for a trace that cannot be read, or a rate without an end."""
        if math.isinf(self.until_s) and (self.rates or self.day):
            raise InvalidError(f"the traffic of {name} has a rate but no until_s: it would never end")
        sources: list[Iterator[Arrival]] = []
        if self.rates:
            sources.append(_random(self._stepped(), seed, f"{name}:rates", self.poisson))
        if self.day is not None:
            sources.append(_random(self._daily(self.day), seed, f"{name}:day", self.poisson))
        sources += [iter([Arrival(at)] * count) for at, count in self.bursts]
        if self.trace:
            sources.append(self._recorded())
        return sources[0] if len(sources) == 1 else merge(*sources, key=lambda arrival: arrival.at)

    def _recorded(self) -> Iterator[Arrival]:
        for at, service_s in recorded(self.trace, self.durations):
            if at / self.speed >= self.until_s:
                return
            yield Arrival(at / self.speed, service_s)

    def _stepped(self) -> list[Piece]:
        ends = [*(start for start, _ in self.rates[1:]), self.until_s]
        lasts = [rate for _, rate in self.rates[1:]] + [rate for _, rate in self.rates[-1:]]
        return [
            Piece(start, min(end, self.until_s), rate, last if self.ramp else rate)
            for (start, rate), end, last in zip(self.rates, ends, lasts, strict=True)
            if min(end, self.until_s) > start
        ]

    def _daily(self, day: Day) -> list[Piece]:
        step = day.period_s / DAY_PIECES
        rates = [
            day.low + (day.high - day.low) * (1 - math.cos(2 * math.pi * k / DAY_PIECES)) / 2 for k in range(DAY_PIECES)
        ]
        count = math.ceil(self.until_s / step)
        return [
            Piece(k * step, (k + 1) * step, rates[k % DAY_PIECES], rates[(k + 1) % DAY_PIECES]) for k in range(count)
        ]


def _random(pieces: list[Piece], seed: int, name: str, poisson: bool) -> Iterator[Arrival]:
    """Calls of a rate over time."""
    count, passed = 0, 0.0
    due = exponential(seed, f"gap:{name}:0") if poisson else 1.0
    for piece in pieces:
        calls = piece.calls
        while due < passed + calls:
            yield Arrival(piece.after(due - passed))
            count += 1
            due += exponential(seed, f"gap:{name}:{count}") if poisson else 1.0
        passed += calls
