"""The agent: it takes the server's orders, and reports what became of them.

`receive` never blocks: an order becomes a call on the part that it is for, or a task. What the parts report goes
through one outbox. `start` is given the link; where it is gone, reports are dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from inrush import wire
from inrush.agent.commands.execs import Execs
from inrush.agent.containers.table import Containers
from inrush.agent.images.builds import Builds
from inrush.agent.link.outbox import Deliver, Outbox
from inrush.agent.templates.starts import Starts
from inrush.wire import ToNode

log = logging.getLogger(__name__)


class Agent:
    """One node's agent. Made by `compose`; lives on the loop that calls `start`."""

    def __init__(
        self,
        hello: wire.NodeHello,
        outbox: Outbox,
        containers: Containers,
        starts: Starts,
        builds: Builds,
        execs: Execs,
    ) -> None:
        self._hello = hello
        self._outbox = outbox
        self._containers = containers
        self._starts = starts
        self._builds = builds
        self._execs = execs
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: dict[type, Callable[[Any], None]] = {
            wire.StartContainer: containers.start,
            wire.StopContainer: containers.stop,
            wire.Run: containers.run,
            wire.CancelRun: containers.cancel,
            wire.Recall: containers.recall,
            wire.ListContainers: containers.list,
            wire.GrantRun: containers.grant,
            wire.Feed: containers.feed,
            wire.ToGuestLink: containers.link,
            wire.Prepare: lambda order: self._spawn(starts.prepare(order)),
            wire.Build: lambda order: self._spawn(builds.build(order)),
            wire.ExecIn: execs.start,
            wire.ExecInput: execs.input,
        }

    def start(self, deliver: Deliver) -> None:
        """Begins: says hello over `deliver`, and from then on what happens."""
        self._outbox.open(deliver)
        self._outbox.put(msgspec.structs.replace(self._hello, containers=self._containers.ids()))
        self._outbox.flush()  # before any client can ask for what only a node has
        self._containers.watch()
        has = self._hello.inventory
        log.info("this node has %g CPUs, %d MiB and %d GPUs", has.cpu, has.memory_mib, len(has.gpus))

    def receive(self, batch: list[ToNode]) -> None:
        """Takes the server's orders."""
        self._outbox.receiving = True
        for order in batch:
            handler = self._handlers.get(type(order))
            if handler is None:
                log.error("an order that this agent does not know: %s", type(order).__name__)
                continue
            try:
                handler(order)
            except Exception:
                log.exception("a defect: %s could not be carried out", type(order).__name__)
                self._containers.defect(order)
        self._outbox.receiving = False

    def lose_all(self, why: str) -> None:
        """Ends all containers, because the launcher that runs them is gone."""
        self._containers.lose_all(why)

    async def stop(self, grace_s: float) -> None:
        """Ends everything that this agent started. Orders to start more are passed over from now on."""
        self._containers.closing = True
        for task in list(self._tasks):
            task.cancel()
        await self._execs.close()
        await self._containers.close(grace_s)
        await self._starts.close()
        self._outbox.flush()
        self._outbox.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a defect: %r", error, exc_info=error)
