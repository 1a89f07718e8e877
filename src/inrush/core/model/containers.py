"""Containers: what they are, and the table of how they may change.

    starting ──ready──▶ ready ──drain──▶ draining ──stop──▶ stopping ──ended──▶ ended
        └──────stop / ended       └──stop──────────────────────▲

Only a `ready` container takes inputs. A `draining` container finishes what it runs and is then stopped by the core. A
`stopping` container was told to stop. A container holds its share of the node until it has ended.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from inrush.core.model.transitions import Table, follow

CONTAINER: Table = {
    ("starting", "ready"): "ready",
    ("starting", "stop"): "stopping",
    ("starting", "ended"): "ended",
    ("ready", "drain"): "draining",
    ("ready", "stop"): "stopping",
    ("ready", "ended"): "ended",
    ("draining", "drain"): "draining",
    ("draining", "stop"): "stopping",
    ("draining", "ended"): "ended",
    ("stopping", "ready"): "stopping",
    ("stopping", "drain"): "stopping",
    ("stopping", "stop"): "stopping",
    ("stopping", "ended"): "ended",
}

WHOLE = 1000
"""A whole device, in thousandths."""


@dataclass(slots=True, eq=False)
class Container:
    """One running copy of a function, and the share of a node that it holds."""

    id: str
    function: str
    node: str
    cpu_milli: int
    memory_mib: int
    gpu_type: str
    gpus: tuple[int, ...]
    started_at: float
    why: str = ""
    state: str = "starting"
    how: str = ""
    """The tier of its start (such as `fork`), once it is ready."""
    ready_at: float = 0.0
    idle_since: float = 0.0
    """When it last became ready or ran out of inputs; it means nothing while the container runs some."""
    busy: int = 0
    """The number of inputs that it runs, with those leased to it."""
    waits: int = 0
    """The number of calls that it made and waits for."""
    served: int = 0
    progress_at: float = 0.0
    """When it last ended an input, or got one while it had none."""
    recalled: bool = False
    """True from when it was told to give its leased inputs back until it next ends an input."""
    closed: bool = False
    """True while it takes no inputs until it is idle, because it runs a suspect or is about to."""
    calls: dict[str, int] = field(default_factory=dict)
    """How many inputs of each call it runs. The call knows which ones."""
    leaving: str = ""
    """Why it is draining."""
    share_milli: int = WHOLE
    """The part of its device that it may use, in thousandths."""
    leader: Container | None = None
    """In a cluster, the first container, which stands for all; None for the first container itself."""
    followers: list[Container] = field(default_factory=list)
    """For the first container of a cluster: the other containers, by rank."""
    well: bool = False
    """Whether it reported that it is ready. A cluster is ready when all its containers are."""
    echoes: set[tuple[str, int]] = field(default_factory=set)
    """In a cluster's follower: inputs that it runs beside the leader."""
    preempted: bool = False
    """It was stopped to make room for others, so its inputs are tried again without spending a retry."""
    stop_by: float = math.inf
    """When it must have ended, since it was told to stop; infinite until then."""
    killed: bool = False
    """The core stopped it at once, so its end says nothing about its inputs."""

    @property
    def engaged(self) -> bool:
        """Whether it, or a follower of it, runs something."""
        return self.busy > 0 or (bool(self.followers) and any(follower.echoes for follower in self.followers))

    @property
    def cpu_held_milli(self) -> int:
        """The cpu that it keeps from others. A container that waits for a call of its own holds none, since functions
        that call functions would otherwise hold a node and wait for one another for ever. Memory and devices cannot be
        lent."""
        return 0 if self.waits else self.cpu_milli

    def turn(self, event: str) -> None:
        """Changes the state as the table says."""
        self.state = follow(CONTAINER, "container", self.id, self.state, event)
