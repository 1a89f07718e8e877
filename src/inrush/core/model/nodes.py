"""Nodes: what each has to give, and what of it is free. Whole thousandths of a core and of a device, so that what is
taken and given back adds up.

A device is wholly free (`gpus`), held by one container, or in `parts`: shared by containers that asked for less than
one. Cpu is a soft request: a node gives `cpu_overcommit` times what it has, since most containers wait most of the time
and the kernel shares what there is by weight. Memory and devices are hard.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from inrush.core.model.containers import WHOLE, Container
from inrush.wire import Inventory

Kind = tuple[str, str, tuple[tuple[str, str], ...], float, tuple[tuple[str, int], ...]]
"""What nodes of one group have in common: cloud, region, labels, price, and how many devices of each type."""


class Peers(Protocol):
    """The nodes of one kind, as one of them knows them: a `Group` of the index, which it tells of every change."""

    kind: Kind

    def changed(self, node: Node) -> None:
        """It has more or less free than before."""

    def freed(self, node: Node) -> None:
        """There may be room in it where there was none."""

    def drop(self, node: Node) -> None:
        """It is not to be found any more."""


class Claim(NamedTuple):
    """Devices of a type kept free for one function that waits for several of them, but for those of higher priority."""

    gpu_type: str
    devices: int
    priority: int


def cpu_to_give(inventory: Inventory) -> int:
    """Thousandths of a core that containers may ask for together."""
    return round(inventory.cpu * inventory.cpu_overcommit * 1000)


@dataclass(slots=True, eq=False)
class Node:
    """A machine with an agent. `gpus` are the wholly free device indexes by type, ascending."""

    id: str
    order: int
    """The n-th node to join; what else is equal is decided by it."""
    inventory: Inventory
    cpu_milli: int = 0
    memory_mib: int = 0
    gpus: dict[str, list[int]] = field(default_factory=dict)
    parts: dict[str, dict[int, int]] = field(default_factory=dict)
    """Thousandths free of devices that are shared, by type and index."""
    gpus_free: int = 0
    held_mib: int = 0
    """Memory of what its containers were forked from."""
    containers: dict[str, Container] = field(default_factory=dict)
    shrunk: bool = False
    """It came back with less than before, so that what is held may be more than it has."""
    lent: bool = False
    """Containers that wait lent their cpu to others. Taken back, there may be less of it than is held."""
    holds: frozenset[str] = frozenset()
    """Images by digest, and functions by id whose snapshot is there."""
    claims: dict[str, Claim] = field(default_factory=dict)
    """By function."""
    blames: dict[str, int] = field(default_factory=dict)
    """Starts that failed here since one succeeded, by function; of functions that start well elsewhere."""
    unfit: str = ""
    """What the node itself says against placing anything here."""
    shunned: str = ""
    """What we have against it, until `shunned_until`."""
    shunned_until: float = 0.0
    times_shunned: int = 0
    pool: str = ""
    """Of which it says that it is a node."""
    group: Peers | None = None
    """Its place in the index."""

    @property
    def aside(self) -> str:
        """Why nothing is placed here now; empty when something may be."""
        return self.unfit or self.shunned

    @property
    def failures(self) -> int:
        """Starts that failed here, one after the other."""
        return sum(self.blames.values()) if self.blames else 0

    def __post_init__(self) -> None:
        self.measure(self.inventory)

    def measure(self, inventory: Inventory) -> None:
        """Take over an inventory, and count anew what the containers here leave free."""
        self.shrunk = self.shrunk or (inventory != self.inventory and bool(self.containers))
        self.inventory = inventory
        self.cpu_milli = cpu_to_give(inventory)
        self.memory_mib = inventory.memory_mib - self.held_mib
        self.gpus, self.parts = {}, {}
        for gpu in sorted(inventory.gpus, key=lambda g: (g.type, g.index)):
            self.gpus.setdefault(gpu.type, []).append(gpu.index)
        self.gpus_free = len(inventory.gpus)
        for container in self.containers.values():
            self._take(container)

    def hold(self, memory_mib: int) -> None:
        """So much is held by what its containers were forked from."""
        self.memory_mib -= memory_mib - self.held_mib
        self.held_mib = memory_mib
        self.freed()

    def seat(self, container: Container) -> None:
        """A container takes its share."""
        self.containers[container.id] = container
        self._take(container)
        if self.group is not None:
            self.group.changed(self)

    def leave(self, container: Container) -> None:
        """A container gives its share back."""
        del self.containers[container.id]
        self.cpu_milli += container.cpu_held_milli
        self.memory_mib += container.memory_mib
        if container.gpus and container.gpu_type in self.gpus:
            self._give_back(container)
        self.freed()

    def waits(self, container: Container, more: int) -> None:
        """A container here waits for so many more of its own calls than before."""
        self.cpu_milli += container.cpu_held_milli
        container.waits += more
        self.cpu_milli -= container.cpu_held_milli
        self.lent = self.lent or bool(container.waits)
        self.freed()

    def freed(self) -> None:
        """There may be room here where there was none."""
        if self.group is not None:
            self.group.freed(self)

    def whole_free(self, gpu_type: str, function: str, priority: int) -> int:
        """Wholly free devices of a type, less those kept for others than this function."""
        count = len(self.gpus.get(gpu_type, ()))
        for owner, claim in self.claims.items():
            if owner != function and claim.gpu_type == gpu_type and claim.priority >= priority:
                count -= claim.devices
        return count

    def fulfil(self, function: str, count: int) -> None:
        """The function takes `count` of the devices that were kept for it here, so they are kept no longer."""
        kept = self.claims.pop(function, None)
        if kept is not None and kept.devices > count:
            self.claims[function] = kept._replace(devices=kept.devices - count)

    def _take(self, container: Container) -> None:
        self.cpu_milli -= container.cpu_held_milli
        self.memory_mib -= container.memory_mib
        if not container.gpus:
            return
        free = self.gpus.get(container.gpu_type, [])
        left = [index for index in free if index not in container.gpus]
        self.gpus[container.gpu_type] = left
        self.gpus_free -= len(free) - len(left)
        if container.share_milli < WHOLE:
            parts, index = self.parts.setdefault(container.gpu_type, {}), container.gpus[0]
            if index in free:
                parts[index] = WHOLE
            if index in parts:
                parts[index] -= container.share_milli

    def _give_back(self, container: Container) -> None:
        gpu_type = container.gpu_type
        back = list(container.gpus)
        if container.share_milli < WHOLE:
            parts, index = self.parts.get(gpu_type, {}), back[0]
            if index not in parts:
                return
            parts[index] += container.share_milli
            if parts[index] < WHOLE:
                return
            del parts[index]
        own = {gpu.index for gpu in self.inventory.gpus if gpu.type == gpu_type}
        back = [index for index in back if index in own]
        self.gpus[gpu_type] = sorted([*self.gpus[gpu_type], *back])
        self.gpus_free += len(back)
