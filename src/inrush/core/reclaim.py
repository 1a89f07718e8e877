"""Making room for functions that wait for what others hold.

Idle containers go first and at once: two functions that share the same few GPUs would else stand in each other's way
until `scaledown_window` is over. If none is idle, whoever holds more than its share yields, a container at a time: it
finishes what it runs and takes no more. Nobody goes below its minimum. What leaving containers will give back is
counted first, so that no more are let go than are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from inrush.core.containers import Container
from inrush.core.functions import Function
from inrush.core.lifecycle import drain, stop
from inrush.core.nodes import Node
from inrush.core.place import accepts, cpu_milli, in_bounds
from inrush.core.state import State

RECLAIMS_PER_STEP = 32

YIELD_AFTER_S = 0.5
"""Inputs wait this long before busy containers of others are asked to yield."""

Candidates = dict[str, list[Container]]
"""Containers that may go, by node, in the order in which they should."""


@dataclass(slots=True)
class _Room:
    """What a node will have free, once what is stopping has ended and less what others were promised."""

    node: Node
    cpu_milli: int
    memory_mib: int
    gpus: dict[str, int]

    def add(self, container: Container, sign: int = 1) -> None:
        self.cpu_milli += sign * container.cpu_held_milli
        self.memory_mib += sign * container.memory_mib
        if container.gpus:
            self.gpus[container.gpu_type] = self.gpus.get(container.gpu_type, 0) + sign * len(container.gpus)

    def fits(self, function: Function) -> str | None:
        """The device type (empty without GPUs) with which a container of the function fits, or None."""
        resources = function.spec.resources
        if self.cpu_milli < cpu_milli(resources) or self.memory_mib < resources.memory_mib:
            return None
        if not resources.gpu:
            return ""
        for request in resources.gpu:
            for gpu_type, count in self.gpus.items():
                if count >= request.count and accepts(request, gpu_type):
                    return gpu_type
        return None

    def promise(self, function: Function, gpu_type: str) -> None:
        resources = function.spec.resources
        self.cpu_milli -= cpu_milli(resources)
        self.memory_mib -= resources.memory_mib
        if gpu_type:
            count = next(r.count for r in resources.gpu if accepts(r, gpu_type) and r.count <= self.gpus[gpu_type])
            self.gpus[gpu_type] -= count


def reclaim(state: State, refused: list[Function]) -> None:
    """Make room for these functions, of which those with inputs waiting count."""
    waiting = [function for function in refused if function.queued]
    if not waiting:
        return
    idle = _idle(state)
    rooms = _rooms(state, idle)
    left = RECLAIMS_PER_STEP
    for function in waiting:
        for _ in range(min(left, function.wanted - function.live)):
            if _promised(function, rooms):
                continue
            taken = _let_go(function, rooms, idle)
            for container in taken:
                stop(state, container, f"idle, and {function.spec.name} waits for its place", 0.0)
            left -= len(taken)
            if not taken:
                _ask_to_yield(state, function)
                break


def _promised(function: Function, rooms: dict[str, _Room]) -> bool:
    """Whether there will be room anyway; it is promised to the function then."""
    for room in rooms.values():
        gpu_type = room.fits(function) if in_bounds(function.spec, room.node) else None
        if gpu_type is not None:
            room.promise(function, gpu_type)
            return True
    return False


def _let_go(function: Function, rooms: dict[str, _Room], candidates: Candidates) -> list[Container]:
    """Containers of one node whose going makes room, which is promised to the function; empty when there are none."""
    for node_id, here in candidates.items():
        room = rooms[node_id]
        taken = _enough(function, room, here) if in_bounds(function.spec, room.node) else []
        if taken:
            candidates[node_id] = [container for container in here if container not in taken]
            gpu_type = room.fits(function)
            assert gpu_type is not None
            room.promise(function, gpu_type)
            return taken
    return []


def _enough(function: Function, room: _Room, candidates: list[Container]) -> list[Container]:
    """The first candidates that make room together; empty, and nothing changed, when not even all do."""
    taken: list[Container] = []
    for container in candidates:
        if _helps(function, room, container):
            taken.append(container)
            room.add(container)
            if room.fits(function) is not None:
                return taken
    for container in taken:
        room.add(container, -1)
    return []


def _helps(function: Function, room: _Room, container: Container) -> bool:
    """Whether a container holds something that the function lacks on this node."""
    resources = function.spec.resources
    if container.gpus and any(accepts(request, container.gpu_type) for request in resources.gpu):
        return True
    return room.cpu_milli < cpu_milli(resources) or room.memory_mib < resources.memory_mib


def _idle(state: State) -> Candidates:
    """Idle containers that their functions can do without, by node, the longest idle first."""
    spare: list[Container] = []
    for function in state.functions.values():
        spare += list(function.idle.values())[: max(0, function.live - function.policy.min_containers)]
    return _by_node(sorted(spare, key=lambda container: container.idle_since))


def _ask_to_yield(state: State, function: Function) -> None:
    """Have busy containers of those with more than their share drained, as many as make room for one of the
    function's."""
    if state.now - function.queued_since < YIELD_AFTER_S:
        return
    unfair: list[Container] = []
    for owner in sorted(state.functions.values(), key=lambda other: (-_share(state, other, function), other.order)):
        more = _share(state, owner, function) - _share(state, function, owner)
        count = min(more - 1, owner.live - owner.policy.min_containers)
        if owner is function or count <= 0 or owner.spec.nonpreemptible or owner.spec.priority > function.spec.priority:
            continue
        ready = [container for container in owner.containers.values() if container.state == "ready"]
        unfair += sorted(ready, key=lambda container: container.busy)[:count]
    candidates = _by_node(unfair)
    for container in _let_go(function, _rooms(state, candidates), candidates):
        drain(state, container, f"{function.spec.name} waits for its share")


def _share(state: State, function: Function, other: Function) -> int:
    """Containers that count against each other: of the app, or of the function if both are of one app."""
    return function.live if function.app == other.app else state.per_app.get(function.app, 0)


def _rooms(state: State, candidates: Candidates) -> dict[str, _Room]:
    """The rooms of the nodes on which something leaves or may leave; on the others nothing changes."""
    rooms: dict[str, _Room] = {}
    for function in state.functions.values():
        if function.counts["stopping"] or function.counts["draining"]:
            for container in function.containers.values():
                if container.state in ("stopping", "draining"):
                    _room(state, rooms, container.node).add(container)
    for node_id in candidates:
        _room(state, rooms, node_id)
    return rooms


def _room(state: State, rooms: dict[str, _Room], node_id: str) -> _Room:
    if node_id not in rooms:
        node = state.nodes[node_id]
        free = {gpu_type: len(indexes) for gpu_type, indexes in node.gpus.items()}
        rooms[node_id] = _Room(node, node.cpu_milli, node.memory_mib, free)
    return rooms[node_id]


def _by_node(containers: list[Container]) -> Candidates:
    found: Candidates = {}
    for container in containers:
        found.setdefault(container.node, []).append(container)
    return found
