"""Nodes: what each has to give, and what of it is free. Whole thousandths of a core, so that what is taken and given
back adds up."""

from __future__ import annotations

from dataclasses import dataclass, field

from inrush.core.containers import Container
from inrush.wire import Inventory


@dataclass(slots=True, eq=False)
class Node:
    """A machine with an agent. `gpus` are the free device indexes by type, ascending."""

    id: str
    order: int
    """The n-th node to join; what else is equal is decided by it."""
    inventory: Inventory
    cpu_milli: int = 0
    memory_mib: int = 0
    gpus: dict[str, list[int]] = field(default_factory=dict)
    gpus_free: int = 0
    containers: dict[str, Container] = field(default_factory=dict)
    shrunk: bool = False
    """It came back with less than before, so that what is held may be more than it has."""
    lent: bool = False
    """Containers that wait lent their cpu to others. Taken back, there may be less of it than is held."""

    def __post_init__(self) -> None:
        self.measure(self.inventory)

    def measure(self, inventory: Inventory) -> None:
        """Take over an inventory, and count anew what the containers here leave free."""
        self.shrunk = self.shrunk or (inventory != self.inventory and bool(self.containers))
        self.inventory = inventory
        self.cpu_milli = round(inventory.cpu * 1000)
        self.memory_mib = inventory.memory_mib
        self.gpus = {}
        for gpu in sorted(inventory.gpus, key=lambda g: (g.type, g.index)):
            self.gpus.setdefault(gpu.type, []).append(gpu.index)
        self.gpus_free = len(inventory.gpus)
        for container in self.containers.values():
            self._take(container)

    def seat(self, container: Container) -> None:
        """A container takes its share."""
        self.containers[container.id] = container
        self._take(container)

    def leave(self, container: Container) -> None:
        """A container gives its share back."""
        del self.containers[container.id]
        self.cpu_milli += container.cpu_held_milli
        self.memory_mib += container.memory_mib
        if container.gpus and container.gpu_type in self.gpus:
            own = {gpu.index for gpu in self.inventory.gpus if gpu.type == container.gpu_type}
            back = [index for index in container.gpus if index in own]
            self.gpus[container.gpu_type] = sorted([*self.gpus[container.gpu_type], *back])
            self.gpus_free += len(back)

    def waits(self, container: Container, more: int) -> None:
        """A container here waits for so many more of its own calls than before."""
        self.cpu_milli += container.cpu_held_milli
        container.waits += more
        self.cpu_milli -= container.cpu_held_milli
        self.lent = self.lent or bool(container.waits)

    def _take(self, container: Container) -> None:
        self.cpu_milli -= container.cpu_held_milli
        self.memory_mib -= container.memory_mib
        if container.gpus:
            free = self.gpus.get(container.gpu_type, [])
            left = [index for index in free if index not in container.gpus]
            self.gpus[container.gpu_type] = left
            self.gpus_free -= len(free) - len(left)
