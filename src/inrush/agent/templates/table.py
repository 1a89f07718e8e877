"""Zygotes and snapshots: processes to fork from, each opened once and let go when no longer worth its memory.

Whoever wants one while it opens waits for the same opening. A template goes when nobody has forked from it for its
time to live, or, least used first, when all together hold more memory than they may, or when containers want that
memory; never while something is being forked from it. One that could not be opened is not tried again for a while: the
reason is told to all who ask meanwhile.

Its memory is held as long as containers live that were forked from it, also when it has been let go: that much is not
there for other containers, and the server is told (`held_mib`). What idle templates hold is given back when wanted.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from inrush.agent.containers.output import Collected, open_pipe
from inrush.errors import Error, StartupError
from inrush.launcher.specs import TemplateSpec, TemplateUp

log = logging.getLogger(__name__)

SWEEP_S = 5.0
FAILED_S = 300.0
"""A template that failed is not tried again for this long."""
MAX_FAILED = 256
STILLBORN_MAX = 2
"""A template is set aside when so many containers in a row that were forked from it have ended before they were
ready."""

Told = Callable[[str, str], None]


class Layers(Protocol):
    """The part of the image store that templates need. Held layers are not evicted."""

    def hold(self, paths: Iterable[str], /) -> None: ...
    def release(self, paths: Iterable[str], /) -> None: ...


class Opener(Protocol):
    """The part of the launcher that templates need."""

    async def open_template(self, spec: TemplateSpec, stdout_fd: int, stderr_fd: int) -> TemplateUp: ...
    async def close_template(self, key: str) -> None: ...


class TemplateFailed(StartupError):
    """A template could not be opened. The message says why, and the report is what the template itself said."""

    def __init__(self, why: str, report: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__(why)
        self.report = report


@dataclass(eq=False)
class Template:
    """One template. `printed` is what its process wrote."""

    opening: asyncio.Task[TemplateUp]
    layers: tuple[str, ...]
    ttl_s: float
    printed: Collected = field(default_factory=Collected)
    users: int = 0
    children: int = 0
    uses: int = 0
    used_at: float = field(default_factory=time.monotonic)
    memory_mib: float = 0.0
    stillborn: int = 0
    """How many of its containers, one after the other, ended before they were ready."""
    set_aside: str = ""
    """Why nothing is forked from it any more."""


class Templates:
    """All templates of a node, by key."""

    def __init__(self, opener: Opener, layers: Layers, budget_mib: float) -> None:
        self._opener = opener
        self._layers = layers
        self._budget_mib = budget_mib
        self._open: dict[str, Template] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._lingering: set[Template] = set()
        """Templates that were evicted and still have containers."""
        self._sweeper: asyncio.Task[None] | None = None
        self.on_held: Callable[[int], None] = lambda mib: None

    @asynccontextmanager
    async def use(self, spec: TemplateSpec, ttl_s: float, told: Told | None = None) -> AsyncIterator[Template]:
        """The template, opened if it is not, and kept at least to the end of the block. Raises `TemplateFailed`.

        The first who gives `told` hears what the template's process prints.
        """
        template = self._open.get(spec.key) or self._begin(spec, ttl_s)
        if template.set_aside:
            raise TemplateFailed(template.set_aside)
        if told is not None:
            template.printed.follow(told)
        template.users += 1
        try:
            await asyncio.shield(template.opening)
            yield template
        finally:
            template.users -= 1
            template.uses += 1
            template.used_at = time.monotonic()

    def adopt(self, template: Template, exited: asyncio.Future[Any]) -> None:
        """Notes a container forked from the template, which lives until `exited`."""
        template.children += 1
        exited.add_done_callback(lambda _: self._orphan(template))
        if template.children == 1:
            self.on_held(self.held_mib)

    def born(self, key: str, template: Template, why: str) -> bool:
        """Notes that a container forked from the template is ready, or why it ended before. Returns whether the
        template may be the cause. After `STILLBORN_MAX` such ends in a row it is set aside for `FAILED_S`."""
        template.stillborn = template.stillborn + 1 if why else 0
        if template.stillborn == STILLBORN_MAX:
            template.set_aside = (
                f"{STILLBORN_MAX} of its containers in a row ended before they were ready; the last: {why}"
            )
            self._remember(key, template.set_aside)
            self.retire(key)
        return bool(why)

    @property
    def held_mib(self) -> int:
        """Memory that stays taken whatever is evicted."""
        return round(sum(t.memory_mib for t in (*self._open.values(), *self._lingering) if t.children))

    async def make_room(self, mib: float) -> None:
        """Evicts idle templates, the least recently used first, until they hold at most so much. It looks again after
        each one, since another may be wanted meanwhile."""
        while keys := self._expendable(time.monotonic(), idle_mib=mib):
            await self._let_go(keys[0])

    def retire(self, key: str) -> None:
        """Evicts a template that was replaced as soon as nobody uses it."""
        if key in self._open:
            self._open[key].ttl_s = 0.0

    def is_open(self, key: str) -> bool:
        """Whether it can be forked from right now."""
        template = self._open.get(key)
        return template is not None and template.opening.done() and template.memory_mib > 0 and not template.set_aside

    def died(self, key: str) -> bool:
        """Notes the end of a process. Returns whether it was one of these templates."""
        return self._remove(key)

    async def close(self) -> None:
        """Closes all templates."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for key, template in list(self._open.items()):
            template.opening.cancel()
            await self._let_go(key)

    # ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, spec: TemplateSpec, ttl_s: float) -> Template:
        failed_at, why = self._failed.get(spec.key, (0.0, ""))
        if why and time.monotonic() - failed_at < FAILED_S:
            raise TemplateFailed(why)
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())
        opening = asyncio.create_task(self._opening(spec))
        opening.add_done_callback(lambda task: task.cancelled() or task.exception())  # asked for, whoever waits
        template = self._open[spec.key] = Template(opening, spec.root.layers, ttl_s)
        self._layers.hold(template.layers)
        return template

    async def _opening(self, spec: TemplateSpec) -> TemplateUp:
        template = self._open[spec.key]
        try:
            up = await self._open_with_output(spec, template)
        except (Error, OSError) as error:
            self._remove(spec.key)
            why = f"{error}{template.printed.said()}"
            self._remember(spec.key, why)
            raise TemplateFailed(why, getattr(error, "report", {})) from None
        template.memory_mib = max(up.memory_mib, 0.1)
        self._failed.pop(spec.key, None)
        return up

    async def _open_with_output(self, spec: TemplateSpec, template: Template) -> TemplateUp:
        out = await open_pipe(lambda text: template.printed.add("stdout", text))
        err = await open_pipe(lambda text: template.printed.add("stderr", text))
        try:
            up = await self._opener.open_template(spec, out, err)
        finally:
            os.close(out)
            os.close(err)
        if why := _unsafe(up):
            await self._opener.close_template(spec.key)
            raise TemplateFailed(why, up.report)
        return up

    def _remember(self, key: str, why: str) -> None:
        while len(self._failed) >= MAX_FAILED:
            del self._failed[next(iter(self._failed))]
        self._failed[key] = (time.monotonic(), why)

    # ── letting go ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            await self.make_room(math.inf)

    def _expendable(self, now: float, idle_mib: float = math.inf) -> list[str]:
        """Templates to evict: those past their time, then the least used until the rest fits into the budget."""
        idle = {key: t for key, t in self._open.items() if t.opening.done() and not t.users}
        gone = [key for key, t in idle.items() if now - t.used_at > t.ttl_s]
        over_mib = sum(t.memory_mib for key, t in self._open.items() if key not in gone) - self._budget_mib
        over_idle_mib = sum(t.memory_mib for key, t in idle.items() if key not in gone and not t.children) - idle_mib
        for key, template in sorted(idle.items(), key=lambda item: (item[1].uses, item[1].used_at)):
            if key not in gone and (over_mib > 0 or (over_idle_mib > 0 and not template.children)):
                gone.append(key)
                over_mib -= template.memory_mib
                over_idle_mib -= 0 if template.children else template.memory_mib
        return gone

    async def _let_go(self, key: str) -> None:
        if self._remove(key):
            with suppress(Error, OSError):
                await self._opener.close_template(key)

    def _remove(self, key: str) -> bool:
        template = self._open.pop(key, None)
        if template is None:
            return False
        self._layers.release(template.layers)
        if template.children:
            self._lingering.add(template)
        return True

    def _orphan(self, template: Template) -> None:
        template.children -= 1
        if not template.children:
            self._lingering.discard(template)
            self.on_held(self.held_mib)


def _unsafe(up: TemplateUp) -> str:
    """Why a template may not be forked from; empty when it may."""
    if not up.report.get("ok", True):
        return str(up.report.get("why") or "its hooks failed")
    if up.threads != 1:
        return f"it has {up.threads} threads, and only a process with one can be forked safely"
    return ""


class Room:
    """Memory of a node between its containers and its idle templates. `memory_mib` is what the node has for both."""

    def __init__(self, templates: Templates, memory_mib: int) -> None:
        self._templates = templates
        self._memory_mib = memory_mib
        self._promised_mib = 0

    async def make(self, mib: int) -> None:
        """Makes room for a container that asks for so much and is about to start."""
        await self._templates.make_room(self._memory_mib - self._promised_mib - mib - self._templates.held_mib)

    def take(self, mib: int, exited: asyncio.Future[Any]) -> None:
        """Counts a container that starts, and lives until `exited`."""
        self._promised_mib += mib
        exited.add_done_callback(lambda _: self._leave(mib))

    def _leave(self, mib: int) -> None:
        self._promised_mib -= mib
