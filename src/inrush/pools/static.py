"""A declared pool: the nodes that somebody set up, and no others. They join when their agents do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inrush.core.model.events import NodesFailed
from inrush.pools.provider import Offer, Post

RETRY_S = 3600.0

NEVER_BACK = 1 << 30
"""More nodes than can join: so many stay."""


class StaticPool:
    """A `Provider` that brings nothing and takes nothing back."""

    def __init__(self, offer: Offer, post: Post) -> None:
        """The offer's `nodes_max` is the number of nodes there are. None is ever given back: its agent would be
        attached, and nothing placed there."""
        self.offer = replace(offer, nodes_min=NEVER_BACK)
        self._post = post

    def order(self, count: int) -> None:
        """Nothing more comes by itself."""
        why = f"pool {self.offer.pool} is declared, {self.offer.nodes_max} nodes: start an agent on another"
        self._post(NodesFailed(self.offer.pool, count, why, RETRY_S))

    def release(self, nodes: Sequence[str]) -> None:
        """Machines of one's own go on standing there."""
