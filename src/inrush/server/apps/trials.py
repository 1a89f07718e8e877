"""Trials: a new version shows that it starts before it takes the traffic of the one that serves.

    deploy ──▶ a container of each new function ──▶ ready ──────▶ it takes the place of the old one
                                                ├─▶ failed ─────▶ it goes, and the old one serves on
                                                └─▶ no room ────▶ it takes the place at once; if it then
                                                                  fails to start, the old version comes back

The core starts the containers and says how that went (`effects.Tried`). A function is tried when it takes another's
place and can be made without parameters; of a class that cannot, one variant is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from inrush.core.cluster import Cluster
from inrush.core.model.effects import Tried
from inrush.errors import StartupError
from inrush.server.apps.functions import Function
from inrush.server.apps.versions import App, Plan
from inrush.server.logs import Logs

MAX_TRIED = 16
"""So many functions of one version are tried, those first that serve now."""

BESIDE_S = 900.0
"""A trial beside what serves, which may wait for an image's build, takes so much longer than the `startup_timeout` at
most; then nothing is known."""

ALONE_S = 60.0
"""The same of a trial that has taken the other's place, and waits for its room."""


LAST_WORDS = 20
"""Lines of the container's log that the error of a deploy tells."""


class Trials:
    """All functions on trial."""

    def __init__(self, post: Callable[[Any], None], core: Cluster, logs: Logs) -> None:
        self._post, self._core, self._logs = post, core, logs
        self._open: dict[str, asyncio.Future[Tried]] = {}

    def tried(self, effect: Tried) -> None:
        """Carries out `Tried`."""
        future = self._open.get(effect.function)
        if future is not None and not future.done():
            future.set_result(effect)

    async def run(self, functions: list[Function], how: str) -> list[tuple[Function, Tried]]:
        """Tries functions all at once, `beside` those that serve or `alone`. Returns how that went, as soon as one
        failed or all are known."""
        for function in functions:
            self._open[function.id] = asyncio.get_running_loop().create_future()
            self._post(function.added(how))
        patience_s = BESIDE_S if how == "beside" else ALONE_S
        waits = {asyncio.ensure_future(self._outcome(function, patience_s)) for function in functions}
        known: list[tuple[Function, Tried]] = []
        try:
            while waits:
                done, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                known += [task.result() for task in done]
                if any(effect.outcome == "failed" for _, effect in known):
                    break
        finally:
            for task in waits:
                task.cancel()
            for function in functions:
                del self._open[function.id]
        return known

    async def _outcome(self, function: Function, patience_s: float) -> tuple[Function, Tried]:
        limit_s = function.spec.startup_timeout_s + patience_s
        try:
            return function, await asyncio.wait_for(self._open[function.id], limit_s)
        except TimeoutError:
            return function, Tried(function.id, "unknown", f"it was not ready after {limit_s:g} s")

    def failure(self, app: App, function: Function, tried: Tried, what: str) -> StartupError:
        """The error of a deploy that does not start, with the last words of its container."""
        said = self._logs.latest(app.id, LAST_WORDS, tried.container) if tried.container else []
        texts = [text for line in said for text in line.text.splitlines() if text != tried.why]
        log = "".join(f"\n  {text}" for text in texts[-LAST_WORDS:])
        return StartupError(f"{function.title} does not start, and {what}: {tried.why}{log}")

    def choose(self, plan: Plan) -> list[Function]:
        """The functions of a plan that are worth a trial; none while no node could start anything."""
        if not self._core.nodes:
            return []
        chosen: dict[str, tuple[int, Function]] = {}
        for old, new in plan.replaced:
            if not new.impossible and not new.lacks_parameters:
                known, group = self._core.functions.get(old.id), new.base or new.id
                live = known.live if known is not None else 0
                if group not in chosen or live > chosen[group][0]:
                    chosen[group] = live, new
        ranked = sorted(chosen.values(), key=lambda choice: -choice[0])
        return [function for _, function in ranked[:MAX_TRIED]]


def failed(known: list[tuple[Function, Tried]]) -> tuple[Function, Tried] | None:
    """The first that could not start."""
    return next(((function, effect) for function, effect in known if effect.outcome == "failed"), None)


def without_room(known: list[tuple[Function, Tried]]) -> list[Function]:
    """Those for which there is no room beside what serves."""
    return [function for function, effect in known if effect.outcome == "no room"]
