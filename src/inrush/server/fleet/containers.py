"""Containers as the server sees them: which exist, of which function and on which node, and the latest that ended."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from inrush.errors import NotFoundError
from inrush.server.apps.functions import Function
from inrush.server.trust.principal import Principal

KEPT_ENDED = 500


class Container:
    """One container. `state` is `starting`, `ready`, `stopping` or `ended`; times are seconds since the epoch."""

    __slots__ = (
        "by_hand",
        "created", "ended", "function", "gpu_type", "gpus", "how", "how_why", "id", "node", "phases_ms", "ready",
        "start_ms", "state", "why",
    )  # fmt: skip

    def __init__(self, id: str, function: Function, node: str, gpus: tuple[int, ...], gpu_type: str, why: str) -> None:
        self.id, self.function, self.node, self.gpus, self.gpu_type = id, function, node, gpus, gpu_type
        self.why, self.state, self.how, self.how_why = why, "starting", "", ""
        self.created, self.ready, self.ended = time.time(), 0.0, 0.0
        self.start_ms = 0.0
        self.by_hand = False
        self.phases_ms: tuple[tuple[str, float], ...] = ()

    def describe(self) -> dict[str, Any]:
        """The container as the API shows it."""
        return {
            "id": self.id,
            "app": self.function.app,
            "app_name": self.function.app_name,
            "environment": self.function.environment,
            "function": self.function.id,
            "function_name": self.function.title,
            "node": self.node,
            "state": self.state,
            "why": self.why,
            "how": self.how,
            "gpus": list(self.gpus),
            "gpu_type": self.gpu_type,
            "created": self.created,
            "ready": self.ready,
            "ended": self.ended,
            "start_ms": self.start_ms,
            "phases_ms": [list(phase) for phase in self.phases_ms],
        }


class Containers:
    """All containers by id. `changed` hears of every new state, `ended` of the end."""

    def __init__(self) -> None:
        self._live: dict[str, Container] = {}
        self._ended: OrderedDict[str, Container] = OrderedDict()
        self.changed: Callable[[Container], None] = lambda container: None
        self.ended: list[Callable[[Container], None]] = []

    def add(self, container: Container) -> None:
        """Adds a container that starts."""
        self._live[container.id] = container
        self.changed(container)

    def live(self, id: str) -> Container | None:
        """A container that has not ended."""
        return self._live.get(id)

    def get(self, id: str) -> Container | None:
        """A container that lives or ended lately."""
        return self._live.get(id) or self._ended.get(id)

    def need(self, id: str, who: Principal) -> Container:
        """Like `get`, for somebody. Raises `NotFoundError`, also for one of an environment that it does not reach."""
        container = self.get(id)
        if container is None or not who.reaches(container.function.environment):
            raise NotFoundError(f"no container {id!r} runs, or ran lately; `inrush container list` shows those that do")
        return container

    def latest(self) -> list[Container]:
        """Containers that ended lately, then those that live."""
        return [*self._ended.values(), *self._live.values()]

    def starts(self, function: str) -> list[str]:
        """The latest starts of a function's containers, with what they cost."""
        lines = []
        for container in [c for c in self.latest() if c.function.id == function and c.ready][-3:]:
            parts = ", ".join(f"{name} {ms:.0f}" for name, ms in container.phases_ms)
            why = f"; {container.how_why}" if container.how_why else ""
            lines.append(f"{container.id} started by {container.how} in {container.start_ms:.0f} ms ({parts} ms){why}")
        return lines

    def all(self) -> list[Container]:
        """Containers that live, the oldest first."""
        return list(self._live.values())

    def became(self, container: Container, state: str, why: str = "") -> None:
        """Sets the state of a living container."""
        container.state, container.why = state, why or container.why
        if state == "ready":
            container.ready = time.time()
        self.changed(container)

    def end(self, id: str, why: str) -> Container | None:
        """Moves a container to those that ended."""
        container = self._live.pop(id, None)
        if container is None:
            return None
        container.ended = time.time()
        self._ended[id] = container
        while len(self._ended) > KEPT_ENDED:
            self._ended.popitem(last=False)
        self.became(container, "ended", why)
        for tell in self.ended:
            tell(container)
        return container
