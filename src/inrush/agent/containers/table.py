"""All containers of a node, by id: where the server's orders about them arrive.

Every order to start one is answered by exactly one `ContainerEnded`, also where nothing could be started. Any other
order for a container that has ended meanwhile is dropped: its `ContainerEnded` is on the way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator

from inrush import wire
from inrush.agent.containers.container import EXIT_HOOKS_S, KILL_SLACK_S, Container, Doing, Put, Start
from inrush.agent.containers.guests import Guest
from inrush.agent.containers.processes import End
from inrush.wire import Status

log = logging.getLogger(__name__)

WATCH_S = 0.5
MAX_CONTAINERS = 4096


class Containers:
    """The table. `start` starts a container's process, `guest` makes the link of a new container's guest, and `unable`
    hears of starts that failed because of this node."""

    def __init__(
        self, start: Start, put: Put, guest: Callable[[Container], Guest], unable: Callable[[], None] = lambda: None
    ) -> None:
        self._start = start
        self._put = put
        self._guest = guest
        self._unable = unable
        self._table: dict[str, Container] = {}
        self._watch: asyncio.TimerHandle | None = None
        self.closing = False
        self.heed: Callable[[Doing], None] = lambda doing: None
        """Told when a container begins to start, and when it gets its first inputs."""

    def ids(self) -> tuple[str, ...]:
        """Those that have not ended."""
        return tuple(self._table)

    def apps(self) -> set[str]:
        """Keys of the apps that have containers here."""
        return {container.order.app_key for container in self._table.values()}

    def at_work(self) -> Iterator[tuple[str, Doing]]:
        """Those that start or run inputs, with their function and which of the two it is."""
        for id, container in self._table.items():
            if container.state == "loading":
                yield id, (container.order.function, "starting")
            elif container.state == "serving" and len(container.deadlines):
                yield id, (container.order.function, "serving")

    def env(self, id: str) -> dict[str, str] | None:
        """The environment of a running container, or None."""
        container = self._table.get(id)
        return None if container is None else container.env()

    def watch(self) -> None:
        """Looks after deadlines, now and regularly."""
        self._watch = asyncio.get_running_loop().call_later(WATCH_S, self.watch)
        now = time.monotonic()
        for container in list(self._table.values()):
            container.check_deadlines(now)

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, order: wire.StartContainer) -> None:
        if order.container in self._table:
            log.error("container %s was ordered twice", order.container)
        elif self.closing:
            self._refuse(order, "its node is ending")
        elif len(self._table) >= MAX_CONTAINERS:
            self._refuse(order, f"this node runs {MAX_CONTAINERS} containers already, its most")
        else:
            self._begin(order)

    def _begin(self, order: wire.StartContainer) -> None:
        try:
            container = Container(order, self._put, self._guest, self._unable, self.heed)
        except OSError as error:  # no descriptors are left
            self._unable()
            self._refuse(order, f"its node could not begin to start it: {error}")
            return
        self._table[order.container] = container
        container.life = asyncio.create_task(self._live(container))

    def _refuse(self, order: wire.StartContainer, why: str) -> None:
        payload = wire.system_failure("ResourceExhaustedError", why)
        self._put(wire.ContainerEnded(order.container, int(Status.LOST), why, payload))

    def defect(self, order: wire.ToNode) -> None:
        """Ends the container that an order was about, because a defect kept it from being carried out."""
        container = self._table.get(getattr(order, "container", ""))
        if container is not None:
            container.defect(type(order).__name__)
        elif isinstance(order, wire.StartContainer):
            self._refuse(order, "its node could not begin to start it, by a defect of its own")

    def list(self, order: wire.ListContainers) -> None:
        """Tells which containers there are, after all that was said about those that have ended."""
        self._put(wire.NodeContainers(order.node, order.number, self.ids()))

    async def _live(self, container: Container) -> None:
        try:
            await container.live(self._start)
        finally:
            del self._table[container.order.container]

    def stop(self, order: wire.StopContainer) -> None:
        container = self._table.get(order.container)
        if container is not None and order.broke:
            container.broken(order.broke)
        elif container is not None:
            container.stop(order.grace_s, order.kill, "stopped")

    def run(self, order: wire.Run) -> None:
        if container := self._table.get(order.container):
            container.run(order)

    def cancel(self, order: wire.CancelRun) -> None:
        if container := self._table.get(order.container):
            container.cancel(order)

    def recall(self, order: wire.Recall) -> None:
        if container := self._table.get(order.container):
            container.guest.send({"t": "recall"})

    def grant(self, order: wire.GrantRun) -> None:
        if container := self._table.get(order.container):
            container.grant(order)

    def feed(self, order: wire.Feed) -> None:
        if container := self._table.get(order.container):
            header = {"t": "feed", "c": order.call, "last": order.last, "gone": order.gone}
            container.guest.about(order.call, header, (order.data,))

    def link(self, order: wire.ToGuestLink) -> None:
        if container := self._table.get(order.container):
            container.guest.send({"t": "link"}, (order.frame,))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def lose_all(self, why: str) -> None:
        """Ends all containers, because the launcher that ran them is gone."""
        for container in list(self._table.values()):
            container.end(End(Status.LOST, why))

    async def close(self, grace_s: float) -> None:
        """Stops all containers, and returns when all have ended."""
        if self._watch is not None:
            self._watch.cancel()
        lives = [container.life for container in self._table.values() if container.life is not None]
        for container in list(self._table.values()):
            container.stop(grace_s, grace_s <= 0, "the server stops")
        if not lives:
            return
        _, left = await asyncio.wait(lives, timeout=grace_s + EXIT_HOOKS_S + 2 * KILL_SLACK_S)
        for container in list(self._table.values()):
            log.error("container %s did not end in time", container.order.container)
        for life in left:
            life.cancel()
