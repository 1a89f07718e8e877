"""A stand-in for the server, with which a test gives orders to a whole agent and receives its messages."""

from __future__ import annotations

import asyncio
import hashlib
import io
import pickle
import tarfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from deadline import DEADLINE_S
from inrush import settings, wire
from inrush.agent.declared import declared
from inrush.agent.images.inherited import Inherited
from inrush.agent.link.node import Node
from inrush.launcher.boot import Given, start_launcher
from inrush.server.payloads.blobs import Blobs

M = TypeVar("M")


class Desk:
    """A stand-in for the server: gives orders to the agent and keeps its messages."""

    def __init__(self, home: Path, values: dict[str, Any]) -> None:
        self.home = home
        self.settings = {name: value.value for name, value in settings.load({}, {"INRUSH_HOME": str(home)}).items()}
        self.settings.update({"gpus": "A10G:4", **values})
        self.blobs = Blobs(home / "blobs", 1 << 30, 1 << 28, 3600.0)
        self.said: list[Any] = []
        self.lost: list[str] = []
        self.handle = start_launcher(home, Given(declared(Inherited.read())))
        self.node = Node(home, self.handle, self.blobs, self.settings, self.lost.append)
        self._news = asyncio.Event()
        self._asked = 0

    async def open(self) -> None:
        await self.node.start()
        self.node.attach(self._deliver)

    def _deliver(self, batch: list[Any]) -> None:
        self.said += batch
        self._news.set()

    def tell(self, *orders: Any) -> None:
        self.node.receive(list(orders))

    async def hear(
        self, kind: type[M], where: Callable[[M], bool] = lambda message: True, timeout_s: float = DEADLINE_S
    ) -> M:
        """The first message of a kind, among those received or still to come."""
        async with asyncio.timeout(timeout_s):
            while True:
                for message in self.said:
                    if isinstance(message, kind) and where(message):
                        return message
                self._news.clear()
                await self._news.wait()

    def spec(self, code: str, qualname: str = "f", **more: Any) -> wire.FunctionSpec:
        """A function whose source is this module."""
        content = textwrap.dedent(code).encode()
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            entry = tarfile.TarInfo("root/program.py")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        data = stream.getvalue()
        source = self.blobs.put(data, hashlib.sha256(data).hexdigest())
        return wire.FunctionSpec(name=qualname, module="program", qualname=qualname, source=source, **more)

    def start(self, id: str, spec: wire.FunctionSpec, **more: Any) -> None:
        self.tell(wire.StartContainer(id, "fn-1", more.pop("app", "app"), spec, **more))

    async def started(self, id: str, spec: wire.FunctionSpec, **more: Any) -> wire.ContainerReady:
        """Starts one and waits until it is ready."""
        self.start(id, spec, **more)
        ready_or_ended = await self.hear(
            wire.ContainerReady | wire.ContainerEnded,  # type: ignore[arg-type]
            lambda message: message.container == id,
        )
        assert isinstance(ready_or_ended, wire.ContainerReady), ready_or_ended
        return ready_or_ended

    def run(self, id: str, call: str, *arguments: Any, method: str = "", kind: str = "map") -> None:
        payloads = tuple(b"P" + pickle.dumps(((argument,), {})) for argument in arguments)
        self.tell(wire.Run(id, call, method, kind, tuple(range(len(arguments))), payloads))

    async def result(self, call: str, index: int = 0, timeout_s: float = DEADLINE_S) -> tuple[int, Any]:
        """Status and value (or payload, where that is no pickle) of one input."""
        ran = await self.hear(wire.Ran, lambda ran: ran.call == call and index in ran.indexes, timeout_s)
        at = ran.indexes.index(index)
        payload = ran.payloads[at]
        return ran.statuses[at], pickle.loads(payload[1:]) if payload[:1] == b"P" else payload

    async def ended(self, id: str, timeout_s: float = DEADLINE_S) -> wire.ContainerEnded:
        return await self.hear(wire.ContainerEnded, lambda message: message.container == id, timeout_s)

    async def lists(self) -> tuple[str, ...]:
        """The containers that the agent says it has."""
        self._asked += 1
        self.tell(wire.ListContainers("no-local", self._asked))
        return (await self.hear(wire.NodeContainers, lambda answer: answer.number == self._asked)).containers

    def ends(self, id: str) -> int:
        """How often the end of a container was said."""
        return sum(isinstance(m, wire.ContainerEnded) and m.container == id for m in self.said)
