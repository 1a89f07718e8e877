"""A node's agent, put together by hand: launcher, images, templates, containers."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from inrush import wire
from inrush.agent.commands.execs import Execs
from inrush.agent.containers.grounds import Grounds
from inrush.agent.containers.guests import Guest
from inrush.agent.containers.intake import Intake
from inrush.agent.containers.processes import Exits
from inrush.agent.containers.table import Containers
from inrush.agent.containers.uids import PLATFORM, UidRanges
from inrush.agent.devices import gpus
from inrush.agent.images.builds import Builds
from inrush.agent.images.inherited import Inherited
from inrush.agent.images.store import ImageStore
from inrush.agent.link.condition import Condition, labels
from inrush.agent.link.outbox import Deliver, Outbox
from inrush.agent.link.processors import Processors
from inrush.agent.link.session import Agent
from inrush.agent.payloads.blobs import Blobs
from inrush.agent.templates.starts import Starts
from inrush.agent.templates.table import Templates
from inrush.agent.templates.zygotes import Learned, Zygotes
from inrush.launcher import threads
from inrush.launcher.boot import LauncherHandle
from inrush.launcher.client import Launcher
from inrush.launcher.specs import Exited
from inrush.wire import ToNode

log = logging.getLogger(__name__)


class Node:
    """What a node runs: the launcher's face and the agent above it. `lost` is told when the launcher dies."""

    def __init__(
        self,
        home: Path,
        handle: LauncherHandle,
        blobs: Blobs,
        settings: Mapping[str, Any],
        lost: Callable[[str], None],
        inherited: Inherited | None = None,
    ) -> None:
        self.id = "no-local"
        self._home = home
        self._handle = handle
        self._blobs = blobs
        self._settings = settings
        self._lost = lost
        self._inherited = inherited
        self._exits = Exits()
        self._launcher = Launcher(handle, self._exits)
        self._outbox = Outbox()
        self._intake = Intake()
        self._pidfd = -1
        self._agent: Agent | None = None

    async def start(self) -> None:
        """Waits for the launcher and builds the agent. Raises `Error` saying what this machine lacks."""
        self._watch_launcher()
        can = await self._launcher.connect()
        cards = gpus.inventory(self._settings["gpus"])
        uids = UidRanges(self._home / "node" / "uids.json", in_use=lambda: containers.apps())
        images = ImageStore(
            self._home / "node",
            self._launcher,
            self._exits,
            lambda environment: uids.first_uid(f"{PLATFORM}/{environment}"),
            budget_gib=float(self._settings["layers_gib"]),
            free_floor_mib=int(self._settings["reserve_disk_mib"]),
            inherited=self._inherited,
        )
        await images.start()
        templates = Templates(self._launcher, images, float(self._settings["snapshot_memory_mib"]))
        templates.on_held = lambda mib: self._outbox.put(wire.NodeHeld(self.id, mib))
        zygotes = Zygotes(
            templates,
            Learned(self._home / "node" / "learned"),
            float(self._settings["snapshot_ttl_s"]),
            bool(self._settings["learn_imports"]),
            self._note,
        )
        memory_mib = int(can["memory_mib"])
        starts = Starts(
            self._launcher,
            self._exits,
            Grounds(images, self._blobs, uids),
            templates,
            zygotes,
            uids,
            cards,
            self._settings,
            memory_mib,
            self._note,
        )
        self._condition = Condition(self.id, self._home, int(self._settings["reserve_disk_mib"]), self._outbox.put)
        starts.prepared = self._condition.prepared
        containers = Containers(starts.start, self._outbox.put, self._guest, self._condition.look)
        self._processors = Processors(self.id, self._launcher, containers.at_work, self._outbox.put)
        containers.heed = self._processors.heed
        execs = Execs(self._launcher, self._exits, self._outbox.put, containers.env)
        self._exits.unexpected = lambda exited: self._ended(exited, templates)
        inventory = self._inventory(memory_mib, cards)
        hello = wire.NodeHello(self.id, inventory, pool=self._settings["pool"])
        self._agent = Agent(
            hello,
            self._outbox,
            containers,
            starts,
            Builds(images, self._blobs, uids.first_uid, self._outbox.put),
            execs,
        )

    def _inventory(self, memory_mib: int, cards: tuple[wire.Gpu, ...]) -> wire.Inventory:
        """What this node offers, and where it is."""
        given = self._settings
        return wire.Inventory(
            cpu=float(len(os.sched_getaffinity(0))),
            memory_mib=memory_mib,
            gpus=cards,
            cloud=given["cloud"],
            region=given["region"],
            price=float(given["node_price"]),
            labels=labels(given["labels"]),
            cpu_overcommit=max(1.0, float(given["cpu_overcommit"])),
        )

    def attach(self, deliver: Deliver) -> None:
        """Has the agent say hello, because the link to the server is up."""
        assert self._agent is not None
        self._agent.start(deliver)
        self._condition.watch()
        if threads.counted():
            self._processors.begin()

    def receive(self, batch: list[ToNode]) -> None:
        """Takes the server's orders."""
        assert self._agent is not None
        self._agent.receive(batch)

    async def entrance(self) -> socket.socket:
        """A listening socket that the containers of this node can reach, and nobody else can. Raises `LaunchError`."""
        return await self._launcher.entrance()

    async def stop(self, grace_s: float) -> None:
        """Ends all containers, then the launcher. Nothing of either is left."""
        if self._agent is not None:
            self._condition.close()
            self._processors.close()
            await self._agent.stop(grace_s)
        self._unwatch_launcher()
        await self._launcher.close()

    # ── the launcher ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _watch_launcher(self) -> None:
        self._pidfd = os.pidfd_open(self._handle.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._launcher_died)

    def _unwatch_launcher(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _launcher_died(self) -> None:
        self._unwatch_launcher()
        if self._agent is not None:
            self._agent.lose_all("the launcher of its node ended")
        self._exits.all_gone()
        self._lost(
            "the launcher ended by itself, and all containers with it; `inrush doctor` says what this machine can do"
        )

    def _ended(self, exited: Exited, templates: Templates) -> None:
        """Handles the end of a process that is no container."""
        if templates.died(exited.id):
            log.warning("template %s died (status %s)", exited.id, exited.code)

    def _note(self, about: str, text: str) -> None:
        self._outbox.put(wire.NodeNote(about, text))

    def _guest(self, container: Any) -> Guest:
        limit_bytes = int(self._settings["max_payload_mib"]) << 20
        return Guest(container, self._blobs, limit_bytes, self._intake, container.order.app_key)
