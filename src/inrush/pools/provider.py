"""The provider interface: everything that inrush needs to know of a cloud, a cluster or a rack.

A provider offers one kind of node (`Offer`), takes orders, and takes nodes back. `order` and `release` return at once
and never raise, since what follows takes minutes and may fail. An agent runs on every node that comes, and its
`NodeJoined` names the pool. The provider reports nodes that will not come by `NodesFailed`, and soon: the core waits
for nothing else before it orders elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from inrush.core.model.events import AnyEvent, PoolJoined
from inrush.wire import Inventory

Post = Callable[[AnyEvent], None]
"""Takes an event for the core from a provider."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a pool offers. Cloud, region and GPU type are those of its nodes' inventory."""

    pool: str
    inventory: Inventory
    nodes_max: int
    price: float = 1.0
    """The price of a node for an hour."""
    node_s: float = 90.0
    """Seconds from an order until a node joins."""
    keep_s: float | None = None
    """Seconds that an empty node is kept; None for as long as a node takes to come."""
    nodes_min: int = 0

    def event(self) -> PoolJoined:
        """The event that tells the core of the pool."""
        return PoolJoined(
            self.pool, self.inventory, self.nodes_max, self.price, self.node_s, self.keep_s, self.nodes_min
        )


class Provider(Protocol):
    """Where the nodes of one pool come from."""

    @property
    def offer(self) -> Offer:
        """What the pool offers."""

    def order(self, count: int) -> None:
        """Orders more nodes."""

    def release(self, nodes: Sequence[str]) -> None:
        """Gives back nodes that are empty and no longer needed."""
