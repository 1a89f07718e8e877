"""What happens in an app, for those who watch it: states of containers, and what calls wait for."""

from __future__ import annotations

from collections.abc import Callable

from inrush.core.model import effects
from inrush.server.apps.functions import Function, Functions
from inrush.server.fleet.containers import Container, Containers

RETRIES_TOLD = 100
"""Inputs that are tried again and named in one message, at most."""

Watcher = Callable[[str, str, str, str], None]
"""Takes kind (`container`, `waiting`, `retry`), subject, state and reason."""


class Watch:
    """Tells watchers of each change, and keeps the core's latest sentences for `why`."""

    def __init__(self, functions: Functions, containers: Containers) -> None:
        self._functions, self._containers = functions, containers
        self._watchers: dict[str, list[Watcher]] = {}
        containers.changed = self._container

    def follow(self, app: str, watcher: Watcher) -> Callable[[], None]:
        """Tells a watcher the present state and then every change. Calling the result ends that."""
        for container in self._containers.all():
            if container.function.app == app:
                watcher("container", container.id, container.state, container.why)
        for function in self._functions.all():
            if function.app == app and function.waiting:
                watcher("waiting", function.title, "waiting", function.waiting)
        self._watchers.setdefault(app, []).append(watcher)
        return lambda: self._unfollow(app, watcher)

    def _unfollow(self, app: str, watcher: Watcher) -> None:
        watchers = self._watchers.get(app, [])
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers:
            self._watchers.pop(app, None)

    def waiting(self, effect: effects.Waiting) -> None:
        """Carries out `Waiting`."""
        function = self._functions.get(effect.function)
        if function is not None:
            function.waiting = effect.why
            self._tell(function, "waiting", function.title, "waiting" if effect.why else "", effect.why)

    def retried(self, effect: effects.Retried) -> None:
        """Carries out `Retried`."""
        function = self._functions.get(effect.function)
        if function is not None and function.app in self._watchers:
            inputs = " ".join(map(str, effect.indexes[:RETRIES_TOLD]))
            self._tell(function, "retry", function.title, f"{effect.call} {inputs}", effect.why)

    def decided(self, effect: effects.Decided) -> None:
        """Carries out `Decided`."""
        function = self._functions.get(effect.function)
        if function is not None:
            function.decided = f"wants {effect.wanted}, has {effect.have}: {effect.why}"

    def _container(self, container: Container) -> None:
        self._tell(container.function, "container", container.id, container.state, container.why)

    def _tell(self, function: Function, kind: str, subject: str, state: str, why: str) -> None:
        for watcher in self._watchers.get(function.app, ()):
            watcher(kind, subject, state, why)
