"""The few ways in which containers change between start and end, each of which keeps all counts in step."""

from __future__ import annotations

from inrush.core.model.amounts import Amount, held_by
from inrush.core.model.containers import WHOLE, Container
from inrush.core.model.effects import StartContainer, StopContainer, Tried
from inrush.core.model.functions import Function
from inrush.core.model.nodes import Node
from inrush.core.model.state import State
from inrush.core.model.wanted import Placement, cpu_milli

STOP_GRACE_S = 30.0
"""Time for running inputs to end when a container has to stop."""

EXIT_HOOKS_S = 30.0
"""Time for exit hooks, after the grace for inputs."""

KILL_S = 15.0
"""Time within which a container is gone that is killed."""

ASK_S = 10.0
"""A node with containers is asked as often which ones it has."""

_PHASES = 64
"""In each ASK_S nodes are asked at so many moments, each its part of them: many nodes neither answer at once nor wake
the core one by one."""


def start(state: State, function: Function, placement: Placement, why: str) -> None:
    """Starts a container at its place, and takes its share of the node now."""
    container = seat(state, function, placement, why)
    function.containers[container.id] = container
    function.counts["starting"] += 1
    function.started_at_sum += state.now
    tell_start(state, container)


def tell_start(state: State, container: Container, rank: int = 0) -> None:
    """Emits the start of a container, and uses up what was claimed for it."""
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
    """Makes a container, which takes its share of a node."""
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
    if not node.questioned:
        plan_question(state, node, ASK_S * (0.5 + node.order % _PHASES / _PHASES))
    _count(state, function, container, 1)
    return container


def plan_question(state: State, node: Node, in_s: float = ASK_S) -> None:
    """Has a node asked in so many seconds, or a little more, which containers it has."""
    node.questioned = True
    between_s = ASK_S / _PHASES
    state.quiet_timer(((state.now + in_s) // between_s + 1) * between_s, "question", node.id)


def unseat(state: State, function: Function, container: Container) -> None:
    """Forgets a container, and gives back all that it holds."""
    del state.containers[container.id]
    node = state.nodes.get(container.node)
    if node is not None:
        node.leave(container)
    _count(state, function, container, -1)
    state.provision_due = state.provision_due or bool(state.hungry)


def _count(state: State, function: Function, container: Container, sign: int) -> None:
    """Keeps count of what each app holds, and of where the function's containers are."""
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
    """Adds to a count, and drops it when it is zero."""
    counts[key] = counts.get(key, 0) + more
    if not counts[key]:
        del counts[key]


def stop(state: State, container: Container, why: str, grace_s: float = STOP_GRACE_S, kill: bool = False) -> None:
    """Tells a container and its followers to stop. It takes no more inputs, and what it runs may end within `grace_s`,
    unless `kill`."""
    if container.state == "stopping" and not (kill and not container.killed):
        return
    turn(state, container, "stop")
    container.killed = container.killed or kill
    container.stop_by = state.now + KILL_S + (0.0 if kill else grace_s + EXIT_HOOKS_S)
    state.out.append(StopContainer(container.id, container.node, 0.0 if kill else grace_s, kill, why))
    if container.leader is None:
        state.functions[container.function].departures.append((state.now, f"{container.id} had to go: {why}"))
    for follower in container.followers:
        if follower.id in state.containers:
            stop(state, follower, why, grace_s, kill)


def insist(state: State, container: Container) -> None:
    """Kills a container that should have ended by itself."""
    container.stop_by = state.now + KILL_S
    why = "it was told to stop, and has not ended within its grace"
    state.out.append(StopContainer(container.id, container.node, 0.0, kill=True, why=why))


def preempt(state: State, container: Container, why: str, grace_s: float = STOP_GRACE_S) -> None:
    """Stops a container in favour of others. What does not end within the grace is tried again elsewhere, free of
    charge."""
    container.preempted = True
    stop(state, container, why, grace_s)


def drain(state: State, container: Container, why: str) -> None:
    """Sends a container no more inputs; it is stopped when what it runs has ended."""
    if container.state == "ready" and container.busy:
        turn(state, container, "drain")
        container.leaving = why
    elif container.state in ("starting", "ready"):
        stop(state, container, why, 0.0)


def released(state: State, container: Container) -> None:
    """Shelves a container after inputs of it ended, or stops it when its time has come."""
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
    """Notes that a container waits for `more` calls of its own. Does nothing where `caller` is no container, or one
    that is gone."""
    container = state.containers.get(caller)
    node = state.nodes.get(container.node) if container is not None else None
    if container is not None and node is not None:
        node.waits(container, more)
        function = state.functions[container.function]
        if container.busy >= function.slots:
            function.shelve(container)
        state.provision_due = state.provision_due or bool(state.hungry)


def remove(state: State, container: Container) -> None:
    """Takes a container out of everything that holds it. The caller settles what it ran."""
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


def tried(state: State, function: Function, outcome: str, why: str = "", container: str = "") -> None:
    """Tells once what became of a function on trial."""
    if function.trial:
        function.trial = ""
        state.out.append(Tried(function.id, outcome, why, container))


def forget_if_gone(state: State, function: Function) -> None:
    """Forgets a removed function of which nothing is left."""
    if function.removed and not function.containers and not function.followers:
        state.functions.pop(function.id, None)
        state.touched.pop(function.id, None)
        state.hungry.pop(function.id, None)


def turn(state: State, container: Container, event: str) -> None:
    """Changes a container's state as the table says, and keeps the function's counts and shelves in step."""
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
