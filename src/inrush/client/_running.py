"""A running app: its start on the server, what is shown of it, and its end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

from inrush import settings
from inrush.client import _output, _spec, _urls
from inrush.client._connection import Link
from inrush.client._dual import Waiter
from inrush.client._payload import main_name
from inrush.client._types import Declared
from inrush.errors import Error
from inrush.shown import harmless
from inrush.wire import AppSpec, CheckApp, FollowLogs, FollowStates, FunctionSpec, StartApp, State, StopApp

_STOP_S = 10.0
_EXIT_S = 10.0
"""What containers print at their end is waited for so long, where it is shown."""
_BACKLOG_LINES = 1000


class Running:
    """One start of an app. `functions` are the ids of its functions and classes by name."""

    def __init__(self, app: Declared, link: Link, answer: dict[str, Any], spec: AppSpec) -> None:
        self.app = app
        self.id = str(answer["app"])
        self.functions: dict[str, str] = dict(answer["functions"])
        self.urls = _urls.by_path(answer)
        self.pages = _urls.by_host(answer)
        self._link = link
        self._follows: list[int] = []
        self._alive: set[str] = set()
        self._gone: Waiter[None] | None = None
        specs = {function.name: function for function in spec.functions}
        for thing in _things(self.app):
            urls, pages = (_urls.of_function(thing.name, kind) for kind in (self.urls, self.pages))
            thing.reference.bind(self.functions[thing.name], urls, pages, specs[thing.name])

    def show(self, output: _output.Output) -> None:
        """Shows log lines and states until the app ends."""
        self._follows.append(self._link.follow(FollowLogs(self.id, _BACKLOG_LINES), output.log))

        def state(told: State) -> None:
            if told.kind == "container":
                (self._alive.discard if told.state == "ended" else self._alive.add)(told.subject)
                if not self._alive and self._gone is not None:
                    self._gone.set(None)
            output.state(told)

        self._follows.append(self._link.follow(FollowStates(self.id, interactive=output.interactive), state))

    def hold(self) -> None:
        """Keeps the link alive while nothing is asked, since an ephemeral app ends with its client."""
        self._link.holders.add(self)

    async def end(self, stop: bool, at_once: bool = False) -> None:
        """Ends the app, unless it runs on without this program. What its exit hooks print is still shown, unless it
        ends `at_once`."""
        self._link.holders.discard(self)
        for thing in _things(self.app):
            thing.reference.unbind()
        try:
            if stop:
                with contextlib.suppress(Error):  # it ends with our link anyway
                    await self._link.ask(StopApp(self.id), timeout_s=_STOP_S)
                    if not at_once:
                        await self._containers_gone()
        finally:
            for rid in self._follows:
                self._link.unfollow(rid)

    async def _containers_gone(self) -> None:
        self._gone = Waiter(_EXIT_S)
        if not self._alive:
            self._gone.set(None)
        await self._gone


def _things(app: Declared) -> list[Any]:
    return [*app.registered_functions.values(), *app.registered_classes.values()]


async def start(
    app: Declared,
    link: Link,
    name: str,
    environment: str = "",
    *,
    deploy: bool = False,
    detach: bool = False,
    strategy: str = "rolling",
    tag: str = "",
) -> Running:
    """Builds its images, sends its code, and starts it in an environment (empty: the one used by default)."""
    named = name or main_name() or "app"
    output = _output.current()
    places = tuple(_spec.places(thing) for thing in _things(app))
    _warn(await link.ask(CheckApp(AppSpec(name=named, functions=places))))
    functions = await _specs(app, link, named, environment, output)
    spec = AppSpec(name=named, functions=tuple(functions), tags=tuple(sorted(app.tags.items())), tag=tag)
    answer = await link.ask(StartApp(spec, deploy, detach, strategy, environment))
    if deploy:
        _warn(answer["warnings"])
    running = Running(app, link, answer, spec)
    if not deploy:
        running.hold()
        if output is not None:
            running.show(output)
    return running


def _warn(sentences: Sequence[str]) -> None:
    """Says what will not work of an app that runs all the same."""
    for sentence in sentences:
        print(harmless(f"inrush: {sentence}"), file=sys.stderr)  # noqa: T201


async def _specs(
    app: Declared, link: Link, name: str, environment: str, output: _output.Output | None
) -> list[FunctionSpec]:
    """What each function and class is. All that can be found wrong without building an image is looked at before."""
    force = bool(settings.load()["force_build"].value)
    progress = output.progress if output is not None else None
    parts = [await _spec.gather(link, thing, app, environment) for thing in _things(app)]
    definitions = {image: await _spec.define(link, image, environment) for image in {part.image: 0 for part in parts}}
    built = {
        image: await _spec.build(link, definition, name, force, progress, environment)
        for image, definition in definitions.items()
    }
    return [_spec.spec(part, built[part.image]) for part in parts]
