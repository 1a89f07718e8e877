"""What a simulation counts, and the report made of it."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Any

import msgspec

from inrush.core import effects


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a simulation. All but `wall_s` is told by scenario and seed alone."""

    scenario: str
    seed: int
    decisions_digest: str
    """Of every effect of every step, with its time: two runs decided alike if and only if theirs are equal."""
    decisions: int
    calls: int
    inputs: int
    calls_lost: int
    """Calls of which some input ended otherwise than well, or not at all."""
    queue_ms: dict[str, float]
    """p50, p95 and p99 of the time from an input's arrival until it is first dispatched."""
    cold_starts: int
    gpu_s_used: float
    """GPU seconds in which the container that held them ran some input."""
    gpu_s_paid: float
    """GPU seconds for which a container held them."""
    virtual_s: float
    wall_s: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


class Tally:
    """Counts as the world goes on."""

    def __init__(self) -> None:
        self.calls = 0
        self.cold_starts = 0
        self.gpu_s_used = 0.0
        self.gpu_s_paid = 0.0
        self.effects = 0
        self._digest = blake2b(digest_size=16)
        self._encode = msgspec.msgpack.Encoder().encode
        self._arrived: dict[tuple[str, int], float] = {}
        self._waited_s: list[float] = []
        self._open: dict[str, int] = {}
        self._failed: set[str] = set()

    @property
    def open(self) -> int:
        """Calls that have not ended."""
        return len(self._open)

    def decided(self, now: float, out: list[effects.Effect]) -> None:
        """The answer to one step."""
        if out:
            self.effects += len(out)
            self._digest.update(self._encode((now, out)))

    def arrived(self, now: float, call: str, inputs: int) -> None:
        self.calls += 1
        self._open[call] = inputs
        for index in range(inputs):
            self._arrived[call, index] = now

    def dispatched(self, now: float, call: str, indexes: tuple[int, ...]) -> None:
        """The first dispatch of an input ends its time in the queue."""
        for index in indexes:
            arrived = self._arrived.pop((call, index), None)
            if arrived is not None:
                self._waited_s.append(now - arrived)

    def resolved(self, effect: effects.Resolve) -> None:
        if any(effect.statuses):
            self._failed.add(effect.call)
        self._open[effect.call] -= len(effect.indexes)
        if not self._open[effect.call]:
            del self._open[effect.call]

    def report(self, scenario: str, seed: int, virtual_s: float, wall_s: float) -> Report:
        waited = sorted(self._waited_s)
        return Report(
            scenario=scenario,
            seed=seed,
            decisions_digest=self._digest.hexdigest(),
            decisions=self.effects,
            calls=self.calls,
            inputs=len(self._arrived) + len(waited),
            calls_lost=len(self._failed | self._open.keys()),
            queue_ms={f"p{p}": round(percentile(waited, p) * 1000, 3) for p in (50, 95, 99)},
            cold_starts=self.cold_starts,
            gpu_s_used=round(self.gpu_s_used, 3),
            gpu_s_paid=round(self.gpu_s_paid, 3),
            virtual_s=round(virtual_s, 3),
            wall_s=round(wall_s, 3),
        )


def percentile(ascending: list[float], percent: float) -> float:
    """Nearest rank; 0 where there is nothing."""
    if not ascending:
        return 0.0
    return ascending[max(0, math.ceil(len(ascending) * percent / 100) - 1)]
