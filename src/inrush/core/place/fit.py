"""On which node: filter and rank, for one node at a time; `index.py` finds the nodes worth ranking.

Filter: the node is of the wanted cloud, region and labels, is not set aside, and has cpu, memory and devices free that
are not kept for another. Rank, the less the better, in this order:

1. the type of device nearest to what was asked for;
2. starts that failed there lately;
3. price;
4. what is missing there: nothing, the snapshot, the image;
5. free GPUs, so that whole nodes stay whole for those who want many (without GPUs: GPUs at all);
6. containers of the same function, so that one node's end takes few;
7. most cpu and memory free; then the node that joined first.
"""

from __future__ import annotations

from inrush.core.model.nodes import Node
from inrush.core.model.wanted import FAMILIES, Wanted, share_milli
from inrush.wire import GpuRequest


def fits(want: Wanted, request: GpuRequest | None, gpu_type: str, node: Node) -> bool:
    """Whether a container fits on the node as it is now, with devices of this type. The caller checks cloud, region and
    labels."""
    if node.cpu_milli < want.cpu_milli or node.memory_mib < want.memory_mib or node.aside:
        return False
    if want.cpu_milli > node.inventory.cpu * 1000:
        return False
    return request is None or has_devices(want, request, gpu_type, node)


def has_devices(want: Wanted, request: GpuRequest, gpu_type: str, node: Node) -> bool:
    """Whether the node has the devices free, whatever else it lacks."""
    if request.share < 1 and shared_device(node, gpu_type, share_milli(request)) is not None:
        return True
    return node.whole_free(gpu_type, want.function, want.spec.priority) >= request.count


def shared_device(node: Node, gpu_type: str, milli: int) -> int | None:
    """The shared device that has enough left, the fullest first; None when there is none."""
    left = [(free, index) for index, free in node.parts.get(gpu_type, {}).items() if free >= milli]
    return min(left)[1] if left else None


def rank(want: Wanted, request: GpuRequest | None, node: Node) -> tuple[float, ...]:
    """How good a node that fits is, with devices of one type; less is better."""
    missing = 0
    if want.image and want.image not in node.holds:
        missing = 2
    elif want.spec.snapshot and want.function not in node.holds:
        missing = 1
    free = len(node.inventory.gpus) if request is None else node.gpus_free
    seats = want.seats.get(node.id, 0)
    return (node.failures, node.inventory.price, missing, free, seats, -node.cpu_milli, -node.memory_mib, node.order)


def devices(request: GpuRequest | None, gpu_type: str, node: Node) -> tuple[int, ...]:
    """Which devices of the node a container gets, on a node where it fits."""
    if request is None:
        return ()
    if request.share < 1:
        shared = shared_device(node, gpu_type, share_milli(request))
        return (node.gpus[gpu_type][0],) if shared is None else (shared,)
    return tuple(node.gpus[gpu_type][: request.count])


def kinds_of(request: GpuRequest, node: Node) -> list[str]:
    """Types of device on the node that satisfy the request, the nearest to it first."""
    kinds = node.gpus if request.type == "ANY" else FAMILIES.get(request.type, (request.type,))
    return [gpu_type for gpu_type in kinds if gpu_type in node.gpus]
