"""Who holds how much of the cluster, by which equals are served in turn and make way for one another.

What counts is the *dominant share*: of cpu, memory and devices, that of which somebody holds the largest part of all
there is (Ghodsi et al., "Dominant Resource Fairness", NSDI 2011). So a container of eight devices counts as much as
eight of one, and who fills the nodes' memory does not pass for modest because it has no device.
"""

from __future__ import annotations

from typing import NamedTuple

from inrush.core.model.containers import WHOLE, Container
from inrush.core.model.nodes import cpu_to_give
from inrush.core.model.wanted import Wanted, milli_of
from inrush.wire import Inventory


class Amount(NamedTuple):
    """So much of a cluster. Whole thousandths of cores and of devices, so that what comes and goes adds up."""

    cpu_milli: int = 0
    memory_mib: int = 0
    gpu_milli: int = 0

    def plus(self, other: Amount, sign: int = 1) -> Amount:
        """The two together, or what is left without the other."""
        return Amount(
            self.cpu_milli + sign * other.cpu_milli,
            self.memory_mib + sign * other.memory_mib,
            self.gpu_milli + sign * other.gpu_milli,
        )

    def share_of(self, whole: Amount) -> float:
        """Its largest part of the whole, 0..1 (more where nodes have left); what the whole has none of counts for
        nothing."""
        return max(part / of if of > 0 else 0.0 for part, of in zip(self, whole, strict=True))


def held_by(container: Container) -> Amount:
    """What a container takes."""
    return Amount(container.cpu_milli, container.memory_mib, len(container.gpus) * container.share_milli)


def asked_by(want: Wanted) -> Amount:
    """What one container of a function takes; of several requests for devices the first is meant."""
    requests = want.spec.resources.gpu
    return Amount(want.cpu_milli, want.memory_mib, milli_of(requests[0]) if requests else 0)


def given_by(inventory: Inventory) -> Amount:
    """What a node adds to the cluster."""
    return Amount(cpu_to_give(inventory), inventory.memory_mib, len(inventory.gpus) * WHOLE)
