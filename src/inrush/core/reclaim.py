"""Letting idle containers go because somebody waits for what they hold.

Two functions that share the same few GPUs would else stand in each other's way until `scaledown_window` is over. A
container may be taken when it runs nothing and its function stays at or above its minimum. What stopping containers
will give back is counted first, so that no more are let go than are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from inrush.core.containers import Container
from inrush.core.functions import Function
from inrush.core.lifecycle import stop
from inrush.core.nodes import Node
from inrush.core.place import accepts, cpu_milli, in_bounds
from inrush.core.state import State

RECLAIMS_PER_STEP = 32


@dataclass(slots=True)
class _Room:
    """What a node will have free, once what is stopping has ended and less what others were promised."""

    node: Node
    cpu_milli: int
    memory_mib: int
    gpus: dict[str, int]

    def add(self, container: Container, sign: int = 1) -> None:
        self.cpu_milli += sign * container.cpu_milli
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
    """Make room for these functions, each of which has inputs waiting and found no place."""
    waiting = [function for function in refused if function.queued]
    idle = _takeable(state) if waiting else {}
    if not idle:
        return
    rooms = {node.id: _room(node) for node in state.nodes.values()}
    left = RECLAIMS_PER_STEP
    for function in waiting:
        for _ in range(function.wanted - function.live):
            left = _make_room(state, function, rooms, idle, left)
            if left <= 0:
                return


def _make_room(
    state: State, function: Function, rooms: dict[str, _Room], idle: dict[str, list[Container]], left: int
) -> int:
    """Room for one more container: promised where it will be free anyway, else made by letting idle ones go."""
    for room in rooms.values():
        gpu_type = room.fits(function) if in_bounds(function.spec, room.node) else None
        if gpu_type is not None:
            room.promise(function, gpu_type)
            return left
    for node_id, candidates in idle.items():
        room = rooms[node_id]
        if in_bounds(function.spec, room.node) and (taken := _enough(state, function, room, candidates)):
            for container in taken:
                candidates.remove(container)
                stop(state, container, f"idle, and {function.spec.name} waits for its place", 0.0)
                left -= 1
            gpu_type = room.fits(function)
            if gpu_type is not None:
                room.promise(function, gpu_type)
            return left
    return left


def _enough(state: State, function: Function, room: _Room, candidates: list[Container]) -> list[Container]:
    """The fewest, longest idle containers whose going makes room; empty (and nothing changed) when all together do
    not."""
    taken: list[Container] = []
    going: dict[str, int] = {}
    for container in candidates:
        owner = state.functions[container.function]
        spare = owner.live - owner.policy.min_containers - going.get(owner.id, 0)
        if owner is function or spare <= 0 or not _helps(function, room, container):
            continue
        going[owner.id] = going.get(owner.id, 0) + 1
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
    if any(accepts(request, container.gpu_type) for request in resources.gpu) and container.gpus:
        return True
    return room.cpu_milli < cpu_milli(resources) or room.memory_mib < resources.memory_mib


def _takeable(state: State) -> dict[str, list[Container]]:
    """Idle containers above their function's minimum, by node, the longest idle first."""
    found: dict[str, list[Container]] = {}
    idle = [c for f in state.functions.values() if f.live > f.policy.min_containers for c in f.idle.values()]
    for container in sorted(idle, key=lambda c: c.idle_since):
        found.setdefault(container.node, []).append(container)
    return found


def _room(node: Node) -> _Room:
    room = _Room(node, node.cpu_milli, node.memory_mib, {kind: len(free) for kind, free in node.gpus.items()})
    for container in node.containers.values():
        if container.state == "stopping":
            room.add(container)
    return room
