"""Links to agents: effects of the core become messages to a node, and messages of a node become events.

Messages to a node are gathered and handed over once in each turn. A node is attached by a function that takes such
batches, which is the `receive` of the agent in this process or the sending end of a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from inrush import wire
from inrush.core.model import effects, events
from inrush.errors import Error, ResourceExhaustedError
from inrush.server.apps.functions import Function, Functions
from inrush.server.fleet.containers import Container, Containers
from inrush.server.loop import Loop
from inrush.server.writes import Writes
from inrush.wire import Status

log = logging.getLogger(__name__)

Send = Callable[[list[Any]], None]
Deliver = Callable[[list[Any]], None]
KEPT_NOTES = 20
JOIN_S = 10.0
"""A server that has just started waits this long for its first node."""


class Node:
    """One attached agent."""

    __slots__ = ("_send", "_writes", "id", "inventory", "out", "pool")

    def __init__(self, send: Send, writes: Writes) -> None:
        self.id = self.pool = ""
        self.inventory: wire.Inventory | None = None
        self.out: list[Any] = []
        self._send, self._writes = send, writes

    def send(self, message: Any) -> None:
        """Queues a message for this turn's batch."""
        if not self.out:
            self._writes.add(self._flush)
        self.out.append(message)

    def _flush(self) -> None:
        batch, self.out = self.out, []
        self._send(batch)


