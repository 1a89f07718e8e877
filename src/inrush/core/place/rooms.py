"""What nodes will have free once some containers have stopped, computed without changing the state."""

from __future__ import annotations

from dataclasses import dataclass

from inrush.core.model.containers import WHOLE, Container
from inrush.core.model.functions import Function
from inrush.core.model.nodes import Node
from inrush.core.model.state import State
from inrush.core.model.wanted import accepts, cpu_milli, in_bounds, share_milli

Candidates = dict[str, list[Container]]
"""Containers that may be stopped, by node, in the order in which they should be."""

NODES_COMPARED = 32
"""Of so many nodes that would do, the one is taken on which fewest containers have to stop."""


@dataclass(slots=True)
class Room:
    """What a node will have free, less what is promised to others. `devices` holds thousandths by type and index."""

    node: Node
    cpu_milli: int
    memory_mib: int
    devices: dict[str, dict[int, int]]

    def add(self, container: Container, sign: int = 1) -> None:
        """Adds what a container will give back; with -1, takes it off again."""
        self.cpu_milli += sign * container.cpu_held_milli
        self.memory_mib += sign * container.memory_mib
        there = self.devices.setdefault(container.gpu_type, {}) if container.gpus else {}
        for index in container.gpus:
            there[index] = there.get(index, 0) + sign * container.share_milli

    def fits(self, function: Function) -> tuple[str, tuple[int, ...]] | None:
        """The devices with which a container of the function fits; None when it does not."""
        resources = function.spec.resources
        if self.cpu_milli < cpu_milli(resources) or self.memory_mib < resources.memory_mib or self.node.aside:
            return None
        if not resources.gpu:
            return "", ()
        for request in resources.gpu:
            for gpu_type, devices in self.devices.items():
                if not accepts(request, gpu_type):
                    continue
                least = share_milli(request)
                enough = sorted((free, index) for index, free in devices.items() if free >= least)
                kept = self._kept(function, gpu_type) if least == WHOLE else 0
                if len(enough) - kept >= request.count:
                    return gpu_type, tuple(index for _, index in enough[: request.count])
        return None

    def promise(self, function: Function) -> bool:
        """Promises room to a container, if it fits. Returns whether it does."""
        found = self.fits(function)
        if found is None:
            return False
        resources, (gpu_type, indexes) = function.spec.resources, found
        self.cpu_milli -= cpu_milli(resources)
        self.memory_mib -= resources.memory_mib
        for index in indexes:
            least = min(share_milli(r) for r in resources.gpu if accepts(r, gpu_type))
            self.devices[gpu_type][index] -= least
        return True

    def _kept(self, function: Function, gpu_type: str) -> int:
        claims = self.node.claims.items()
        others = (c for owner, c in claims if owner != function.id and c.priority >= function.spec.priority)
        return sum(c.devices for c in others if c.gpu_type == gpu_type)


def room_of(node: Node) -> Room:
    """The room of a node as it is now."""
    devices = {gpu_type: dict.fromkeys(indexes, WHOLE) for gpu_type, indexes in node.gpus.items()}
    for gpu_type, parts in node.parts.items():
        devices.setdefault(gpu_type, {}).update(parts)
    return Room(node, node.cpu_milli, node.memory_mib, devices)


def rooms(state: State, function: Function, candidates: Candidates) -> dict[str, Room]:
    """The rooms of nodes on which containers leave or may leave, less the places found for a cluster of the function.
    On other nodes nothing changes."""
    found: dict[str, Room] = {}
    for owner in state.functions.values():
        for container in owner.leaving.values():
            for member in (container, *container.followers):
                if member.id in state.containers and member.node in state.nodes:
                    if member.node not in found:
                        found[member.node] = room_of(state.nodes[member.node])
                    found[member.node].add(member)
    for node_id in candidates:
        if node_id not in found:
            found[node_id] = room_of(state.nodes[node_id])
    for place in function.places:
        if place.node in found:
            found[place.node].promise(function)
    return found


def promised(function: Function, found: dict[str, Room], most: int) -> int:
    """For how many of these containers there will be room anyway. That room is promised to the function."""
    count = 0
    for room in found.values():
        if in_bounds(function.spec, room.node):
            while count < most and room.promise(function):
                count += 1
    return count


def enough(function: Function, found: dict[str, Room], candidates: Candidates) -> list[Container]:
    """The fewest containers of one node that make room when they stop; the room is promised to the function. Empty when
    no node will do."""
    best: list[Container] = []
    compared = 0
    for node_id, here in candidates.items():
        room = found[node_id]
        taken = _first(function, room, here) if here and in_bounds(function.spec, room.node) else []
        if not taken:
            continue
        if not best or len(taken) < len(best):
            best = taken
        compared += 1
        if len(best) == 1 or compared >= NODES_COMPARED:
            break
    if best:
        node_id = best[0].node
        candidates[node_id] = [container for container in candidates[node_id] if container not in best]
        for container in best:
            found[node_id].add(container)
        found[node_id].promise(function)
    return best


def by_node(containers: list[Container]) -> Candidates:
    """Containers as candidates, in this order."""
    found: Candidates = {}
    for container in containers:
        found.setdefault(container.node, []).append(container)
    return found


def _first(function: Function, room: Room, candidates: list[Container]) -> list[Container]:
    """The first candidates that make room together; empty when not even all of them do. The room itself is
    unchanged."""
    resources = function.spec.resources
    cpu = cpu_milli(resources)
    kinds = {t for t in room.devices if any(accepts(request, t) for request in resources.gpu)}
    taken: list[Container] = []
    fits = False
    for container in candidates:
        if container.gpu_type in kinds or room.cpu_milli < cpu or room.memory_mib < resources.memory_mib:
            taken.append(container)
            room.add(container)
            fits = room.fits(function) is not None
            if fits:
                break
    for container in taken:
        room.add(container, -1)
    return taken if fits else []
