"""What can never be placed, however long one waits, as opposed to what is busy now, so that a mistake is refused at
once. A pool may still bring nodes that no present node is like."""

from __future__ import annotations

from collections.abc import Iterable

from inrush.core.model.nodes import Node
from inrush.core.model.pools import Pool
from inrush.core.model.wanted import accepts, cpu_milli, in_bounds, name
from inrush.core.pools.orders import POOLS_NAMED, serving
from inrush.wire import FunctionSpec, GpuRequest, Resources


def servable(spec: FunctionSpec, nodes: Iterable[Node], pools: Iterable[Pool]) -> str | None:
    """None when some node, or one that a pool may bring, could run such a container; else a sentence about what nodes
    and pools lack."""
    pools = [pool for pool in pools if len(pool.nodes) < pool.nodes_max]  # of others all nodes are there
    why = can_ever(spec.resources, nodes, spec)
    if why is None or not pools:
        return why
    if next(serving(spec, pools), None) is not None:
        return None
    return f"{why}; nor will a node of a pool: {'; '.join(_has(pool) for pool in pools[:POOLS_NAMED])}"


def _has(pool: Pool) -> str:
    """What the nodes of a pool are: `cheap has 8 A100, 64 cpu, 524288 MiB in aws north`."""
    inventory = pool.inventory
    gpus = f"{len(inventory.gpus)} {inventory.gpus[0].type}" if inventory.gpus else "no GPU"
    where = " ".join(filter(None, (inventory.cloud, inventory.region)))
    labels = "".join(f", {key}={value}" for key, value in inventory.labels)
    text = f"{pool.id} has {gpus}, {inventory.cpu:g} cpu, {inventory.memory_mib} MiB{labels}"
    return f"{text} in {where}" if where else text


def can_ever(resources: Resources, nodes: Iterable[Node], spec: FunctionSpec | None = None) -> str | None:
    """None when some node could run such a container if it were empty; else a sentence about what lacks. With the
    `spec`, its cloud, region and labels count too."""
    found = list({_kind_of(node): node for node in nodes}.values())
    if not found:
        return None
    allowed = [node for node in found if spec is None or in_bounds(spec, node)]
    if not allowed:
        labels = [f"{key}={value}" for key, value in spec.node_labels] if spec else []
        where = " ".join(filter(None, [spec.cloud, "/".join(spec.region), *labels])) if spec else ""
        return f"no node is in {where}"
    if not resources.gpu:
        return _too_big(resources, allowed)
    lacks = [_lacks_gpu(request, resources, allowed) for request in resources.gpu]
    return None if None in lacks else "; ".join(lack for lack in lacks if lack)


def _lacks_gpu(request: GpuRequest, resources: Resources, nodes: list[Node]) -> str | None:
    """What the nodes lack for this request however long one waits; None when it can be met."""
    largest = max(_most(request, node) for node in nodes)
    if largest == 0:
        types = sorted({gpu.type for node in nodes for gpu in node.inventory.gpus})
        return f"no node has {_kind(request)}; there is {', '.join(types) or 'no GPU at all'}"
    if largest < request.count:
        return f"no node has {name(request)}; the largest has {largest}"
    return _too_big(resources, [node for node in nodes if _most(request, node) >= request.count])


def _kind_of(node: Node) -> object:
    """A key that is the same for nodes that can do the same, so that a few kinds are looked at instead of a thousand
    nodes."""
    inventory = node.inventory
    return node.id if node.group is None else (node.group.kind, inventory.cpu, inventory.memory_mib)


def _kind(request: GpuRequest) -> str:
    return "a GPU" if request.type == "ANY" else request.type


def _most(request: GpuRequest, node: Node) -> int:
    """The devices of one type that satisfy the request on the node, if it were empty."""
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
