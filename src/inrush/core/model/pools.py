"""Pools: from where nodes of one kind can be ordered, how many of them are there, and how many are on their way."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from inrush.wire import Inventory

KEEP_MIN_S = 30.0
"""However fast nodes come, an empty node stays this long, unless the pool says otherwise."""


TOLD_KEPT = 6
"""The number of latest orders, releases and refusals that a pool remembers."""


_ARRIVAL_WEIGHT = 0.2


@dataclass(slots=True, eq=False)
class Pool:
    """Where nodes of one kind, cloud, region and price come from: how many are there, are on their way, and can be at
    most."""

    id: str
    order: int
    inventory: Inventory
    nodes_max: int
    price: float
    node_s: float
    """Seconds that a node takes to come, as told and then as measured."""
    keep_s: float | None
    nodes_min: int
    nodes: dict[str, float] = field(default_factory=dict)
    """Nodes that joined, and since when each has been empty; infinite while it is not."""
    orders: deque[tuple[float, int]] = field(default_factory=deque)
    """(when, how many) of the orders on their way, oldest first."""
    ordered: int = 0
    blocked_until: float = -math.inf
    blocked_why: str = ""
    told: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=TOLD_KEPT))
    """When and what was ordered, given back and refused, with the reason."""

    def closed(self, now: float) -> str:
        """Why no node can be ordered now, as the end of a sentence about the pool; empty when some can."""
        if now < self.blocked_until:
            return self.blocked_why
        return "" if self.room else "is at its maximum"

    @property
    def room(self) -> int:
        """The number of nodes that may still be ordered."""
        return max(0, self.nodes_max - len(self.nodes) - self.ordered)

    @property
    def patience_s(self) -> float:
        """How long an empty node stays."""
        return max(KEEP_MIN_S, self.node_s) if self.keep_s is None else self.keep_s

    def expect(self, count: int, now: float, why: str = "") -> None:
        """Notes an order of so many nodes."""
        self.told.append((now, f"ordered {count}: {why}"))
        self.orders.append((now, count))
        self.ordered += count

    def joined(self, node: str, now: float) -> None:
        """Notes a node that joined, for the first time or again. It is taken to answer the oldest order."""
        if node not in self.nodes and self.ordered:
            self.node_s += _ARRIVAL_WEIGHT * (now - self.orders[0][0] - self.node_s)
            self._settle(1)
        self.nodes[node] = now

    def failed(self, count: int) -> None:
        """Notes that so many of the ordered nodes will not come."""
        self._settle(min(count, self.ordered))

    def _settle(self, count: int) -> None:
        self.ordered -= count
        while count:
            at, ordered = self.orders.popleft()
            if ordered > count:
                self.orders.appendleft((at, ordered - count))
            count -= min(ordered, count)


class Trend(NamedTuple):
    """How a function's queue grows: its last length, and inputs per second, averaged."""

    at: float
    queued: int
    growth: float
