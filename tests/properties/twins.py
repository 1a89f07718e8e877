"""A core and others that were restored from checkpoints of it: all step alike, and must decide alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from inrush.core.cluster import Cluster
from inrush.core.model import effects, events


class Twins:
    """Stands where the core would, for a shell to step. `cut` says before which steps (by number, from 0) another twin
    is made."""

    def __init__(self, first: Cluster, cut: Callable[[int], bool] = lambda step: False) -> None:
        self.first, self.others = first, list[Cluster]()
        self.steps = self.made = 0
        self._cut = cut

    def __getattr__(self, name: str) -> Any:
        return getattr(self.first, name)

    def step(self, event: events.Event, now: float) -> list[effects.Effect]:
        if self._cut(self.steps):
            self.part()
        self.steps += 1
        out = self.first.step(event, now)
        for other in self.others:
            assert other.step(event, now) == out, f"step {self.steps}, {event}"
        return out

    def part(self, most: int = 4) -> None:
        """One more twin, as a journal would have it; the oldest of too many goes, when it is seen to be sound."""
        self.others.append(copied(self.first))
        self.made += 1
        if len(self.others) > most:
            sound(self.others.pop(0))

    def agree(self) -> None:
        """All are sound, and explain themselves in the same words."""
        for other in self.others:
            sound(other)
            for function in self.first.functions:
                assert other.explain(function) == self.first.explain(function)


def copied(cluster: Cluster) -> Cluster:
    """By a checkpoint that went through bytes."""
    return Cluster.restored(msgspec.msgpack.decode(msgspec.msgpack.encode(cluster.checkpoint())))


def sound(cluster: Cluster) -> None:
    assert cluster.violations() == []
