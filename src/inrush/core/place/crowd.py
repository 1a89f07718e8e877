"""How many containers of a function its nodes' processors can serve: more would make none of its inputs faster.

Let a container use u cores while it serves. On a node of K cores, K / u of them use all there is. Further ones take
their time from the others, and repeat what each does once, such as an import. So a function whose containers compute
gets K / u of them on each node, and some to spare. A container that mostly waits for something else is another matter:
u is small, what it waits for may vary, and each waits beside the others. With u below `cpu_mostly`, the bound grows by
the square of what it falls short, so that it soon means nothing.

Starts are bounded by the work they bring: those under way on a node may need `starts_cpu_s` seconds of each core, so
forks of a few milliseconds come as fast as ever, while imports of a second take turns. Before any start has ended, one
that computes gets a core of its own.

Nodes measure u (`agent/link/processors.py`) by what threads would use on an idle machine, so contention, also with
other functions or programs, does not change it. A function with GPUs is not bounded, since its devices bound it, and
threads that wait for a GPU often look as if they computed. A function that gets no result for `crowd_patience_s` gets
one container more, since an input may wait in a loop for what another input of the function will do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from inrush.core.model.functions import Function
from inrush.core.model.measured import UNBOUNDED
from inrush.core.model.nodes import Node
from inrush.core.model.state import State
from inrush.core.model.wanted import in_bounds, inventory_in_bounds


class Room(NamedTuple):
    """The most containers that serve, and that start at once; None where nothing bounds them."""

    serving: int | None = None
    starting: int | None = None
    use: float = 0.0
    """The cores that a container uses while it serves."""
    unseen: int | None = None
    """The most while it is not known yet what a container uses; None once it is."""


def bound_by_processors(function: Function) -> bool:
    """Whether processors may bound its containers: devices bound those with GPUs, and clusters start as a whole."""
    return not function.spec.resources.gpu and function.spec.cluster_size <= 1


def room_for(state: State, function: Function, stall_s: float) -> Room:
    """How many containers of the function all nodes have processors for, with those nodes that may still come."""
    measured, tuning = function.measured, state.tuning
    if not state.measures or not bound_by_processors(function):
        return Room()
    if measured.use is None and measured.start_use is None:
        seen = measured.service_s is not None or stall_s > tuning.unseen_s
        return Room(unseen=None if seen else _cores(state, function))
    serving = starting = None
    if measured.use is not None:
        serving = sum(measured.at_once(node.inventory.cpu) for node in _nodes(state, function))
        serving = max(1, serving + _to_come(state, function))
        if stall_s > tuning.crowd_patience_s:
            serving = max(serving, function.live + 1)
    if measured.start_use is not None and measured.start_use >= tuning.cpu_mostly:
        starting = cores = _cores(state, function)
        if measured.start_s is not None and measured.start_cpu_s > 0:
            starting = max(cores, int(min(UNBOUNDED, cores * tuning.starts_cpu_s / measured.start_cpu_s)))
    return Room(serving, starting, measured.use or 0.0)


def full(function: Function, node: Node) -> bool:
    """Whether the containers of the function leave nothing of a node's processors for another one."""
    if function.measured.use is None or function.live < function.policy.min_containers:
        return False
    return function.seats.get(node.id, 0) >= function.measured.at_once(node.inventory.cpu)


def crowded(state: State, function: Function) -> bool:
    """Whether that is so of all nodes, and nodes may come that have processors for it."""
    return bool(state.pools) and all(full(function, node) for node in _nodes(state, function) if not node.aside)


def _nodes(state: State, function: Function) -> Iterator[Node]:
    return (node for node in state.nodes.values() if in_bounds(function.spec, node))


def _cores(state: State, function: Function) -> int:
    return max(state.tuning.first_starts, int(sum(node.inventory.cpu for node in _nodes(state, function))))


def _to_come(state: State, function: Function) -> int:
    """How many more the nodes could serve that may be ordered from pools."""
    pools = (pool for pool in state.pools.values() if inventory_in_bounds(function.spec, pool.inventory))
    each = function.measured.at_once
    return sum(max(0, pool.nodes_max - len(pool.nodes)) * each(pool.inventory.cpu) for pool in pools)
