"""The other ends of the server's links: a client on the unix socket, and an agent that runs Python functions in
place of containers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inrush import wire
from inrush.server.serve import Server
from inrush.wire import Status

DEADLINE_S = 60.0
_ENDS = (wire.Results, wire.CallRefused)

Work = Callable[[str, bytes], bytes]
"""What a container does: from method and payload to payload; an exception is an error of user code."""


class Agent:
    """Speaks `ToNode` and `FromNode` with the server in this process; every batch goes through the codec both ways, as
    over a link. Its containers are ready at once, and run inputs by `work`, unless `hold` is set: then inputs wait in
    `held` until `release`."""

    def __init__(self, server: Server, work: Work, gpus: tuple[wire.Gpu, ...] = (), node: str = "no-test") -> None:
        self.work, self.node = work, node
        self.hold = False
        self.held: list[wire.Run] = []
        self.received: list[Any] = []
        self.containers: dict[str, wire.StartContainer] = {}
        self.on: dict[type, Callable[[Any], list[Any]]] = {}
        self._attached = server.nodes.attach(self.receive)
        self._deliver([wire.NodeHello(node, wire.Inventory(cpu=8, memory_mib=16384, gpus=gpus))])

    def _deliver(self, batch: list[Any]) -> None:
        self._attached(wire.from_node_decoder.decode(wire.encode(batch)))

    def receive(self, batch: list[Any]) -> None:
        out: list[Any] = []
        for message in wire.to_node_decoder.decode(wire.encode(batch)):
            self.received.append(message)
            if type(message) in self.on:
                out.extend(self.on[type(message)](message))
            elif isinstance(message, wire.StartContainer):
                self.containers[message.container] = message
                out.append(wire.ContainerReady(message.container, "fork", 1.0))
            elif isinstance(message, wire.StopContainer) and self.containers.pop(message.container, None):
                out.append(wire.ContainerEnded(message.container, Status.OK, message.container))
            elif isinstance(message, wire.ListContainers):
                out.append(wire.NodeContainers(message.node, message.number, tuple(self.containers)))
            elif isinstance(message, wire.Run) and self.hold:
                self.held.append(message)
            elif isinstance(message, wire.Run):
                out.append(self.run(message))
        if out:
            asyncio.get_running_loop().call_soon(self._deliver, out)

    def say(self, *messages: Any) -> None:
        self._deliver(list(messages))

    def release(self) -> None:
        self.hold = False
        held, self.held = self.held, []
        self._deliver([self.run(message) for message in held])

    def run(self, message: wire.Run) -> wire.Ran:
        ends = [self._one(message.method, payload) for payload in message.payloads]
        statuses, payloads = tuple(int(s) for s, _ in ends), tuple(p for _, p in ends)
        return wire.Ran(message.container, message.call, message.indexes, statuses, payloads)

    def _one(self, method: str, payload: bytes) -> tuple[Status, bytes]:
        try:
            return Status.OK, self.work(method, payload)
        except Exception as error:
            return Status.ERROR, wire.system_failure("RemoteError", str(error), type(error).__name__)

    def got(self, kind: type) -> list[Any]:
        return [message for message in self.received if isinstance(message, kind)]


class Client:
    """A client on the unix socket. Messages that come are kept; `until` waits for what is looked for."""

    def __init__(self, path: Path, client: str = "cl-test") -> None:
        self.path, self.client = path, client
        self.messages: list[Any] = []
        self.boot = ""
        self.closed = False
        self._rid = 0
        self._came = asyncio.Event()

    async def connect(self, **hello: Any) -> Client:
        self._reader, self._writer = await asyncio.open_unix_connection(str(self.path))
        self.closed = False
        self._task = asyncio.create_task(self._read(self._reader))
        self.send(wire.Hello(self.client, **hello))
        welcome = await self.until(wire.Welcome)
        self.boot = welcome.boot
        return self

    def send(self, *messages: Any) -> None:
        frame = wire.encode(list(messages))
        self._writer.write(wire.FRAME.pack(len(frame)) + frame)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                (length,) = wire.FRAME.unpack(await reader.readexactly(4))
                self.messages.extend(wire.to_client_decoder.decode(await reader.readexactly(length)))
                self._came.set()
        except (asyncio.IncompleteReadError, OSError):
            self.closed = True
            self._came.set()

    async def wait(self, condition: Callable[[], Any], what: str = "a message") -> Any:
        deadline = time.monotonic() + DEADLINE_S
        while not (found := condition()):
            left = deadline - time.monotonic()
            assert left > 0, f"{what} did not come; came: {self.messages[-5:]}"
            assert not self.closed, f"the server closed before {what}; came: {self.messages[-5:]}"
            self._came.clear()
            try:
                await asyncio.wait_for(self._came.wait(), min(left, 0.2))
            except TimeoutError:
                continue
        return found

    async def until(self, kind: type, where: Callable[[Any], bool] = lambda message: True) -> Any:
        def look() -> Any:
            for at, message in enumerate(self.messages):
                if isinstance(message, kind) and where(message):
                    return self.messages.pop(at)
            return None

        return await self.wait(look, kind.__name__)

    async def ask(self, body: Any) -> Any:
        """The answer, or the `Refused`."""
        self._rid += 1
        rid = self._rid
        self.send(wire.Ask(rid, body))
        kinds = (wire.Answer, wire.Refused)
        found = await self.until(object, lambda m: isinstance(m, kinds) and m.rid == rid)
        return found.result if isinstance(found, wire.Answer) else found

    async def results(self, call: str, count: int) -> dict[int, tuple[int, bytes]]:
        """All results of a call, by index; each may come once only."""
        got: dict[int, tuple[int, bytes]] = {}
        while len(got) < count:
            message = await self.until(object, lambda m: isinstance(m, _ENDS) and m.call == call)
            assert isinstance(message, wire.Results), message
            for index, status, payload in zip(message.indexes, message.statuses, message.payloads, strict=True):
                assert index not in got, f"input {index} of {call} has two results"
                got[index] = (status, payload)
        return got

    async def start_app(self, *functions: wire.FunctionSpec, name: str = "app", **options: Any) -> dict[str, Any]:
        answer = await self.ask(wire.StartApp(wire.AppSpec(name=name, functions=functions), **options))
        assert isinstance(answer, dict), answer
        return answer

    async def close(self) -> None:
        self._writer.close()
        await self._task


def failure(payload: bytes) -> dict[str, Any]:
    """A `SystemFailure` payload."""
    assert payload[:1] == wire.Codec.JSON.value, payload
    found: dict[str, Any] = json.loads(payload[1:])
    return found
