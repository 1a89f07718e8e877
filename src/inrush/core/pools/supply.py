"""Orders nodes for what cannot be placed, and gives back nodes that stand empty.

Pools are looked at when a function is refused a place, at most every `LOOK_S`, and regularly while they have nodes or
orders.
"""

from __future__ import annotations

from collections.abc import Iterable

from inrush.core.model.effects import NodesReleased, NodesWanted
from inrush.core.model.events import NodesFailed, PoolJoined
from inrush.core.model.functions import Function
from inrush.core.model.pools import Pool, Trend
from inrush.core.model.state import State
from inrush.core.pools.orders import GROWTH_TAU_S, Backlog, Demand, deserved, empty_for_long, lives_s, plan, serving

LOOK_S = 1.0

NAMED = 4
"""At most so many nodes are named where several are given back."""

STARVED_S = 1.0
"""Inputs of a function without any container wait this long for containers of others before nodes are ordered."""


def pool_joined(state: State, event: PoolJoined) -> None:
    """Takes note of a pool from which nodes may be ordered, or of its new terms."""
    pool = state.pools.get(event.pool)
    if pool is None:
        pool = state.pools[event.pool] = Pool(
            event.pool,
            state.next_serial(),
            event.inventory,
            event.nodes_max,
            event.price,
            event.node_s,
            event.keep_s,
            event.nodes_min,
        )
    pool.inventory, pool.nodes_max, pool.price = event.inventory, event.nodes_max, event.price
    pool.keep_s, pool.nodes_min = event.keep_s, event.nodes_min
    for node in state.nodes.values():
        if node.pool == pool.id and node.id not in pool.nodes:
            node_of_pool(state, node.id, pool.id)
    for function in state.functions.values():
        if function.queued or function.policy.min_containers:
            state.touch(function, poke=True)


def nodes_failed(state: State, event: NodesFailed) -> None:
    """Notes that ordered nodes will not come. If a pool is out of stock, the order goes to the next-cheapest pool
    immediately."""
    pool = state.pools.get(event.pool)
    if pool is None:
        return
    pool.failed(event.count)
    pool.told.append((state.now, f"{event.count} of those ordered will not come: {event.why}"))
    pool.blocked_until, pool.blocked_why = state.now + event.retry_s, f"could not: {event.why}"
    state.pools_due = state.now
    state.provision_due = state.provision_due or bool(state.hungry)


def node_of_pool(state: State, node: str, pool_id: str) -> None:
    """Notes that a node of this pool joined."""
    pool = state.pools.get(pool_id)
    if pool is not None:
        pool.joined(node, state.now)
        _look_by(state, state.now + LOOK_S)


def node_gone(state: State, node: str) -> None:
    """Notes that a node left, whichever pool it was of."""
    for pool in state.pools.values():
        pool.nodes.pop(node, None)


def supply(state: State, refused: Iterable[Function]) -> None:
    """Orders nodes for functions without a place, and gives back those that nobody needs."""
    if state.now < state.pools_due:
        return
    state.pools_due = state.now + LOOK_S
    demands = []
    for function in sorted(refused, key=lambda f: (-f.spec.priority, f.order)):
        containers, why = _worth(state, function)
        if containers:
            demands.append(Demand(function.id, function.spec, containers, why, function.measured))
    for pool, count, why in plan(demands, state.pools.values(), state.now):
        pool.expect(count, state.now, why)
        state.out.append(NodesWanted(pool.id, count, why))
    for pool in state.pools.values():
        _release(state, pool)
    if state.hungry or any(pool.ordered or len(pool.nodes) > pool.nodes_min for pool in state.pools.values()):
        _look_by(state, state.pools_due)


def _look_by(state: State, at: float) -> None:
    if state.pools_look != at:
        state.pools_look = at
        state.timer(at, "pools")


def _worth(state: State, function: Function) -> tuple[int, str]:
    """For how many more containers of the function nodes should be ordered."""
    missing = function.wanted - function.live
    first = next(serving(function.spec, state.pools.values()), None)
    if first is None:
        return 0, ""
    if not function.queued:
        return missing, function.decisions[-1][1].why if function.decisions else ""
    containers, why = deserved(_backlog(state, function), first[0].node_s)
    if not containers and not function.live and state.now - function.queued_since >= STARVED_S:
        containers, why = 1, f"{function.queued} waiting, and none runs"
    below = function.policy.min_containers - function.live
    if below > containers:
        containers, why = below, f"min_containers is {function.policy.min_containers}"
    most = function.policy.max_containers
    return (containers if most is None else min(containers, most - function.live)), why


def _backlog(state: State, function: Function) -> Backlog:
    now, queued = state.now, function.queued
    trend = function.trend or Trend(now, queued, 0.0)
    passed = now - trend.at
    if passed > 0:
        rate = (queued - trend.queued) / passed
        trend = Trend(now, queued, trend.growth + (rate - trend.growth) * passed / (passed + GROWTH_TAU_S))
    function.trend = trend
    measured = function.measured
    stall_s = now - measured.progress_at if function.running else 0.0
    known_s = measured.service_s
    service_s = lives_s(stall_s, function.spec.timeout_s) if known_s is None else max(known_s, stall_s)
    return Backlog(
        queued=max(0, queued - function.counts["starting"] * function.target),
        growth=trend.growth,
        service_s=service_s,
        waited_s=now - function.queued_since,
        target=function.target,
    )


def _release(state: State, pool: Pool) -> None:
    if len(pool.nodes) <= pool.nodes_min:
        return
    empty = [node for node in pool.nodes if node in state.nodes and not state.nodes[node].containers]
    ripe = tuple(empty_for_long(pool, empty, state.now))
    for node in ripe:
        gone = state.nodes.pop(node)
        state.resize(gone.inventory, -1)
        state.index.remove(gone)
        del pool.nodes[node]
    if ripe:
        why = f"empty for {pool.patience_s:.3g} s"
        named = ", ".join(ripe[:NAMED]) + (f" and {len(ripe) - NAMED} more" if len(ripe) > NAMED else "")
        pool.told.append((state.now, f"gave back {named}: {why}"))
        state.out.append(NodesReleased(pool.id, ripe, why))
