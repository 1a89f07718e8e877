"""A trace: the same requests for every policy, determined by its name and a seed."""

from __future__ import annotations

import math
from typing import NamedTuple

from inrush.sim.chance import around, uniform
from inrush.sim.section import Section
from inrush.sim.traffic import Traffic


class Request(NamedTuple):
    """One input: when it arrives, and for how long a container will run it."""

    at: float
    service_s: float


class Trace(Section, frozen=True):
    """Traffic for one function, and the lengths of its inputs and starts."""

    name: str
    about: str
    traffic: Traffic
    start_s: float
    """The mean length of a start; the draws are log-normal."""
    service_s: float = 1.0
    service_spread: float = 0.3
    """The standard deviation of the logarithm of the service time."""
    tail: float = 0.0
    """If above 1, service times are Pareto with this exponent instead, cut at 100 times the mean."""
    start_spread: float = 0.1
    slots: int = 1
    """Inputs that a container runs at once."""

    cores: int = 0
    """The cores that all containers share; 0 for as many as they like."""
    start_cpu: float = 0.0
    """The part of a start that computes, where cores are shared."""
    service_cpu: float = 0.0
    """The part of an input that computes."""

    def requests(self, seed: int) -> list[Request]:
        """All inputs, in order of arrival."""
        arrivals = self.traffic.arrivals(seed, self.name)
        return [
            Request(arrival.at, self._service(seed, number) if arrival.service_s is None else arrival.service_s)
            for number, arrival in enumerate(arrivals)
        ]

    def start_of(self, seed: int, number: int) -> float:
        """How long the `number`-th start takes, whichever policy asks for it."""
        return around(self.start_s, self.start_spread, seed, "start", self.name, number)

    def _service(self, seed: int, number: int) -> float:
        if self.tail <= 1:
            return around(self.service_s, self.service_spread, seed, "service", self.name, number)
        least = self.service_s * (self.tail - 1) / self.tail
        drawn = least / (1 - uniform(seed, "service", self.name, number)) ** (1 / self.tail)
        return float(min(drawn, 100 * self.service_s))


def percentile(ascending: list[float], percent: float) -> float:
    """Nearest rank; 0 where there is nothing."""
    if not ascending:
        return 0.0
    return ascending[max(0, math.ceil(len(ascending) * percent / 100) - 1)]
