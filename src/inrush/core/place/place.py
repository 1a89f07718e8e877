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

from hashlib import blake2b
from typing import NamedTuple

import msgspec

from inrush.core.model.containers import WHOLE
from inrush.core.model.nodes import Node
from inrush.wire import FunctionSpec, GpuRequest, Inventory, Recipe, Resources

FAMILIES = {"A100": ("A100", "A100-40GB", "A100-80GB")}
"""Types of request that more than the type of that name satisfies, the nearest first. `ANY` is satisfied by all."""


class Placement(NamedTuple):
    """A place for one container."""

    node: str
    gpu_type: str
    gpus: tuple[int, ...]
    share_milli: int
    why: str


class Wanted(NamedTuple):
    """What one container of a function asks for, ready to be compared with nodes."""

    function: str
    spec: FunctionSpec
    cpu_milli: int
    memory_mib: int
    image: str = ""
    """Key of its image."""
    seats: dict[str, int] = {}  # noqa: RUF012  (read only)
    """Containers that the function has already, by node."""


def wanted(function: str, spec: FunctionSpec, seats: dict[str, int] | None = None) -> Wanted:
    """What containers of this function ask for; `seats` may change as they come and go."""
    resources, own = spec.resources, {} if seats is None else seats
    return Wanted(function, spec, cpu_milli(resources), resources.memory_mib, image_key(spec.image), own)


def image_key(recipe: Recipe) -> str:
    """By what a node says that it holds an image."""
    return blake2b(msgspec.msgpack.encode(recipe), digest_size=12).hexdigest()


def accepts(request: GpuRequest, gpu_type: str) -> bool:
    """Whether a device of this type satisfies the request."""
    return request.type == "ANY" or gpu_type in FAMILIES.get(request.type, (request.type,))


def cpu_milli(resources: Resources) -> int:
    """The share of cpu a container holds, in thousandths of a core."""
    return round(resources.cpu * 1000)


def share_milli(request: GpuRequest) -> int:
    """The part of each device that is asked for, in thousandths."""
    return min(WHOLE, max(1, round(request.share * WHOLE)))


def name(request: GpuRequest, gpu_type: str = "") -> str:
    """A request as users write it, or as it is met with devices of a type."""
    kind = gpu_type or ("GPU" if request.type == "ANY" else request.type)
    if request.share < 1:
        return f"{request.share:g} {kind}"
    return kind if request.count == 1 else f"{request.count} {kind}"


def in_bounds(spec: FunctionSpec, node: Node) -> bool:
    """Whether the node is where the function may run at all."""
    return inventory_in_bounds(spec, node.inventory)


def inventory_in_bounds(spec: FunctionSpec, inventory: Inventory) -> bool:
    """The same of a node that is not there yet, or of all nodes of a kind."""
    return (
        (not spec.cloud or spec.cloud == inventory.cloud)
        and (not spec.region or inventory.region in spec.region)
        and (not spec.node_labels or set(spec.node_labels) <= set(inventory.labels))
    )


def fits(want: Wanted, request: GpuRequest | None, gpu_type: str, node: Node) -> bool:
    """Whether a container fits on the node as it is now, with devices of this type; bounds are the caller's."""
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
    """The device in use by others that has just enough left, the fullest first."""
    left = [(free, index) for index, free in node.parts.get(gpu_type, {}).items() if free >= milli]
    return min(left)[1] if left else None


def rank(want: Wanted, request: GpuRequest | None, node: Node) -> tuple[float, ...]:
    """Less is better. Of nodes that fit, with devices of one type."""
    missing = 0
    if want.image and want.image not in node.holds:
        missing = 2
    elif want.spec.snapshot and want.function not in node.holds:
        missing = 1
    free = len(node.inventory.gpus) if request is None else node.gpus_free
    seats = want.seats.get(node.id, 0)
    return (node.failures, node.inventory.price, missing, free, seats, -node.cpu_milli, -node.memory_mib, node.order)


def devices(request: GpuRequest | None, gpu_type: str, node: Node) -> tuple[int, ...]:
    """Which devices of the node a container gets that fits there."""
    if request is None:
        return ()
    if request.share < 1:
        shared = shared_device(node, gpu_type, share_milli(request))
        return (node.gpus[gpu_type][0],) if shared is None else (shared,)
    return tuple(node.gpus[gpu_type][: request.count])


def kinds_of(request: GpuRequest, node: Node) -> list[str]:
    """The types of device on the node that satisfy the request, the nearest to what was asked for first."""
    kinds = node.gpus if request.type == "ANY" else FAMILIES.get(request.type, (request.type,))
    return [gpu_type for gpu_type in kinds if gpu_type in node.gpus]
