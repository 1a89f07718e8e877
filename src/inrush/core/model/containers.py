"""Containers: what they are, and the table of what may happen to them.

    starting ──ready──▶ ready ──drain──▶ draining ──stop──▶ stopping ──ended──▶ ended
        └──────stop / ended       └──stop──────────────────────▲

Only a `ready` container takes inputs. A `draining` one finishes what it runs and is then stopped by us; a `stopping`
one was told to go. Its share of the node is held until it has ended.
"""

from __future__ import annotations

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
"""Thousandths of a device."""


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
    """Tier of its start, once ready."""
    ready_at: float = 0.0
    idle_since: float = 0.0
    """Since when it is ready and runs nothing; means nothing while it runs something."""
    busy: int = 0
    """Inputs that it runs, and those leased to it, which it runs next."""
    waits: int = 0
    """Calls that it made and waits for."""
    served: int = 0
    progress_at: float = 0.0
    """When it last ended an input, or was given one while it had none."""
    recalled: bool = False
    """It was told to give back what it has not begun, and has ended nothing since."""
    closed: bool = False
    """It takes no more inputs until it is idle: it runs a suspect, or is to run one."""
    calls: dict[str, int] = field(default_factory=dict)
    """How many inputs it runs, by call; which ones is known to the call."""
    leaving: str = ""
    """Why it is draining."""
    share_milli: int = WHOLE
    """Of its device, when it has one alone or with others."""
    leader: Container | None = None
    """Of a cluster's other containers: its first one, which stands for all."""
    followers: list[Container] = field(default_factory=list)
    """Of a cluster's first container: the others, by rank."""
    well: bool = False
    """It said that it is ready; a cluster is ready when all of it are."""
    echoes: set[tuple[str, int]] = field(default_factory=set)
    """Inputs that a follower runs beside its leader."""
    preempted: bool = False
    """It had to go for others: what it ran is tried again free of charge."""
    killed: bool = False
    """We told it to go at once: what it ran says nothing about its inputs."""

    @property
    def engaged(self) -> bool:
        """Whether it, or one that follows it, runs something."""
        return self.busy > 0 or (bool(self.followers) and any(follower.echoes for follower in self.followers))

    @property
    def cpu_held_milli(self) -> int:
        """What it keeps from others: nothing while it waits for a call of its own, or functions that call functions
        would hold the node and wait for one another for ever. Memory and devices cannot be lent."""
        return 0 if self.waits else self.cpu_milli

    def turn(self, event: str) -> None:
        """Follow the table."""
        self.state = follow(CONTAINER, "container", self.id, self.state, event)