class Nodes:
    """All attached agents. `handlers` take messages that do not concern the core: type → function(message)."""

    def __init__(
        self,
        loop: Loop,
        functions: Functions,
        containers: Containers,
        environment: Callable[[Function], tuple[tuple[str, str], ...]],
        key: Callable[[str], str],
    ) -> None:
        """`environment` has a function's variables, `key` says what nodes know an environment by."""
        self._post, self._loop = loop.post, loop
        self._functions, self._containers, self._environment = functions, containers, environment
        self._key = key
        self._nodes: dict[str, Node] = {}
        self._joined = asyncio.Event()
        self.ending = False
        """True once the server ends with its containers. What that cuts short runs again after the next start."""
        self.pool_of: Callable[[wire.NodeHello], str] = lambda hello: ""
        """Says to which pool a node belongs that says hello."""
        self.handlers: dict[type, Callable[[Any], None]] = {
            wire.ContainerReady: self._ready,
            wire.ContainerLeaving: lambda m: self._post(events.ContainerLeaving(m.container, m.why)),
            wire.ContainerEnded: self._ended,
            wire.Ran: self._ran,
            wire.Returned: self._returned,
            wire.NodeNote: self._note,
            wire.NodeContainers: lambda m: self._post(events.NodeContainers(m.node, m.number, m.containers)),
            wire.NodeCpu: lambda m: self._post(
                events.CpuUsed(m.node, tuple((u.function, u.serving, u.starting, u.start_s) for u in m.uses))
            ),
            wire.NodeHeld: lambda held: self._post(events.NodeHeld(held.node, held.memory_mib)),
        }

    def __len__(self) -> int:
        return len(self._nodes)

    def all(self) -> list[Node]:
        """All attached nodes."""
        return list(self._nodes.values())

    async def first(self) -> Node:
        """An attached node, or the next one to come. Raises `ResourceExhaustedError` if none comes."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._joined.wait(), JOIN_S)
        for node in self._nodes.values():
            return node
        raise ResourceExhaustedError("no node is attached; try again in a moment")

    # ── the link ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def attach(self, send: Send) -> Deliver:
        """Attaches an agent. `send` takes batches of `ToNode`; the result takes the agent's batches of `FromNode`."""
        node = Node(send, self._loop.writes)

        def deliver(batch: list[Any]) -> None:
            self._loop.hold()
            for message in batch:
                self._take(node, message)
            self._loop.turn()

        return deliver

    def detach(self, id: str, why: str) -> None:
        """Detaches an agent whose link is gone."""
        node = self._nodes.pop(id, None)
        if not self._nodes:
            self._joined.clear()
        if node is not None:
            self._post(events.NodeLeft(id, why))
            self._loop.turn()

    def _take(self, node: Node, message: Any) -> None:
        if type(message) is wire.NodeHello:
            node.id, node.inventory, node.pool = message.node, message.inventory, self.pool_of(message)
            self._nodes[node.id] = node
            self._joined.set()
            self._post(events.NodeJoined(node.id, message.inventory, message.containers, node.pool))
            for function in self._functions.all():
                self._prepare(node, function)
            return
        handler = self.handlers.get(type(message))
        if handler is None:
            log.error("node %s sent %s, which nobody here takes", node.id, type(message).__name__)
            return
        try:
            handler(message)
        except Exception:
            log.exception("a defect: %s of node %s could not be taken", type(message).__name__, node.id)
            if isinstance(message, wire.ContainerReady | wire.Ran | wire.Returned):
                self.give_up(message.container)

    def _ready(self, message: wire.ContainerReady) -> None:
        container = self._containers.live(message.container)
        if container is not None:
            container.how, container.start_ms, container.phases_ms = message.how, message.start_ms, message.phases_ms
            container.how_why = message.why
            self._containers.became(container, "ready")
        self._post(events.ContainerReady(message.container, message.how, message.start_ms))

    def _ended(self, message: wire.ContainerEnded) -> None:
        container = self._containers.end(message.container, message.why)
        if self.ending:
            return
        status, ref = message.status, message.payload or None
        if container is not None and container.by_hand:
            status, ref = int(Status.LOST), None
        self._post(events.ContainerEnded(message.container, status, message.why, ref))

    def _ran(self, message: wire.Ran) -> None:
        if self.ending:
            message = _own_ends(message)
        m = message
        self._post(events.AttemptsEnded(m.container, m.call, m.indexes, m.statuses, m.payloads, m.spent_s))

    def _returned(self, message: wire.Returned) -> None:
        self._post(events.InputsReturned(message.container, message.call, message.indexes))

    def _note(self, message: wire.NodeNote) -> None:
        function = self._functions.get(message.about) if message.about else None
        if function is None:
            log.warning("%s", message.text)
            return
        if message.text not in function.notes:
            function.notes = [*function.notes[1 - KEPT_NOTES :], message.text]
        log.info("%s: its node has a note, which `inrush why` shows", function.name)

    # ── to nodes ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def to_container(self, id: str, message: Any) -> None:
        """Sends a message to the node of a container; drops it when the container has ended."""
        container = self._containers.live(id)
        node = self._nodes.get(container.node) if container is not None else None
        if node is not None:
            node.send(message)

    def prepare(self, function: Function) -> None:
        """Has every node get ready for containers of this function."""
        for node in self._nodes.values():
            self._prepare(node, function)

    def _prepare(self, node: Node, function: Function) -> None:
        try:
            env = self._environment(function)
        except Error as error:
            log.warning("%s: %s", function.title, error)
            return
        node.send(
            wire.Prepare(
                function.id,
                function.app_name,
                function.spec,
                env,
                function.parameters,
                self._key(function.environment),
            )
        )

    def start_container(self, effect: effects.StartContainer) -> None:
        """Carries out `StartContainer`."""
        if self.ending:
            return
        function, node = self._functions.get(effect.function), self._nodes.get(effect.node)
        if function is None or node is None:
            self._post(events.ContainerEnded(effect.container, wire.Status.LOST, "its function or node is gone"))
            return
        container = Container(effect.container, function, effect.node, effect.gpus, effect.gpu_type, effect.why)
        self._containers.add(container)
        try:
            env = self._environment(function)
        except Error as error:
            self._containers.end(container.id, str(error))
            failure = wire.system_failure(type(error).__name__, str(error))
            self._post(events.ContainerEnded(effect.container, wire.Status.STARTUP, str(error), failure))
            return
        node.send(
            wire.StartContainer(
                container.id,
                function.id,
                function.app_name,
                function.spec,
                env,
                effect.gpus,
                effect.gpu_type,
                function.parameters,
                effect.gpu_share,
                effect.rank,
                effect.cluster,
                environment=self._key(function.environment),
            )
        )

    def stop_container(self, effect: effects.StopContainer) -> None:
        """Carries out `StopContainer`, also for containers that only the node knows."""
        container = self._containers.live(effect.container)
        if container is not None:
            self._containers.became(container, "stopping", effect.why)
        node = self._nodes.get(effect.node)
        if node is not None:
            node.send(wire.StopContainer(effect.container, effect.grace_s, effect.kill))

    def container_lost(self, effect: effects.ContainerLost) -> None:
        """Carries out `ContainerLost`."""
        self._containers.end(effect.container, effect.why)

    def list_containers(self, effect: effects.ListContainers) -> None:
        """Carries out `ListContainers`."""
        node = self._nodes.get(effect.node)
        if node is not None:
            node.send(wire.ListContainers(effect.node, effect.number))

    def stop_by_hand(self, container: Container, grace_s: float = 30.0, why: str = "it was stopped by hand") -> None:
        """Stops a container because a person asked for it. The core learns of it at the end, and tries what it ran
        elsewhere."""
        container.by_hand = True
        self._containers.became(container, "stopping", why)
        self.to_container(container.id, wire.StopContainer(container.id, grace_s))

    def give_up(self, id: str) -> None:
        """Kills a container because a defect lost what was sent to it or came from it. What it ran is tried
        elsewhere."""
        if (container := self._containers.live(id)) is not None:
            self.stop_by_hand(container, 0.0, "a message to it or from it was lost by a defect of the server")

    def cancel_run(self, effect: effects.CancelRun) -> None:
        """Carries out `CancelRun`."""
        self.to_container(effect.container, wire.CancelRun(effect.container, effect.call, effect.indexes))

    def recall(self, effect: effects.Recall) -> None:
        """Carries out `Recall`."""
        self.to_container(effect.container, wire.Recall(effect.container))


def _own_ends(message: wire.Ran) -> wire.Ran:
    """Only the attempts that ended by themselves."""
    own = [i for i, status in enumerate(message.statuses) if status in (Status.OK, Status.ERROR, Status.TIMEOUT)]
    indexes, statuses = tuple([message.indexes[i] for i in own]), tuple([message.statuses[i] for i in own])
    return wire.Ran(message.container, message.call, indexes, statuses, tuple([message.payloads[i] for i in own]))
