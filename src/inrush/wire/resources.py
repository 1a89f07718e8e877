"""The resources that a container requests (`Resources`), and those that a node has (`Inventory`)."""

from __future__ import annotations

from inrush.wire.structs import Amount, Quantity, Struct


class GpuRequest(Struct, frozen=True):
    """One alternative of a `gpu=` parameter. `type` is in upper case; `"ANY"` means any type."""

    type: str
    count: Amount = 1
    share: Quantity = 1.0
    """Below 1, a part of one device, which the container shares with others. They take turns on it; its memory is not
    divided."""


class Resources(Struct, frozen=True):
    """The resources that one container requests of its node. A limit of None means no limit of its own."""

    cpu: Quantity = 0.125
    cpu_limit: Quantity | None = None
    memory_mib: Amount = 64
    memory_limit_mib: Amount | None = None
    disk_mib: Amount | None = None
    gpu: tuple[GpuRequest, ...] = ()
    """Alternatives in order of preference; the first that fits is taken."""


class Gpu(Struct, frozen=True):
    """One GPU of a node. A `declared` one stands for a card that does not exist, so containers get no device for it."""

    type: str
    index: int
    memory_mib: int = 0
    declared: bool = False


class Inventory(Struct, frozen=True):
    """The resources of a node."""

    cpu: float
    memory_mib: int
    gpus: tuple[Gpu, ...] = ()
    cloud: str = ""
    region: str = ""
    price: float = 0.0
    """The price per hour, in any unit that all nodes share."""
    labels: tuple[tuple[str, str], ...] = ()
    cpu_overcommit: float = 1.0
    """All containers of the node together may request so many times its cpu."""
