"""Containers from start to end: the few ways in which they change, each keeping all that counts them in step."""

from __future__ import annotations

from inrush.core.model.amounts import Amount, held_by
from inrush.core.model.containers import WHOLE, Container
from inrush.core.model.effects import StartContainer, StopContainer
from inrush.core.model.functions import Function
from inrush.core.model.state import State
from inrush.core.model.wanted import Placement, cpu_milli

STOP_GRACE_S = 30.0
"""Time for running inputs when a container must go although it runs some."""


def start(state: State, function: Function, placement: Placement, why: str) -> None:
    """Start a container at its place; its share of the node is taken now."""
    container = seat(state, function, placement, why)
    function.containers[container.id] = container
    function.counts["starting"] += 1
    function.started_at_sum += state.now
    tell_start(state, container)


def tell_start(state: State, container: Container, rank: int = 0) -> None:
    """Have it started; what was kept for it there is needed no more."""
    state.nodes[container.node].fulfil(container.function, len(container.gpus))
    state.functions[container.function].placed_at = state.now
    cluster = container.leader or (container if container.followers else None)
    state.out.append(
        StartContainer(
            container.id,
            container.function,
            container.node,
            container.gpus,
            container.gpu_type,
            container.why,
            container.share_milli / WHOLE,
            rank,
            cluster.id if cluster is not None else "",
        )
    )


def seat(state: State, function: Function, placement: Placement, why: str) -> Container:
    """A new container takes its share of a node."""
    container = Container(
        id=state.container_id(),
        function=function.id,
        node=placement.node,
        cpu_milli=cpu_milli(function.spec.resources),
        memory_mib=function.spec.resources.memory_mib,
        gpu_type=placement.gpu_type,
        gpus=placement.gpus,
        started_at=state.now,
        why=why,
        share_milli=placement.share_milli,
    )
    state.containers[container.id] = container
    node = state.nodes[placement.node]
    node.seat(container)
    _count(state, function, container, 1)
    return container


def unseat(state: State, function: Function, container: Container) -> None:
    """A container gives back all that it holds, and is no longer known."""
    del state.containers[container.id]
    node = state.nodes.get(container.node)
    if node is not None:
        node.leave(container)
    _count(state, function, container, -1)
    state.provision_due = state.provision_due or bool(state.hungry)


def _count(state: State, function: Function, container: Container, sign: int) -> None:
    """Who has how much, and where."""
    held = state.held.get(function.app, Amount()).plus(held_by(container), sign)
    state.held[function.app] = held
    if not any(held):
        del state.held[function.app]
    _add(function.seats, container.node, sign)
    if container.gpus:
        used = state.used.setdefault(function.app, {})
        _add(used, container.gpu_type, sign * len(container.gpus) * container.share_milli)
        if not used:
            del state.used[function.app]


def _add(counts: dict[str, int], key: str, more: int) -> None:
    """Nothing is kept of what is zero."""
    counts[key] = counts.get(key, 0) + more
    if not counts[key]:
        del counts[key]


def stop(state: State, container: Container, why: str, grace_s: float = STOP_GRACE_S, kill: bool = False) -> None:
    """Tell a container to go, and those that follow it. It takes no more inputs; what it runs may end within `grace_s`,
    unless `kill`."""
    if container.state == "stopping" and not (kill and not container.killed):
        return
    turn(state, container, "stop")
    container.killed = container.killed or kill
    state.out.append(StopContainer(container.id, container.node, 0.0 if kill else grace_s, kill, why))
    if container.leader is None:
        state.functions[container.function].departures.append((state.now, f"{container.id} had to go: {why}"))
    for follower in container.followers:
        if follower.id in state.containers:
            stop(state, follower, why, grace_s, kill)


def preempt(state: State, container: Container, why: str, grace_s: float = STOP_GRACE_S) -> None:
    """It goes for others: what does not end within the grace is tried again elsewhere, free of charge."""
    container.preempted = True
    stop(state, container, why, grace_s)


def drain(state: State, container: Container, why: str) -> None:
    """No more inputs for it; when what it runs has ended, it is stopped."""
    if container.state == "ready" and container.busy:
        turn(state, container, "drain")
        container.leaving = why
    elif container.state in ("starting", "ready"):
        stop(state, container, why, 0.0)


def released(state: State, container: Container) -> None:
    """Inputs of it ended: put it back on its shelf, or let it go when its time has come."""
    function = state.functions[container.function]
    if not container.engaged:
        container.idle_since = state.now
        container.closed = False
        if container.state == "draining":
            stop(state, container, f"drained: {container.leaving}", 0.0)
        elif container.state == "ready" and function.policy.single_use and container.served:
            stop(state, container, "single use", 0.0)
    function.shelve(container)
    state.touch(function)


def waits(state: State, caller: str, more: int) -> None:
    """A container, if `caller` is one that is still there, waits for so many more of its own calls than before."""
    container = state.containers.get(caller)
    node = state.nodes.get(container.node) if container is not None else None
    if container is not None and node is not None:
        node.waits(container, more)
        function = state.functions[container.function]
        if container.busy >= function.slots:
            function.shelve(container)
        state.provision_due = state.provision_due or bool(state.hungry)


def remove(state: State, container: Container) -> None:
    """Take a container out of everything that holds it; what it ran is still to be settled."""
    function = state.functions[container.function]
    turn(state, container, "ended")
    if container.leader is not None:
        del function.followers[container.id]
    else:
        del function.containers[container.id]
        busy = container.busy
        function.occupy(container, -busy)
        container.busy = busy  # what it had, for whoever settles it
    unseat(state, function, container)


def forget_if_gone(state: State, function: Function) -> None:
    """A removed function stays known until nothing of it is left."""
    if function.removed and not function.containers and not function.followers:
        state.functions.pop(function.id, None)
        state.touched.pop(function.id, None)
        state.hungry.pop(function.id, None)


def turn(state: State, container: Container, event: str) -> None:
    """Follow the table, and keep the function's counts and shelves in step."""
    if container.leader is not None:
        container.turn(event)
        return
    function = state.functions[container.function]
    function.counts[container.state] -= 1
    if container.state == "starting":
        left = function.started_at_sum - container.started_at
        function.started_at_sum = left if function.counts["starting"] else 0.0
    container.turn(event)
    if container.state != "ended":
        function.counts[container.state] += 1
    if container.state in ("draining", "stopping"):
        function.leaving[container.id] = container
    else:
        function.leaving.pop(container.id, None)
    function.shelve(container)
