"""How a container is started: the cheapest way that its function allows.

    snapshot   forked from a process in which the module is imported and `@enter(snap=True)` hooks have run
    fork       forked from a zygote: an interpreter in the app's image with the guest imported
    exec       a fresh interpreter, where no template could be had
    process    no isolation at all, by an explicit setting only

Each way falls back to the next with a note that says why. A snapshot's key is the digest of all that its process has seen:
app, layers, parameters, environment and secrets, guest and kernel.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import platform
from collections.abc import Callable, Mapping
from typing import Any

from inrush import wire
from inrush.agent import cdi, gpus, process_mode
from inrush.agent.environment import container_env, load_spec
from inrush.agent.grounds import Ground, Grounds
from inrush.agent.launcher.client import Launcher
from inrush.agent.launcher.specs import Exited, ForkSpec, Limits, RunSpec, TemplateSpec
from inrush.agent.processes import Begun, Stdio
from inrush.agent.templates import Templates
from inrush.agent.uids import UidRanges
from inrush.errors import Error

log = logging.getLogger(__name__)

GUEST_FD = 3
"""Where the guest finds its socket."""
MAX_PREPARING = 2
"""Templates opened ahead at once; those that a container waits for are not counted."""


class Contained:
    """A container that the launcher runs."""

    def __init__(self, launcher: Launcher, id: str) -> None:
        self._launcher = launcher
        self._id = id

    async def wait(self) -> Exited:
        return await self._launcher.exited(self._id)

    def kill(self) -> None:
        self._launcher.kill(self._id)


class Starts:
    """Starts containers on this node. `note` tells people (function id, text)."""

    def __init__(
        self,
        launcher: Launcher,
        grounds: Grounds,
        templates: Templates,
        uids: UidRanges,
        cards: tuple[wire.Gpu, ...],
        settings: Mapping[str, Any],
        note: Callable[[str, str], None],
    ) -> None:
        self._launcher = launcher
        self._grounds = grounds
        self._templates = templates
        self._uids = uids
        self._cards = {card.index: card for card in cards}
        self._settings = settings
        self._note = note
        self._preparing = asyncio.Semaphore(MAX_PREPARING)
        self._warned = False

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, order: wire.StartContainer, stdio: Stdio) -> Begun:
        """A process with a guest that waits for its `load`. Raises `Error` with a sentence for people."""
        if self._settings["isolation"] == "process":
            return await self._start_process(order, stdio)
        ground = await self._grounds.find(order.spec, order.app)
        devices = cdi.edits([self._cards[index] for index in order.gpus])
        env = container_env(order, ground.env, [self._cards[index] for index in order.gpus], devices)
        why = []
        for template in self._templates_for(order, ground):
            try:
                return await self._fork(order, ground, template, env, devices, stdio, "; ".join(why))
            except Error as error:
                kind = "snapshot" if template.boot is not None else "zygote"
                why.append(f"no {kind}: {error}")
                self._note(order.function, f"{order.spec.name} starts without its {kind}: {error}")
        return await self._exec(order, ground, env, devices, stdio, "; ".join(why))

    async def prepare(self, order: wire.Prepare) -> None:
        """Opens what a container of this function would be forked from."""
        if self._settings["isolation"] == "process":
            return
        async with self._preparing:
            try:
                ground = await self._grounds.find(order.spec, order.app)
                for template in self._templates_for(order, ground):
                    async with self._templates.use(template, self._ttl_s(template)):
                        return
            except (Error, OSError) as error:
                log.info("%s could not be prepared: %s", order.spec.name, error)

    async def close(self) -> None:
        await self._templates.close()

    # ── the ways ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _fork(
        self,
        order: wire.StartContainer,
        ground: Ground,
        template: TemplateSpec,
        env: dict[str, str],
        devices: cdi.DeviceEdits,
        stdio: Stdio,
        why: str,
    ) -> Begun:
        async with self._templates.use(template, self._ttl_s(template)):
            spec = ForkSpec(
                id=order.container,
                template=template.key,
                root=ground.root(order.container, devices.binds, order.spec.resources.disk_mib),
                limits=limits(order.spec.resources),
                network=_network(order.spec),
                hostname=order.container,
                env=env,
                devices=devices.devices,
            )
            started = await self._launcher.fork(spec, stdio.all())
        how = "snapshot" if template.boot is not None else "fork"
        return Begun(Contained(self._launcher, order.container), how, started.phases, _joined(why, started.why))

    async def _exec(
        self,
        order: wire.StartContainer,
        ground: Ground,
        env: dict[str, str],
        devices: cdi.DeviceEdits,
        stdio: Stdio,
        why: str,
    ) -> Begun:
        spec = RunSpec(
            id=order.container,
            root=ground.root(order.container, devices.binds, order.spec.resources.disk_mib),
            argv=(ground.python, "-m", "inrush.guest", str(GUEST_FD)),
            uid_base=self._uids.first_uid(order.app),
            env={**env, **ground.python_env()},
            cwd=ground.workdir,
            limits=limits(order.spec.resources),
            network=_network(order.spec),
            devices=devices.devices,
        )
        started = await self._launcher.run(spec, stdio.all())
        return Begun(Contained(self._launcher, order.container), "exec", started.phases, _joined(why, started.why))

    async def _start_process(self, order: wire.StartContainer, stdio: Stdio) -> Begun:
        if not self._warned:
            self._warned = True
            self._note("", process_mode.WARNING)
        sources = await self._grounds.archives(order.spec)
        env = container_env(order, {}, [self._cards[index] for index in order.gpus], cdi.DeviceEdits())
        process = await process_mode.start(order.container, stdio, env, sources)
        return Begun(process, "process", why=process_mode.WARNING)

    # ── templates ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _templates_for(self, order: wire.StartContainer | wire.Prepare, ground: Ground) -> list[TemplateSpec]:
        zygote = self._zygote(order, ground)
        wants_snapshot = order.spec.snapshot and order.spec.has_snap_hooks
        return [self._snapshot(order, ground), zygote] if wants_snapshot else [zygote]

    def _zygote(self, order: wire.StartContainer | wire.Prepare, ground: Ground) -> TemplateSpec:
        return TemplateSpec(
            key="zy-" + _digest(order.app, ground.layers, ground.env, _ground_truth()),
            root=ground.template_root(with_source=False),
            uid_base=self._uids.first_uid(order.app),
            python=ground.python,
            sys_path=ground.sys_path,
            sys_path_end=ground.sys_path_end,
            env=ground.env,
        )

    def _snapshot(self, order: wire.StartContainer | wire.Prepare, ground: Ground) -> TemplateSpec:
        env = {**ground.env, **dict(order.env), "INRUSH_IS_REMOTE": "1", "INRUSH_APP": order.app}
        boot = load_spec(order)
        seen = (order.app, ground.layers, ground.above, boot, env, _ground_truth())
        return TemplateSpec(
            key="sn-" + _digest(*seen),
            root=ground.template_root(with_source=True),
            uid_base=self._uids.first_uid(order.app),
            python=ground.python,
            sys_path=ground.sys_path,
            sys_path_end=ground.sys_path_end,
            env=env,
            boot=boot,
            limits=limits(order.spec.resources),
            network=_network(order.spec),
            timeout_s=order.spec.startup_timeout_s,
        )

    def _ttl_s(self, template: TemplateSpec) -> float:
        return float(self._settings["zygote_ttl_s" if template.boot is None else "snapshot_ttl_s"])


def limits(resources: wire.Resources) -> Limits:
    """What the launcher enforces of a function's resources."""
    return Limits(cpu=resources.cpu_limit, cpu_request=resources.cpu, memory_mib=resources.memory_limit_mib)


def _network(spec: wire.FunctionSpec) -> str:
    return "none" if spec.block_network else "nat"


def _joined(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))


def _ground_truth() -> tuple[str, str]:
    """The versions of what every template contains besides the image."""
    import inrush.guest

    return (str(inrush.guest.__file__), platform.release())


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]
