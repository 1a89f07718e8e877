"""How a container is started: the cheapest way that its function allows.

    snapshot   forked from a process in which the module is imported and `@enter(snap=True)` hooks have run
    fork       forked from a zygote: an interpreter in the app's image with the guest imported
    exec       a fresh interpreter, where no template could be had
    process    no isolation at all, by an explicit setting only

Each way falls back to the next with a note that says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from inrush import wire
from inrush.agent.containers import process_mode
from inrush.agent.containers.environment import container_env, load_of
from inrush.agent.containers.grounds import Ground, Grounds
from inrush.agent.containers.processes import Begun, Contained, Exits, Stdio
from inrush.agent.containers.uids import UidRanges
from inrush.agent.devices import cdi
from inrush.agent.templates import specs
from inrush.agent.templates.specs import kind, lacks_parameters, limits, network
from inrush.agent.templates.table import Room, Template, Templates, Told
from inrush.agent.templates.zygotes import Zygotes, listed
from inrush.errors import Error, StartupError
from inrush.launcher.client import Launcher
from inrush.launcher.specs import ForkSpec, RootSpec, RunSpec, Started, TemplateSpec

log = logging.getLogger(__name__)

MAX_PREPARING = 2
"""Templates that are opened ahead at once, without those that a container waits for."""

MAX_EXPLAINED = 256
"""So many reasons for plain starts are remembered, so as not to be logged again."""

EXECUTED = "import sys; sys.path[:0] = {first!r}; sys.path += {last!r}; from inrush.guest.__main__ import main; main(0)"
"""What a fresh interpreter executes: the guest, on the socket that is its standard input."""


@dataclass(frozen=True)
class Site:
    """What every way to start one container needs."""

    order: wire.StartContainer
    ground: Ground
    env: dict[str, str]
    devices: cdi.DeviceEdits
    load: dict[str, Any]
    payloads: tuple[bytes, ...]


class Starts:
    """Starts containers on this node. `note` tells people (function id, text)."""

    def __init__(
        self,
        launcher: Launcher,
        exits: Exits,
        grounds: Grounds,
        templates: Templates,
        zygotes: Zygotes,
        uids: UidRanges,
        cards: tuple[wire.Gpu, ...],
        settings: Mapping[str, Any],
        memory_mib: int,
        note: Callable[[str, str], None],
    ) -> None:
        self._launcher = launcher
        self._exits = exits
        self._grounds = grounds
        self._templates = templates
        self._zygotes = zygotes
        self._room = Room(templates, memory_mib)
        self._uids = uids
        self._cards = {card.index: card for card in cards}
        self._settings = settings
        self._note = note
        self.prepared: Callable[[wire.Prepare, bool], None] = lambda order, snapshot: None
        """Called with functions whose containers can be forked from now on, and whether from a snapshot."""
        self._preparing = asyncio.Semaphore(MAX_PREPARING)
        self._max_payload_bytes = int(settings["max_payload_mib"]) << 20
        self._warned = False
        self._explained: deque[tuple[str, str]] = deque(maxlen=MAX_EXPLAINED)

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, order: wire.StartContainer, stdio: Stdio, told: Told) -> Begun:
        """A process with a guest that waits for its `load`. Raises `Error` with a sentence for people.

        `told(stream, text)` hears what a template prints while the container waits for it.
        """
        cards = order.cards or tuple(self._cards[index] for index in order.gpus)
        payloads = await self._grounds.pickled(order.spec)
        if self._settings["isolation"] == "process":
            return await self._start_process(order, cards, payloads, stdio)
        ground = await self._grounds.find(order.spec, order.app_key, order.environment)
        devices = cdi.edits(cards)
        env = container_env(order, ground.env, cards, devices)
        load = {**load_of(order, env, self._max_payload_bytes), "learn": self._zygotes.learns}
        site = Site(order, ground, env, devices, load, payloads)
        await self._room.make(order.spec.resources.memory_mib)
        why = ""
        if order.spec.snapshot and order.spec.pickled:
            why = "a function sent as a pickle (serialized=True) starts without snapshot"
            self._explain(order.function, why, told)
        for template in self._templates_for(order, ground):
            try:
                return await self._fork(site, template, stdio, told, why)
            except Error as error:
                why = f"it could not be forked from its {kind(template)}: {error}"
                self._explain(order.function, why, told)
        return await self._exec(site, stdio, why)

    def _explain(self, function: str, why: str, told: Told) -> None:
        """Notes a reason in the function's `why`, and once in its logs."""
        self._note(function, why)
        if (function, why) not in self._explained:
            self._explained.append((function, why))
            told("stderr", f"inrush: {why}\n")

    async def prepare(self, order: wire.Prepare) -> None:
        """Opens what a container of this function would be forked from."""
        if self._settings["isolation"] == "process":
            return
        async with self._preparing:
            try:
                ground = await self._grounds.find(order.spec, order.app_key, order.environment)
                if not order.spec.snapshot or order.spec.pickled or lacks_parameters(order):
                    template = await self._zygotes.prepare(order, ground, self._uids.first_uid(order.app_key))
                else:
                    template = self._templates_for(order, ground)[0]
                async with self._templates.use(template, self._ttl_s(template)):
                    self.prepared(order, kind(template) == "snapshot")
            except (Error, OSError) as error:
                # what user code said when it failed is not for this log
                why = type(error).__name__ if isinstance(error, StartupError) else error
                log.info("%s could not be prepared: %s", order.spec.name, why)

    async def close(self) -> None:
        self._zygotes.close()
        await self._templates.close()

    # ── the ways ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _fork(self, site: Site, template: TemplateSpec, stdio: Stdio, told: Told, why: str) -> Begun:
        order = site.order
        async with self._templates.use(template, self._ttl_s(template), told) as opened:
            spec = ForkSpec(
                id=order.container,
                template=template.key,
                root=site.ground.root(order.container, site.devices.binds, order.spec.resources.disk_mib),
                limits=limits(order.spec.resources),
                network=network(order.spec),
                hostname=order.container,
                env=site.env,
                devices=site.devices.devices,
                cwd=site.ground.workdir,
            )
            launching = self._launcher.fork(spec, stdio.guest, stdio.stdout, stdio.stderr)
            process, started = await self._launched(site, spec.root, launching, opened)
        names = specs.imports(template)
        ahead = f"{listed(names)} imported ahead by its zygote" if names else ""
        reasons = "; ".join(filter(None, (why, ahead, started.why)))
        if kind(template) == "zygote":
            return Begun(process, "fork", site.load, site.payloads, started.phases, reasons, self._hears(site))
        born = partial(self._templates.born, template.key, opened)
        return Begun(process, "snapshot", site.load, site.payloads, started.phases, reasons, self._hears(site), born)

    def _hears(self, site: Site) -> Callable[[list[tuple[str, float]]], None]:
        """Where the imports of a guest are reported to."""
        if not self._zygotes.learns:
            return lambda imports: None
        uid_base = self._uids.first_uid(site.order.app_key)
        return lambda imports: self._zygotes.heard(site.order, site.ground, uid_base, imports)

    async def _exec(self, site: Site, stdio: Stdio, why: str) -> Begun:
        order, ground = site.order, site.ground
        code = EXECUTED.format(first=list(ground.sys_path), last=list(ground.sys_path_end))
        spec = RunSpec(
            id=order.container,
            root=ground.root(order.container, site.devices.binds, order.spec.resources.disk_mib),
            argv=(ground.python, "-I", "-c", code),
            uid_base=self._uids.first_uid(order.app_key),
            env=site.env,
            cwd=ground.workdir,
            limits=limits(order.spec.resources),
            network=network(order.spec),
            devices=site.devices.devices,
        )
        launching = self._launcher.run(spec, stdio.guest, stdio.stdout, stdio.stderr)
        process, started = await self._launched(site, spec.root, launching)
        reasons = "; ".join(filter(None, (why, started.why)))
        return Begun(process, "exec", site.load, site.payloads, started.phases, reasons)

    async def _start_process(
        self, order: wire.StartContainer, cards: Sequence[wire.Gpu], payloads: tuple[bytes, ...], stdio: Stdio
    ) -> Begun:
        if not self._warned:
            self._warned = True
            self._note("", process_mode.WARNING)
        sources = await self._grounds.archives(order.spec)
        env = container_env(order, {}, cards, cdi.DeviceEdits())
        process = await process_mode.start(order.container, stdio, env, sources)
        load = load_of(order, env, self._max_payload_bytes)
        load["root"] = str(sources[0] / "root") if sources else ""
        return Begun(process, "process", load, payloads, why=process_mode.WARNING)

    async def _launched(
        self, site: Site, root: RootSpec, launching: Coroutine[Any, Any, Started], template: Template | None = None
    ) -> tuple[Contained, Started]:
        id = site.order.container
        exited = self._exits.expect(id)
        self._grounds.hold(root, exited)
        self._room.take(site.order.spec.resources.memory_mib, exited)
        if template is not None:
            self._templates.adopt(template, exited)
        process = Contained(self._launcher, id, exited)
        try:
            return process, await process.launched(launching)
        finally:
            if not process.runs:
                self._exits.forget(id)
                exited.cancel()

    # ── templates ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _templates_for(self, order: wire.StartContainer | wire.Prepare, ground: Ground) -> list[TemplateSpec]:
        """Templates that a container may be forked from, the best first."""
        uid_base = self._uids.first_uid(order.app_key)
        zygote = self._zygotes.best(order, ground, uid_base)
        if not order.spec.snapshot or order.spec.pickled:
            return [zygote]
        return [specs.snapshot(order, ground, uid_base), zygote]

    def _ttl_s(self, template: TemplateSpec) -> float:
        return float(self._settings["zygote_ttl_s" if template.boot is None else "snapshot_ttl_s"])
