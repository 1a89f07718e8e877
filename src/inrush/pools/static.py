"""A declared pool: the nodes that somebody set up, and no others. They join when their agents do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inrush.core.model.events import NodesFailed
from inrush.pools.provider import Offer, Post

RETRY_S = 3600.0

NEVER_BACK = 1 << 30
"""A minimum above the number of nodes that can join, so that none is ever given back."""


class StaticPool:
    """A `Provider` that brings nothing and takes nothing back."""

    def __init__(self, offer: Offer, post: Post) -> None:
        """The offer's `nodes_max` is the number of nodes. None is ever given back, since its agent would stay attached
        without work."""
        self.offer = replace(offer, nodes_min=NEVER_BACK)
        self._post = post

    def order(self, count: int) -> None:
        """Does nothing: a declared pool brings no more nodes."""
        why = f"pool {self.offer.pool} is declared, {self.offer.nodes_max} nodes: start an agent on another"
        self._post(NodesFailed(self.offer.pool, count, why, RETRY_S))

    def release(self, nodes: Sequence[str]) -> None:
        """Does nothing: declared machines stay."""
