"""A pool as data, with the names that files use: that of the setting `pools`, and scenarios of the simulator."""

from __future__ import annotations

import msgspec

from inrush.pools.provider import Offer
from inrush.wire import Gpu, Inventory


class PoolSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nodes of one kind. `nodes` are there from the start and stay; up to `nodes_max` come when they are ordered."""

    name: str = ""
    nodes: int = 0
    nodes_max: int | None = None
    """The most nodes at once; None for as many as `nodes`."""
    cpu: float = 64.0
    memory_mib: int = 524_288
    gpu_type: str = ""
    gpus: int = 0
    """GPUs of each node."""
    cloud: str = ""
    region: str = ""
    labels: dict[str, str] = {}
    price: float = 1.0
    """The price of a node for an hour."""
    node_s: float = 90.0
    """Seconds from the order of a node until it joins."""
    keep_s: float | None = None
    """Seconds that an empty node is kept; None for as long as a node takes to come, and at least 30 s."""
    stockouts: tuple[tuple[float, float], ...] = ()
    """(from, to), in seconds since the start, between which no more nodes can be had."""

    @property
    def most(self) -> int:
        """The most nodes at once."""
        return self.nodes if self.nodes_max is None else self.nodes_max

    def inventory(self) -> Inventory:
        """What one node has. All of its cards are declared. Nodes that stay anyway have no price for placing."""
        gpus = tuple(Gpu(type=self.gpu_type.upper(), index=index, declared=True) for index in range(self.gpus))
        labels = tuple(sorted(self.labels.items()))
        price = self.price if self.most > self.nodes else 0.0
        return Inventory(self.cpu, self.memory_mib, gpus, self.cloud, self.region, price, labels)

    def offer(self, name: str = "") -> Offer:
        """What a provider says of the pool; `name` is for one that has no name of its own."""
        return Offer(
            self.name or name, self.inventory(), self.most, self.price, self.node_s, self.keep_s, nodes_min=self.nodes
        )

    def stocked_out(self, at_s: float) -> bool:
        """Whether no more nodes can be had so many seconds after the start."""
        return any(start <= at_s < end for start, end in self.stockouts)
