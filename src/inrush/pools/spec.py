"""A pool as data, by the names that it has in files: that of the setting `pools`, and scenarios of the simulator."""

from __future__ import annotations

import msgspec

from inrush.pools.provider import Offer
from inrush.wire import Gpu, Inventory


class PoolSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nodes that are alike: `nodes` are there from the start and stay; up to `nodes_max` come when they are ordered."""

    name: str = ""
    nodes: int = 0
    nodes_max: int | None = None
    """None: as many as `nodes`."""
    cpu: float = 64.0
    memory_mib: int = 524_288
    gpu_type: str = ""
    gpus: int = 0
    """Of each node."""
    cloud: str = ""
    region: str = ""
    labels: dict[str, str] = {}
    price: float = 1.0
    """Of a node, for an hour."""
    node_s: float = 90.0
    """From the order of a node until it joins."""
    keep_s: float | None = None
    """How long an empty node is kept; None: as long as one takes to come, and at least 30 s."""
    stockouts: tuple[tuple[float, float], ...] = ()
    """(from, to), in seconds since the start: meanwhile, no more nodes can be had."""

    @property
    def most(self) -> int:
        """Nodes at once."""
        return self.nodes if self.nodes_max is None else self.nodes_max

    def inventory(self) -> Inventory:
        """What one node has. All of its cards are declared. Nodes that stay anyway cost placing nothing."""
        gpus = tuple(Gpu(type=self.gpu_type.upper(), index=index, declared=True) for index in range(self.gpus))
        labels = tuple(sorted(self.labels.items()))
        price = self.price if self.most > self.nodes else 0.0
        return Inventory(self.cpu, self.memory_mib, gpus, self.cloud, self.region, price, labels)

    def offer(self, name: str = "") -> Offer:
        """What a provider says of it; `name` is for one that has none of its own."""
        return Offer(
            self.name or name, self.inventory(), self.most, self.price, self.node_s, self.keep_s, nodes_min=self.nodes
        )

    def stocked_out(self, at_s: float) -> bool:
        """Whether there are no more nodes to be had, so many seconds after the start."""
        return any(start <= at_s < end for start, end in self.stockouts)
