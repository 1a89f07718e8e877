"""Invariants of what is placed where: nothing is given twice, quotas hold, clusters are whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from inrush.core.containers.clusters import members
from inrush.core.model.containers import WHOLE
from inrush.core.model.nodes import Node, cpu_to_give
from inrush.core.model.quotas import exceeded
from inrush.core.model.state import State


def placing(state: State) -> Iterator[str]:
    """What is wrong, in sentences."""
    for node in state.nodes.values():
        for text in (*_node(state, node), *_devices(node)):
            yield f"node {node.id}: {text}"
        if node.group is None or state.index.groups.get(node.group.kind) is not node.group:
            yield f"node {node.id} is not in the index"
    yield from _quotas(state)
    yield from _clusters(state)
    yield from _seats(state)
    if any(owner != state.claimant for node in state.nodes.values() for owner in node.claims):
        yield f"devices are kept for others than {state.claimant!r}"


def _node(state: State, node: Node) -> Iterator[str]:
    containers = node.containers.values()
    if any(state.containers.get(c.id) is not c for c in containers):
        yield "holds a container that is gone"
    if node.cpu_milli != cpu_to_give(node.inventory) - sum(c.cpu_held_milli for c in containers):
        yield "its free cpu does not add up"
    if node.memory_mib != node.inventory.memory_mib - node.held_mib - sum(c.memory_mib for c in containers):
        yield "its free memory does not add up"
    if not node.shrunk and (node.memory_mib + node.held_mib < 0 or (node.cpu_milli < 0 and not node.lent)):
        yield "more is held than the node has"


def _devices(node: Node) -> Iterator[str]:
    """Each device is whole and free, held by one, or shared by several whose parts are no more than one."""
    there = {(gpu.type, gpu.index) for gpu in node.inventory.gpus}
    held: dict[tuple[str, int], int] = defaultdict(int)
    for container in node.containers.values():
        for index in container.gpus:
            held[container.gpu_type, index] += container.share_milli
    free = [(gpu_type, index) for gpu_type, indexes in node.gpus.items() for index in indexes]
    parts = {(t, index): left for t, indexes in node.parts.items() for index, left in indexes.items()}
    if node.gpus_free != len(free):
        yield "its free GPUs do not add up"
    over = sorted(device for device, milli in held.items() if milli > WHOLE)
    if over:
        yield f"more than all of a GPU is held: {over}"
    if there - set(held) != set(free):
        yield f"free GPUs are {sorted(free)}, should be {sorted(there - set(held))}"
    shared = {device: WHOLE - milli for device, milli in held.items() if milli < WHOLE and device in there}
    open_parts = {device: left for device, left in parts.items() if left}
    if shared != open_parts:
        yield f"parts of GPUs free are {sorted(open_parts.items())}, should be {sorted(shared.items())}"
    if not node.shrunk and not set(held) <= there:
        yield "GPUs are held that are not there"


def _quotas(state: State) -> Iterator[str]:
    used: dict[str, dict[str, int]] = {}
    for container in state.containers.values():
        if container.gpus and container.function in state.functions:
            mine = used.setdefault(state.functions[container.function].app, {})
            more = len(container.gpus) * container.share_milli
            mine[container.gpu_type] = mine.get(container.gpu_type, 0) + more
    if used != state.used:
        yield f"devices held by app are {used}, counted {state.used}"
    for app, mine in used.items():
        over = next(filter(None, (exceeded(state.quotas, app, mine, gpu_type, 0) for gpu_type in mine)), "")
        if over:
            yield over


def _clusters(state: State) -> Iterator[str]:
    for function in state.functions.values():
        size = function.spec.cluster_size
        for leader in function.containers.values():
            all_there = [member for member in members(leader) if member.id in state.containers]
            whole = len(all_there) == max(1, size)
            if leader.state in ("ready", "draining") and not whole and (size > 1) == bool(leader.followers):
                yield f"cluster {leader.id} has {len(all_there)} of {size} containers"
            if leader.state == "ready" and not all(member.well for member in members(leader)):
                yield f"cluster {leader.id} takes inputs before all of it are ready"


def _seats(state: State) -> Iterator[str]:
    for function in state.functions.values():
        seats: dict[str, int] = {}
        for container in (*function.containers.values(), *function.followers.values()):
            seats[container.node] = seats.get(container.node, 0) + 1
        if seats != function.seats:
            yield f"function {function.id} has {seats} containers by node, counted {function.seats}"
