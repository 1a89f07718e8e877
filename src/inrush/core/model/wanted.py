"""What one container of a function asks of a node, in numbers that can be compared, and the place that it is given."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

import msgspec

from inrush.core.model.containers import WHOLE
from inrush.core.model.nodes import Node
from inrush.wire import FunctionSpec, GpuRequest, Inventory, Recipe, Resources

FAMILIES = {"A100": ("A100", "A100-40GB", "A100-80GB")}
"""Requests that several types of device satisfy, the nearest type first. Every type satisfies `ANY`."""


class Placement(NamedTuple):
    """A place for one container: a node, its devices, and the reason."""

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
    """The key of its image."""
    seats: dict[str, int] = {}  # noqa: RUF012  (read only)
    """The number of containers that the function already has on each node."""


def wanted(function: str, spec: FunctionSpec, seats: dict[str, int] | None = None) -> Wanted:
    """What containers of this function ask for. The caller may go on changing `seats` as containers come and go."""
    resources, own = spec.resources, {} if seats is None else seats
    return Wanted(function, spec, cpu_milli(resources), resources.memory_mib, image_key(spec.image), own)


def image_key(recipe: Recipe) -> str:
    """The key by which nodes report that they hold an image."""
    return blake2b(msgspec.msgpack.encode(recipe), digest_size=12).hexdigest()


def accepts(request: GpuRequest, gpu_type: str) -> bool:
    """Whether a device of this type satisfies the request."""
    return request.type == "ANY" or gpu_type in FAMILIES.get(request.type, (request.type,))


def cpu_milli(resources: Resources) -> int:
    """The cpu that a container holds, in thousandths of a core."""
    return round(resources.cpu * 1000)


def share_milli(request: GpuRequest) -> int:
    """The part of each device that a request asks for, in thousandths."""
    return min(WHOLE, max(1, round(request.share * WHOLE)))


def name(request: GpuRequest, gpu_type: str = "") -> str:
    """A request as users write it, or as devices of a type meet it."""
    kind = gpu_type or ("GPU" if request.type == "ANY" else request.type)
    if request.share < 1:
        return f"{request.share:g} {kind}"
    return kind if request.count == 1 else f"{request.count} {kind}"


def in_bounds(spec: FunctionSpec, node: Node) -> bool:
    """Whether the function may run on the node at all, by cloud, region and labels."""
    return inventory_in_bounds(spec, node.inventory)


def inventory_in_bounds(spec: FunctionSpec, inventory: Inventory) -> bool:
    """Whether the function may run on nodes with this inventory, by cloud, region and labels."""
    return (
        (not spec.cloud or spec.cloud == inventory.cloud)
        and (not spec.region or inventory.region in spec.region)
        and (not spec.node_labels or set(spec.node_labels) <= set(inventory.labels))
    )


def milli_of(request: GpuRequest) -> int:
    """The devices that one container takes, in thousandths."""
    return share_milli(request) if request.share < 1 else request.count * WHOLE
