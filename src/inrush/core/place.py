"""On which node: filter, rank, plan.

Filter: the node is of the wanted cloud and region, and has cpu, memory and devices of the wanted type free. Rank: the
nearest to the type asked for; a GPU container goes where the fewest GPUs stay free (so that whole nodes stay whole
for those who want many), one without GPUs to where fewest GPUs are; then where fewest containers of the same function
are; then where most is free. Plan: a `Planner` ranks all nodes once and then hands out one placement after the other,
best first, in O(log n).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from inrush.core.containers import Container
from inrush.core.nodes import Node
from inrush.wire import FunctionSpec, GpuRequest, Resources

FAMILIES = {"A100": ("A100", "A100-40GB", "A100-80GB")}
"""Types of request that more than the type of that name satisfies, the nearest first. `ANY` is satisfied by all."""


class Placement(NamedTuple):
    """A place for one container."""

    node: str
    gpu_type: str
    gpus: tuple[int, ...]
    why: str


def accepts(request: GpuRequest, gpu_type: str) -> bool:
    """Whether a device of this type satisfies the request."""
    return request.type == "ANY" or gpu_type in FAMILIES.get(request.type, (request.type,))


def cpu_milli(resources: Resources) -> int:
    """The share of cpu a container holds, in thousandths of a core."""
    return round(resources.cpu * 1000)


def name(request: GpuRequest) -> str:
    """A request as users write it."""
    kind = "GPU" if request.type == "ANY" else request.type
    return kind if request.count == 1 else f"{request.count} {kind}"


class Planner:
    """Places for containers of one function, best first. Claim a placement on its node before asking for the next."""

    def __init__(self, spec: FunctionSpec, nodes: Iterable[Node], own: Iterable[Container] = ()) -> None:
        """`own` are the containers that the function has already."""
        self._cpu, self._memory = cpu_milli(spec.resources), spec.resources.memory_mib
        self._requests: list[GpuRequest | None] = list(spec.resources.gpu) or [None]
        anywhere = not spec.cloud and not spec.region
        self._nodes = [node for node in nodes if anywhere or in_bounds(spec, node)]
        self._own = Counter(container.node for container in own)
        self._heap: list[tuple[tuple[int, ...], int, Node]] = []
        self._last: Node | None = None
        self._fill()

    def next(self) -> Placement | None:
        """The best place as things are now, or None when there is none."""
        self._put_back()
        while self._requests:
            while self._heap:
                rank, _, node = heappop(self._heap)
                now = self._rank(node)
                if now is not None and now > rank:
                    heappush(self._heap, (now, node.order, node))
                elif now is not None:
                    return self._placed(node)
            del self._requests[0]
            self._fill()
        return None

    def _fill(self) -> None:
        if self._requests:
            ranked = ((self._rank(node), node.order, node) for node in self._nodes)
            self._heap = [(rank, order, node) for rank, order, node in ranked if rank is not None]
            heapify(self._heap)

    def _put_back(self) -> None:
        node, self._last = self._last, None
        if node is not None and (rank := self._rank(node)) is not None:
            heappush(self._heap, (rank, node.order, node))

    def _placed(self, node: Node) -> Placement:
        request = self._requests[0]
        self._last = node
        self._own[node.id] += 1
        if request is None:
            return Placement(node.id, "", (), f"{node.id} is the best of {self._nodes_with('room')}")
        gpu_type = free_type(request, node) or ""
        gpus = tuple(node.gpus[gpu_type][: request.count])
        why = f"{node.id} is the best of {self._nodes_with(f'{name(request)} free')}"
        return Placement(node.id, gpu_type, gpus, why)

    def _nodes_with(self, what: str) -> str:
        count = len(self._heap) + 1
        return f"{count} nodes with {what}" if count > 1 else f"1 node with {what}"

    def _rank(self, node: Node) -> tuple[int, ...] | None:
        """Less is better; None where a container does not fit."""
        if node.cpu_milli < self._cpu or node.memory_mib < self._memory:
            return None
        request, own = self._requests[0], self._own[node.id]
        if request is None:
            return (len(node.inventory.gpus), own, -node.cpu_milli, -node.memory_mib)
        gpu_type = free_type(request, node)
        if gpu_type is None:
            return None
        family = FAMILIES.get(request.type)
        kin = family.index(gpu_type) if family else 0
        return (kin, node.gpus_free, own, -node.cpu_milli, -node.memory_mib)


def in_bounds(spec: FunctionSpec, node: Node) -> bool:
    """Whether the node is where the function may run at all."""
    inventory = node.inventory
    return (not spec.cloud or spec.cloud == inventory.cloud) and (not spec.region or inventory.region in spec.region)


def free_type(request: GpuRequest, node: Node) -> str | None:
    """The type of free devices on the node that satisfies the request, the nearest to what was asked for."""
    kinds = node.gpus if request.type == "ANY" else FAMILIES.get(request.type, (request.type,))
    for gpu_type in kinds:
        if len(node.gpus.get(gpu_type, ())) >= request.count:
            return gpu_type
    return None


def can_ever(resources: Resources, nodes: Iterable[Node], spec: FunctionSpec | None = None) -> str | None:
    """None when some node, were it empty, could run such a container; else a sentence that says what lacks. Give the
    `spec` too to heed its cloud and region."""
    found = list(nodes)
    if not found:
        return None
    allowed = [node for node in found if spec is None or in_bounds(spec, node)]
    if not allowed:
        where = " ".join(filter(None, [spec.cloud, "/".join(spec.region)])) if spec else ""
        return f"no node is in {where}"
    if not resources.gpu:
        return _too_big(resources, allowed)
    lacks = [_lacks_gpu(request, resources, allowed) for request in resources.gpu]
    return None if None in lacks else "; ".join(lack for lack in lacks if lack)


def _lacks_gpu(request: GpuRequest, resources: Resources, nodes: list[Node]) -> str | None:
    """What the pool lacks for this request for ever; None when it can be met."""
    largest = max(_most(request, node) for node in nodes)
    if largest == 0:
        types = sorted({gpu.type for node in nodes for gpu in node.inventory.gpus})
        return f"no node has {_kind(request)}; there is {', '.join(types) or 'no GPU at all'}"
    if largest < request.count:
        return f"no node has {name(request)}; the largest has {largest}"
    return _too_big(resources, [node for node in nodes if _most(request, node) >= request.count])


def _kind(request: GpuRequest) -> str:
    return "a GPU" if request.type == "ANY" else request.type


def _most(request: GpuRequest, node: Node) -> int:
    """Devices of one type that satisfy the request on the node, were it empty."""
    counts: dict[str, int] = {}
    for gpu in node.inventory.gpus:
        if accepts(request, gpu.type):
            counts[gpu.type] = counts.get(gpu.type, 0) + 1
    return max(counts.values(), default=0)


def _too_big(resources: Resources, nodes: list[Node]) -> str | None:
    cpu = max(node.inventory.cpu for node in nodes)
    if cpu * 1000 < cpu_milli(resources):
        return f"no node has {resources.cpu:g} cpu; the largest has {cpu:g}"
    memory = max(node.inventory.memory_mib for node in nodes)
    if memory < resources.memory_mib:
        return f"no node has {resources.memory_mib} MiB of memory; the largest has {memory}"
    if not any(
        n.inventory.cpu * 1000 >= cpu_milli(resources) and n.inventory.memory_mib >= resources.memory_mib for n in nodes
    ):
        return f"no node has both {resources.cpu:g} cpu and {resources.memory_mib} MiB of memory"
    return None
