"""Which nodes to order, and which to give back. Pure: demands and pools in, orders out, each with its why.

How many containers deserve nodes
---------------------------------
A node takes L seconds to come (a minute or more), and is paid for while it does. Let q inputs wait beyond what starts
already, each taking s seconds, t of them at once in a container, and let q grow by g a second (averaged; what is there
works on it, so g says what that does not manage). When a node ordered now has come, q + g · L inputs wait, which is
(q + g · L) · s / t seconds of work for one container. Ordered are as many containers as drain that within the time that
a node takes, the same rule as for containers with another price:

    wanted = (q / L + g) · s / t

The first term clears the backlog, the second keeps up. In a burst g is large before q is: orders run ahead of demand,
but never by more than a quarter of what waits already. Less than one container's worth drains by itself, unless it has
waited for L. When nothing has run at all, one container's worth is ordered, for that is how to find out how long s is.
While inputs run and none has ended, s is what may be expected of them: of processes that have run for r, a part r / t
is seen to last for t (Harchol-Balter and Downey, "Exploiting Process Lifetime Distributions", SIGMETRICS 1996), so up
to the timeout T of the function they take r · (1 + ln(T / r)) on average, and work is a sum of averages.

Where
-----
Demands are served by priority. Nodes on their way are counted first. Then pools are asked from the cheapest that can
serve (price for each container, within the GPU type that the function likes best); one that is full, or that had none
a while ago, is passed over, and says so in the why.

An empty node stays for as long as one takes to come: whoever rents until the rent equals the price of buying never pays
more than twice the optimum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from inrush.core.model.containers import WHOLE
from inrush.core.model.measured import Measured
from inrush.core.model.pools import Pool
from inrush.core.model.wanted import accepts, cpu_milli, inventory_in_bounds, share_milli
from inrush.wire import FunctionSpec, Inventory

AHEAD = 1.25
"""At most so many times the containers that waiting inputs could fill are ordered for."""

GROWTH_TAU_S = 15.0
"""The growth of a queue is averaged over about this time."""

UNKNOWN_FIRST = 1
"""Nodes are ordered for so many containers of a function of which nothing is known."""

POOLS_NAMED = 8
"""At most so many pools are named to people, the cheapest first."""


class Backlog(NamedTuple):
    """What waits of a function, as far as nodes are concerned."""

    queued: int
    """Waiting inputs, less those that starting containers will take."""
    growth: float = 0.0
    """Growth of the queue in inputs per second, averaged."""
    service_s: float = 0.0
    """Seconds that an input takes, or a guess; 0 when nothing is known."""
    waited_s: float = 0.0
    target: int = 1
    """Inputs at once in a container."""


class Demand(NamedTuple):
    """A function for which nodes should be ordered, and for how many containers."""

    function: str
    spec: FunctionSpec
    containers: int
    why: str
    measured: Measured = Measured()
    """What is known of its containers, of which a node serves only so many if they compute."""


class Order(NamedTuple):
    """An order of nodes from a pool."""

    pool: Pool
    nodes: int
    why: str


def deserved(backlog: Backlog, node_s: float) -> tuple[int, str]:
    """For how many containers a backlog justifies nodes, and why."""
    fill = math.ceil(backlog.queued / backlog.target)
    waiting = f"{backlog.queued} waiting"
    if not backlog.queued:
        return 0, "nothing waits"
    if backlog.service_s <= 0:
        return min(fill, UNKNOWN_FIRST), f"{waiting}, service time unknown"
    rate = backlog.queued / node_s + backlog.growth
    worth = math.floor(rate * backlog.service_s / backlog.target)
    why = f"{waiting}, {backlog.growth:+.3g} a second, {backlog.service_s:.3g} s an input, a node takes {node_s:.3g} s"
    if worth < 1 and backlog.waited_s > node_s:
        return 1, f"{why} and it has waited for {backlog.waited_s:.3g} s"
    return max(0, min(worth, math.ceil(AHEAD * fill))), why


def lives_s(ran_s: float, timeout_s: float) -> float:
    """The mean seconds that inputs take of which is known only that they have run for `ran_s` and end after
    `timeout_s`: the mean of Pareto's law with exponent 1, cut there; 0 when nothing has run."""
    return ran_s * (1 + math.log(max(1.0, timeout_s / ran_s))) if ran_s > 0 else 0.0


def plan(demands: Iterable[Demand], pools: Iterable[Pool], now: float) -> list[Order]:
    """What to order from which pool. Demands come in the order in which they are served."""
    found: dict[str, Order] = {}
    pools = list(pools)
    coming = {pool.id: float(pool.ordered) for pool in pools}
    for demand in demands:
        most = demand.measured.at_once
        ranked = [(pool, min(each, most(pool.inventory.cpu))) for pool, each in serving(demand.spec, pools)]
        rest = float(demand.containers)
        for pool, each in ranked:
            used = min(coming[pool.id], rest / each)
            coming[pool.id] -= used
            rest -= used * each
        passed: list[str] = []
        for pool, each in ranked:
            if rest < 1e-6:
                break
            before = found[pool.id].nodes if pool.id in found else 0
            count = min(pool.room - before, math.ceil(rest / each - 1e-6))
            if now < pool.blocked_until or count <= 0:
                passed.append(f"{pool.id} {pool.blocked_why if now < pool.blocked_until else 'is at its maximum'}")
                continue
            why = "; ".join([f"{demand.containers} {demand.spec.name}: {demand.why}", *passed])
            found[pool.id] = Order(pool, before + count, found[pool.id].why if before else why)
            coming[pool.id] += count - min(count, rest / each)
            rest -= min(count * each, rest)
            passed.append(f"{pool.id} has room for {count} more only")
    return list(found.values())


def serving(spec: FunctionSpec, pools: Iterable[Pool]) -> Iterator[tuple[Pool, int]]:
    """Pools whose nodes can run the function, the cheapest first, each with how many containers a node takes."""
    ranked = []
    for pool in pools:
        liked, each = _holds(spec, pool.inventory)
        if each and inventory_in_bounds(spec, pool.inventory):
            ranked.append(((liked, pool.price / each, pool.node_s, pool.order), pool, each))
    for _, pool, each in sorted(ranked, key=lambda item: item[0]):
        yield pool, each


def _holds(spec: FunctionSpec, inventory: Inventory) -> tuple[int, int]:
    """How many containers fit on an empty node, and which GPU request of the list is met first."""
    resources = spec.resources
    by_cpu = math.inf if not cpu_milli(resources) else inventory.cpu * 1000 // cpu_milli(resources)
    most = min(by_cpu, inventory.memory_mib // max(1, resources.memory_mib))
    if not resources.gpu:
        return 0, int(min(most, 10**6))
    for liked, request in enumerate(resources.gpu):
        devices = sum(accepts(request, gpu.type) for gpu in inventory.gpus)
        each = devices // request.count if request.share >= 1 else devices * (WHOLE // share_milli(request))
        if each := int(min(most, each)):
            return liked, each
    return 0, 0


def empty_for_long(pool: Pool, empty: Iterable[str], now: float) -> list[str]:
    """Nodes to give back, of those that are `empty` now. The pool remembers since when each was empty."""
    now_empty = set(empty)
    for node, since in pool.nodes.items():
        if node not in now_empty:
            pool.nodes[node] = math.inf
        elif since == math.inf:
            pool.nodes[node] = now
    ripe = [node for node in pool.nodes if now - pool.nodes[node] >= pool.patience_s]
    return ripe[: max(0, len(pool.nodes) - pool.nodes_min)]
