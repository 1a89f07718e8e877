"""What follows when nodes come, change and go."""

from __future__ import annotations

import math

from inrush.core.calls.outcome import died
from inrush.core.containers.clusters import disband
from inrush.core.containers.lifecycle import drain, forget_if_gone, remove
from inrush.core.model.containers import Container
from inrush.core.model.effects import ContainerLost, StopContainer
from inrush.core.model.events import CpuUsed, NodeChanged, NodeHeld, NodeJoined, NodeLeft
from inrush.core.model.nodes import Node
from inrush.core.model.state import State
from inrush.core.place.crowd import bound_by_processors
from inrush.core.place.health import heed_flaps, note_flap
from inrush.core.pools.supply import node_gone, node_of_pool
from inrush.wire import Status

MOST_CORES = 4096.0
"""A use of processors above this is no measurement."""


def node_joined(state: State, event: NodeJoined) -> None:
    """An agent has a link, for the first time or again. Both sides' containers are compared, and a container that only
    one side knows is ended."""
    node = state.nodes.get(event.node)
    if node is None:
        node = state.nodes[event.node] = Node(event.node, state.next_serial(), event.inventory)
    else:
        state.resize(node.inventory, -1)
        node.measure(event.inventory)
        node.silent, node.asked_at = "", math.inf
    state.resize(event.inventory, 1)
    state.index.add(node)
    heed_flaps(state, node)
    if node.pool != event.pool:
        node_gone(state, node.id)
    node.pool = event.pool
    if event.pool:
        node_of_pool(state, node.id, event.pool)
    there = set(event.containers)
    for container in [c for c in node.containers.values() if c.id not in there]:
        lose(state, container, f"node {node.id} came back without it")
    for container_id in event.containers:
        if container_id not in node.containers:
            why = "the server does not know it"
            state.out.append(StopContainer(container_id, node.id, 0.0, kill=True, why=why))
    _poke_all(state)


def node_held(state: State, event: NodeHeld) -> None:
    """Templates on a node took memory or gave it back."""
    node = state.nodes.get(event.node)
    if node is not None:
        less = event.memory_mib < node.held_mib
        node.hold(event.memory_mib)
        if less:
            _poke_all(state)


def cpu_used(state: State, event: CpuUsed) -> None:
    """Learns what containers use of a node's processors."""
    state.measures = True
    for id, serving, starting, start_s in event.uses:
        function = state.functions.get(id)
        if function is None or not bound_by_processors(function):
            continue
        measured = function.measured
        if 0 <= serving <= MOST_CORES:
            measured.use = serving
        if 0 <= starting <= MOST_CORES and 0 <= start_s < float("inf"):
            measured.start_use, measured.start_cpu_s = starting, start_s
        function.freed_read = -1  # where there was no room for it there may be now
        state.touch(function, poke=True)


def node_left(state: State, event: NodeLeft) -> None:
    """A node is gone: its containers are lost, and what they ran is tried elsewhere."""
    node = state.nodes.pop(event.node, None)
    if node is None:
        return
    state.resize(node.inventory, -1)
    state.index.remove(node)
    note_flap(state, node)
    node_gone(state, node.id)
    for container in list(node.containers.values()):
        lose(state, container, f"node {node.id} left: {event.why}")
    _poke_all(state)


def node_changed(state: State, event: NodeChanged) -> None:
    """A node reports what it holds and whether it is fit. With `drain` its containers finish what they run and stop."""
    node = state.nodes.get(event.node)
    if node is None:
        return
    state.index.hold(node, frozenset(event.holds))
    if node.unfit != event.unfit:
        node.unfit = event.unfit
        node.freed()
        _poke_all(state)
    if event.drain:
        for container in list(node.containers.values()):
            drain(state, container.leader or container, f"node {node.id} drains: {event.unfit}")


def lose(state: State, container: Container, why: str) -> None:
    """Ends a container of which its node will report nothing more. What it ran is tried elsewhere."""
    function = state.functions[container.function]
    remove(state, container)
    state.out.append(ContainerLost(container.id, why))
    disband(state, container, why)
    died(state, container, Status.LOST, None, why)
    forget_if_gone(state, function)


def _poke_all(state: State) -> None:
    """Has the scale of every function with work or containers reviewed, because capacity has changed."""
    for function in state.functions.values():
        if function.queued or function.containers or function.policy.min_containers:
            state.touch(function, poke=True)
