"""Simulated nodes and containers as they really are, whatever the core believes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from inrush.core.model import events
from inrush.sim.processors import Processors
from inrush.sim.scenario import Workload
from inrush.wire import Inventory


@dataclass(slots=True, eq=False)
class Machine:
    """A simulated node. A dead node runs and reports nothing. A silent one runs on, and its reports wait in `unsaid`
    until its link is back, unless the server has given it up (`given_up`) meanwhile."""

    id: str
    pool: str
    inventory: Inventory
    dead: bool = False
    silent: bool = False
    given_up: bool = False
    forgetful: bool = False
    """Whether orders to start and reports of ends are lost."""
    slowness: float = 1.0
    processors: Processors | None = None
    """None where nothing of the scenario computes."""
    containers: dict[str, Running] = field(default_factory=dict)
    unsaid: list[events.Event] = field(default_factory=list)
    unheard: list[tuple[object, ...]] = field(default_factory=list)
    """What was sent to it over a cut link: method and arguments."""


@dataclass(slots=True, eq=False)
class Running:
    """A container as its node knows it."""

    id: str
    machine: Machine
    workload: Workload
    slots: int
    gpus: float
    gpu_type: str
    since: float
    ready: bool = False
    warm: bool = False
    """Whether it has begun an input."""
    start_cpu_s: float = 0.0
    """The seconds of a core that its start takes."""
    leaving: bool = False
    """It was told to stop, and may finish what it runs."""
    busy_since: float = 0.0
    inputs: set[tuple[str, int]] = field(default_factory=set)
    """Inputs that it runs."""
    ahead: deque[tuple[str, int]] = field(default_factory=deque)
    """Inputs that it was sent and has no slot for yet."""
