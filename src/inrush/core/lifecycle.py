"""Containers from start to end: the few ways in which they change, each keeping all that counts them in step."""

from __future__ import annotations

from inrush.core.containers import Container
from inrush.core.effects import StartContainer, StopContainer
from inrush.core.functions import Function
from inrush.core.place import Placement, cpu_milli
from inrush.core.state import State

STOP_GRACE_S = 30.0
"""Time for running inputs when a container must go although it runs some."""


def start(state: State, function: Function, placement: Placement, why: str) -> None:
    """Start a container at its place; its share of the node is taken now."""
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
    )
    state.containers[container.id] = container
    state.nodes[placement.node].seat(container)
    state.per_app[function.app] = state.per_app.get(function.app, 0) + 1
    function.containers[container.id] = container
    function.counts["starting"] += 1
    state.out.append(StartContainer(container.id, function.id, placement.node, placement.gpus, placement.gpu_type, why))


def stop(state: State, container: Container, why: str, grace_s: float = STOP_GRACE_S, kill: bool = False) -> None:
    """Tell a container to go. It takes no more inputs; what it runs may end within `grace_s`, unless `kill`."""
    if container.state == "stopping" and not (kill and not container.killed):
        return
    turn(state, container, "stop")
    container.killed = container.killed or kill
    state.out.append(StopContainer(container.id, container.node, 0.0 if kill else grace_s, kill, why))


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
    if container.busy == 0:
        container.idle_since = state.now
        container.closed = False
        if container.state == "draining":
            stop(state, container, f"drained: {container.leaving}", 0.0)
        elif container.state == "ready" and function.policy.single_use and container.served:
            stop(state, container, "single use", 0.0)
        elif state.hungry:
            state.provision_due = True
    function.shelve(container)
    state.touch(function)


def waits(state: State, caller: str, more: int) -> None:
    """A container, if `caller` is one that is still there, waits for so many more of its own calls than before."""
    container = state.containers.get(caller)
    if container is not None:
        state.nodes[container.node].waits(container, more)
        function = state.functions[container.function]
        if container.busy >= function.slots:
            function.shelve(container)
        state.provision_due = state.provision_due or bool(state.hungry)


def remove(state: State, container: Container) -> None:
    """Take a container out of everything that holds it; what it ran is still to be settled."""
    function = state.functions[container.function]
    turn(state, container, "ended")
    del state.containers[container.id]
    del function.containers[container.id]
    busy = container.busy
    function.occupy(container, -busy)
    container.busy = busy  # what it had, for whoever settles it
    node = state.nodes.get(container.node)
    if node is not None:
        node.leave(container)
    state.per_app[function.app] -= 1
    if not state.per_app[function.app]:
        del state.per_app[function.app]
    state.provision_due = state.provision_due or bool(state.hungry)


def forget_if_gone(state: State, function: Function) -> None:
    """A removed function stays known until nothing of it is left."""
    if function.removed and not function.containers:
        state.functions.pop(function.id, None)
        state.touched.pop(function.id, None)
        state.hungry.pop(function.id, None)


def turn(state: State, container: Container, event: str) -> None:
    """Follow the table, and keep the function's counts and shelves in step."""
    function = state.functions[container.function]
    function.counts[container.state] -= 1
    container.turn(event)
    if container.state != "ended":
        function.counts[container.state] += 1
    function.shelve(container)
