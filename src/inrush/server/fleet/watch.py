"""What happens in an app, for those who watch it: states of containers, and what calls wait for."""

from __future__ import annotations

from collections.abc import Callable

from inrush.core.model import effects
from inrush.server.apps.functions import Function, Functions
from inrush.server.fleet.containers import Container, Containers

Watcher = Callable[[str, str, str, str], None]
"""Takes kind (`container`, `waiting`, `retry`, `interact`), subject, state and reason."""


class Watch:
    """Tells watchers of each change, and keeps the core's latest sentences for `why`."""

    def __init__(self, functions: Functions, containers: Containers) -> None:
        self._functions, self._containers = functions, containers
        self._watchers: dict[str, list[Watcher]] = {}
        self._people: dict[str, list[Watcher]] = {}
        """Of the watchers those that have a person at a terminal."""
        containers.changed = self._container

    def follow(self, app: str, watcher: Watcher, interactive: bool = False) -> Callable[[], None]:
        """Tells a watcher the present state and then every change. Calling the result ends that. An `interactive` one
        has a person at a terminal."""
        for container in self._containers.all():
            if container.function.app == app:
                watcher("container", container.id, container.state, container.why)
        for function in self._functions.all():
            if function.app == app and function.waiting:
                watcher("waiting", function.title, "waiting", function.waiting)
        self._watchers.setdefault(app, []).append(watcher)
        if interactive:
            self._people.setdefault(app, []).append(watcher)
        return lambda: self._unfollow(app, watcher)

    def _unfollow(self, app: str, watcher: Watcher) -> None:
        for known in (self._watchers, self._people):
            watchers = known.get(app, [])
            if watcher in watchers:
                watchers.remove(watcher)
            if not watchers:
                known.pop(app, None)

    def invite(self, id: str, program: str, place: str) -> bool:
        """Has the person who runs the app of a container join a terminal to it. Returns whether there is one."""
        container = self._containers.live(id)
        people = self._people.get(container.function.app, []) if container is not None else []
        if people:
            people[-1]("interact", id, program, place)
        return bool(people)

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
            inputs = " ".join(map(str, effect.indexes))
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
