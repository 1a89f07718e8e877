"""What a container asks of a node (`Resources`), and what a node has to give (`Inventory`)."""

from __future__ import annotations

from inrush.wire.structs import Struct


class GpuRequest(Struct, frozen=True):
    """One alternative of a `gpu=` parameter. `type` is upper case, `"ANY"` takes whatever there is."""

    type: str
    count: int = 1
    share: float = 1.0
    """Below 1: that part of one device, which others have too. They take turns on it; its memory is not divided."""


class Resources(Struct, frozen=True):
    """What one container asks of its node. Units last; None means no limit of its own."""

    cpu: float = 0.125
    cpu_limit: float | None = None
    memory_mib: int = 64
    memory_limit_mib: int | None = None
    disk_mib: int | None = None
    gpu: tuple[GpuRequest, ...] = ()
    """In order of preference; the first that fits is taken."""


class Gpu(Struct, frozen=True):
    """One device of a node. `declared` ones stand for a card that is not there: no device goes into the container."""

    type: str
    index: int
    memory_mib: int = 0
    declared: bool = False


class Inventory(Struct, frozen=True):
    """What a node has to give."""

    cpu: float
    memory_mib: int
    gpus: tuple[Gpu, ...] = ()
    cloud: str = ""
    region: str = ""
    price: float = 0.0
    """Of an hour, in any unit that all nodes share."""
    labels: tuple[tuple[str, str], ...] = ()
    cpu_overcommit: float = 1.0
    """Containers may ask for so many times its cpu, together."""
