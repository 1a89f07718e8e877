"""Who holds how much of the cluster. By this, apps of equal priority are served in turn and make way for one another.

What counts is the *dominant share*: the largest part that an app holds of all cpu, all memory or all devices (Ghodsi et
al., "Dominant Resource Fairness", NSDI 2011). So one container with eight devices counts as much as eight with one, and
an app that fills the nodes' memory counts as a large holder even without a device.
"""

from __future__ import annotations

from typing import NamedTuple

from inrush.core.model.containers import WHOLE, Container
from inrush.core.model.nodes import cpu_to_give
from inrush.core.model.wanted import Wanted, milli_of
from inrush.wire import Inventory


class Amount(NamedTuple):
    """An amount of cpu, memory and devices. Cores and devices are counted in whole thousandths, so that what is taken
    and given back adds up."""

    cpu_milli: int = 0
    memory_mib: int = 0
    gpu_milli: int = 0

    def plus(self, other: Amount, sign: int = 1) -> Amount:
        """The sum of two amounts; with `sign=-1`, the difference."""
        return Amount(
            self.cpu_milli + sign * other.cpu_milli,
            self.memory_mib + sign * other.memory_mib,
            self.gpu_milli + sign * other.gpu_milli,
        )

    def share_of(self, whole: Amount) -> float:
        """The largest part of the whole that this amount is, 0..1, or more where nodes have left. A resource that the
        whole lacks does not count."""
        return max(part / of if of > 0 else 0.0 for part, of in zip(self, whole, strict=True))


def held_by(container: Container) -> Amount:
    """The amount that a container holds."""
    return Amount(container.cpu_milli, container.memory_mib, len(container.gpus) * container.share_milli)


def asked_by(want: Wanted) -> Amount:
    """The amount that one container of a function asks for, by the first of its GPU requests."""
    requests = want.spec.resources.gpu
    return Amount(want.cpu_milli, want.memory_mib, milli_of(requests[0]) if requests else 0)


def given_by(inventory: Inventory) -> Amount:
    """The amount that a node adds to the cluster."""
    return Amount(cpu_to_give(inventory), inventory.memory_mib, len(inventory.gpus) * WHOLE)
