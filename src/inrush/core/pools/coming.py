"""What people are told about pools: what a function without a place may expect of them, and what was ordered, refused
and given back there."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from inrush.core.model.functions import Function
from inrush.core.model.pools import Pool
from inrush.core.model.state import State
from inrush.core.pools.orders import POOLS_NAMED, serving


class Outlook(NamedTuple):
    """The state of a pool, for people. Times are seconds ago, or from now on."""

    coming: int
    """The number of nodes on their way."""
    coming_s: float
    """How long the oldest order has been on its way."""
    closed: str
    """Why no node can be ordered now; empty when one can."""
    closed_s: float
    """How long that lasts; 0 where time does not decide it."""
    told: tuple[tuple[float, str], ...]
    """What was done there last, the oldest first."""


def outlook(pool: Pool, now: float) -> Outlook:
    """The state of a pool at this time."""
    return Outlook(
        pool.ordered,
        now - pool.orders[0][0] if pool.orders else 0.0,
        pool.closed(now),
        max(0.0, pool.blocked_until - now),
        tuple((now - at, text) for at, text in pool.told),
    )


def coming(state: State, function: Function) -> str:
    """What a function without a place may expect of pools. It names no times, so that it changes only when something
    happens."""
    words = []
    for pool in _pools(state, function):
        if pool.ordered:
            words.append(f"{pool.ordered} of pool {pool.id} on the way")
        elif why := pool.closed(state.now):
            words.append(f"pool {pool.id} {why}")
    return ", ".join(words)


def told(state: State, function: Function) -> list[str]:
    """Sentences for `why` about the pools that can serve a function; none while it has had no need of them."""
    if not state.pools:
        return []
    pools = _pools(state, function)
    if not function.refusal and function.trend is None:
        pools = [pool for pool in pools if any(node in pool.nodes for node in function.seats)]
    alone = all(other.environment == function.environment for other in state.functions.values())
    return [line for pool in pools for line in _lines(pool, outlook(pool, state.now), alone)]


def _pools(state: State, function: Function) -> list[Pool]:
    """Pools that can serve the function, in the order in which they are asked."""
    return [pool for pool, _ in islice(serving(function.spec, state.pools.values()), POOLS_NAMED)]


def _lines(pool: Pool, now: Outlook, alone: bool) -> list[str]:
    """Orders name the function that they are for, which only those of its environment may read: `alone` says that there
    are no others."""
    line = f"pool {pool.id}, a node for {pool.price:g} an hour: {len(pool.nodes)} there, at most {pool.nodes_max}"
    if now.coming:
        line += f", {now.coming} on the way for {now.coming_s:.3g} s (one takes {pool.node_s:.3g} s)"
    if now.closed:
        line += f"; it {now.closed}" + (f", asked again in {now.closed_s:.3g} s" if now.closed_s else "")
    lines = [line]
    for ago, text in now.told:
        shown = text if alone or not text.startswith("ordered") else text.partition(":")[0]
        lines.append(f"pool {pool.id}, {ago:.3g} s ago: {shown}")
    return lines
