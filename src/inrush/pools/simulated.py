"""An elastic pool that is made up: its nodes come after a while, or not at all while it is out of stock. Its caller
provides the time, so it serves the simulator and tests of a server alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from inrush.core.model.events import NodesFailed
from inrush.pools.provider import Offer, Post

REFUSED_S = 2.0
"""Seconds that a cloud takes to say that it is out of stock."""

RETRY_S = 30.0


class SimulatedPool:
    """A `Provider` without a cloud."""

    def __init__(
        self,
        offer: Offer,
        post: Post,
        after: Callable[[float, Callable[[], None]], None],
        boot: Callable[[str], None],
        node_s: Callable[[str], float],
        stocked_out: Callable[[], bool] = lambda: False,
    ) -> None:
        """`after` calls something later, `boot` has the agent of a new node join, and `node_s` says how long a node
        takes."""
        self.offer = offer
        self.ordered = 0
        self._post, self._after, self._boot = post, after, boot
        self._node_s, self._stocked_out = node_s, stocked_out
        self._serial = 0
        self._there: set[str] = set()

    def order(self, count: int) -> None:
        """Orders nodes, each of which comes in its own time. Nodes above the maximum are refused, as a cloud would."""
        granted = 0 if self._stocked_out() else min(count, self.offer.nodes_max - len(self._there) - self.ordered)
        if granted < count:
            why = f"{self.offer.pool} has no more nodes to give"
            failed = NodesFailed(self.offer.pool, count - granted, why, RETRY_S)
            self._after(REFUSED_S, partial(self._post, failed))
        self.ordered += granted
        for _ in range(granted):
            node = self._name()
            self._after(self._node_s(node), partial(self._arrive, node))

    def boot(self) -> None:
        """Has a node there at once."""
        self._start(self._name())

    def release(self, nodes: Sequence[str]) -> None:
        """Removes nodes at once."""
        self._there.difference_update(nodes)

    def _arrive(self, node: str) -> None:
        self.ordered -= 1
        self._start(node)

    def _start(self, node: str) -> None:
        self._there.add(node)
        self._boot(node)

    def _name(self) -> str:
        self._serial += 1
        return f"no-{self.offer.pool}-{self._serial}"
