"""Nodes: what each one gives, and what of it is free. Cores and devices are counted in whole thousandths, so that what
is taken and given back adds up.

A device is wholly free (`gpus`), held by one container, or in `parts`, which means that containers share it which asked
for less than one. Cpu is a soft request: a node gives `cpu_overcommit` times what it has, since most containers wait
most of the time and the kernel shares the processor by weight. Memory and devices are hard limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from inrush.core.model.containers import WHOLE, Container
from inrush.wire import Inventory

Kind = tuple[str, str, tuple[tuple[str, str], ...], float, tuple[tuple[str, int], ...]]
"""What nodes of one group have in common: cloud, region, labels, price, and how many devices of each type."""


class Peers(Protocol):
    """The group of nodes of one kind, which each of its nodes tells of every change. The index's `Group` is one."""

    kind: Kind

    def changed(self, node: Node) -> None:
        """Takes note that a node has more or less free than before."""

    def freed(self, node: Node) -> None:
        """Takes note that there may be room on a node where there was none."""

    def drop(self, node: Node) -> None:
        """Forgets a node."""


class Claim(NamedTuple):
    """Devices of a type kept free for one function that waits for several of them. Functions of higher priority pass
    over it."""

    gpu_type: str
    devices: int
    priority: int


def cpu_to_give(inventory: Inventory) -> int:
    """The cpu that containers of a node may ask for together, in thousandths of a core."""
    return round(inventory.cpu * inventory.cpu_overcommit * 1000)


@dataclass(slots=True, eq=False)
class Node:
    """A machine with an agent. `gpus` are its wholly free device indexes by type, ascending."""

    id: str
    order: int
    """The node was the n-th to join; this decides between nodes that are otherwise equal."""
    inventory: Inventory
    cpu_milli: int = 0
    memory_mib: int = 0
    gpus: dict[str, list[int]] = field(default_factory=dict)
    parts: dict[str, dict[int, int]] = field(default_factory=dict)
    """For each shared device, by type and index: the thousandths that are free."""
    gpus_free: int = 0
    held_mib: int = 0
    """Memory that templates hold."""
    containers: dict[str, Container] = field(default_factory=dict)
    shrunk: bool = False
    """True once it came back with less than before, so that its containers may hold more than it has."""
    lent: bool = False
    """True once waiting containers lent their cpu to others, so that more may be held than it has when they take it
    back."""
    holds: frozenset[str] = frozenset()
    """Digests of images that it holds, and ids of functions whose snapshot it holds."""
    claims: dict[str, Claim] = field(default_factory=dict)
    """Devices kept free, by function."""
    blames: dict[str, int] = field(default_factory=dict)
    """Starts that failed here since one succeeded, by function; only of functions that start well elsewhere."""
    unfit: str = ""
    """Why the node itself wants nothing placed here; empty when it takes containers."""
    shunned: str = ""
    """Why the core places nothing here until `shunned_until`."""
    shunned_until: float = 0.0
    times_shunned: int = 0
    questions: int = 0
    """How often it was asked which containers it has."""
    asked_at: float = math.inf
    """When the question was asked that it has not answered; infinite when there is none."""
    questioned: bool = False
    """Whether a timer will ask it again."""
    silent: str = ""
    """Why nothing is placed here until it answers."""
    pool: str = ""
    """The pool that it says it belongs to."""
    group: Peers | None = None
    """Its place in the index."""

    @property
    def aside(self) -> str:
        """Why nothing is placed here now; empty when something may be."""
        return self.unfit or self.silent or self.shunned

    @property
    def failures(self) -> int:
        """The number of starts that failed here one after the other."""
        return sum(self.blames.values()) if self.blames else 0

    def __post_init__(self) -> None:
        self.measure(self.inventory)

    def measure(self, inventory: Inventory) -> None:
        """Takes over an inventory, and recounts what the containers here leave free."""
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
        """Sets the memory that templates hold."""
        self.memory_mib -= memory_mib - self.held_mib
        self.held_mib = memory_mib
        self.freed()

    def seat(self, container: Container) -> None:
        """Takes the share of a container off what is free."""
        self.containers[container.id] = container
        self._take(container)
        if self.group is not None:
            self.group.changed(self)

    def leave(self, container: Container) -> None:
        """Gives the share of a container back."""
        del self.containers[container.id]
        self.cpu_milli += container.cpu_held_milli
        self.memory_mib += container.memory_mib
        if container.gpus and container.gpu_type in self.gpus:
            self._give_back(container)
        self.freed()

    def waits(self, container: Container, more: int) -> None:
        """Changes by `more` the number of its own calls that a container waits for."""
        self.cpu_milli += container.cpu_held_milli
        container.waits += more
        self.cpu_milli -= container.cpu_held_milli
        self.lent = self.lent or bool(container.waits)
        self.freed()

    def freed(self) -> None:
        """Reports that there may be room here where there was none."""
        if self.group is not None:
            self.group.freed(self)

    def whole_free(self, gpu_type: str, function: str, priority: int) -> int:
        """The number of wholly free devices of a type, less those that are kept for other functions."""
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
