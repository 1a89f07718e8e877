"""Zygotes and snapshots: processes to fork containers from, each opened once and let go when it is no longer worth its memory.

Whoever wants one while it opens waits for the same opening. A template goes when nobody has forked from it for its time to
live, or, least used first, when all together hold more memory than they may; never while something is forked from it. One
that could not be opened is not tried again for a while: the reason is told to all who ask meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from inrush.agent.launcher.specs import TemplateSpec, TemplateUp, Usage
from inrush.errors import Error, StartupError

log = logging.getLogger(__name__)

SWEEP_S = 5.0
FAILED_S = 60.0
"""How long a template that failed is not tried again."""
MAX_FAILED = 256


class Opener(Protocol):
    """The part of the launcher that templates need."""

    async def open_template(self, spec: TemplateSpec) -> TemplateUp: ...
    async def close_template(self, key: str) -> None: ...
    async def usage(self, id: str) -> Usage: ...


@dataclass(eq=False)
class _Template:
    opening: asyncio.Task[TemplateUp]
    ttl_s: float
    users: int = 0
    uses: int = 0
    used_at: float = field(default_factory=time.monotonic)
    memory_mib: float = 0.0


class Templates:
    """All templates of a node, by key."""

    def __init__(self, opener: Opener, budget_mib: int) -> None:
        self._opener = opener
        self._budget_mib = budget_mib
        self._open: dict[str, _Template] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._sweeper: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def use(self, spec: TemplateSpec, ttl_s: float) -> AsyncIterator[TemplateUp]:
        """The template, opened if it is not, and kept at least to the end of the block. Raises `StartupError`."""
        template = self._open.get(spec.key) or self._begin(spec, ttl_s)
        template.users += 1
        try:
            yield await asyncio.shield(template.opening)
        finally:
            template.users -= 1
            template.uses += 1
            template.used_at = time.monotonic()

    def is_open(self, key: str) -> bool:
        """Whether it can be forked from right now."""
        template = self._open.get(key)
        return template is not None and template.opening.done()

    def died(self, key: str) -> bool:
        """The launcher says that a template has ended by itself; whether it was one of these."""
        return self._open.pop(key, None) is not None

    async def close(self) -> None:
        """Lets all go."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for key, template in list(self._open.items()):
            template.opening.cancel()
            await self._let_go(key)

    def _begin(self, spec: TemplateSpec, ttl_s: float) -> _Template:
        failed_at, why = self._failed.get(spec.key, (0.0, ""))
        if why and time.monotonic() - failed_at < FAILED_S:
            raise StartupError(why)
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())
        template = _Template(asyncio.create_task(self._opening(spec)), ttl_s)
        self._open[spec.key] = template
        return template

    async def _opening(self, spec: TemplateSpec) -> TemplateUp:
        try:
            up = await self._opener.open_template(spec)
            self._open[spec.key].memory_mib = (await self._opener.usage(spec.key)).memory_mib
        except (Error, OSError) as error:
            self._open.pop(spec.key, None)
            while len(self._failed) >= MAX_FAILED:
                del self._failed[next(iter(self._failed))]
            self._failed[spec.key] = (time.monotonic(), str(error))
            raise StartupError(str(error)) from None
        self._failed.pop(spec.key, None)
        return up

    # ── letting go ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            for key in self._expendable(time.monotonic()):
                await self._let_go(key)

    def _expendable(self, now: float) -> list[str]:
        """Those past their time, then the least used until the rest fits into the budget."""
        idle = {key: t for key, t in self._open.items() if t.opening.done() and not t.users}
        gone = [key for key, t in idle.items() if now - t.used_at > t.ttl_s]
        held_mib = sum(t.memory_mib for key, t in self._open.items() if key not in gone)
        for key, template in sorted(idle.items(), key=lambda item: (item[1].uses, item[1].used_at)):
            if held_mib <= self._budget_mib:
                break
            if key not in gone:
                gone.append(key)
                held_mib -= template.memory_mib
        return gone

    async def _let_go(self, key: str) -> None:
        if self._open.pop(key, None) is not None:
            with suppress(Error, OSError):
                await self._opener.close_template(key)
