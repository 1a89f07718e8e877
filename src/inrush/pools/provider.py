"""The provider interface: all that inrush needs to know of a cloud, a cluster, or a rack.

A provider offers one kind of node (`Offer`), takes orders, and takes nodes back. `order` and `release` return at once
and never raise: what follows takes minutes and may fail. A node that was brought tells of itself, since an agent runs
on it: its `NodeJoined` names the pool. What will not come, the provider tells with `NodesFailed`, and soon: the core
waits for nothing else, and orders elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from inrush.core.model.events import AnyEvent, PoolJoined
from inrush.wire import Inventory

Post = Callable[[AnyEvent], None]
"""Takes what a provider has to tell the core."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a pool has. Cloud, region and GPU type are those of its nodes' inventory."""

    pool: str
    inventory: Inventory
    nodes_max: int
    price: float = 1.0
    """Of a node, for an hour."""
    node_s: float = 90.0
    """From an order until a node joins."""
    keep_s: float | None = None
    """How long an empty node is kept; None: as long as one takes to come."""
    nodes_min: int = 0

    def event(self) -> PoolJoined:
        """As the core is told of it."""
        return PoolJoined(
            self.pool, self.inventory, self.nodes_max, self.price, self.node_s, self.keep_s, self.nodes_min
        )


class Provider(Protocol):
    """Where the nodes of one pool come from."""

    @property
    def offer(self) -> Offer:
        """What it has."""

    def order(self, count: int) -> None:
        """So many more nodes are wanted."""

    def release(self, nodes: Sequence[str]) -> None:
        """These are empty and no longer needed."""
