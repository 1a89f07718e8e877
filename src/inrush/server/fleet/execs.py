"""Commands that people run in containers. The node runs them, and the server passes their streams on."""

from __future__ import annotations

import asyncio
import secrets

from inrush import wire
from inrush.errors import NotFoundError, ResourceExhaustedError
from inrush.server.fleet.containers import Containers
from inrush.server.fleet.nodes import Node, Nodes

MAX_EXECS = 256
MAX_PIECES = 4096
"""Pieces of output that may wait for a slow reader. A command that prints more is cut off."""


class Exec:
    """One running command. Its `output` ends with a piece whose `code` is 0 or more."""

    def __init__(self, id: str, node: Node) -> None:
        self.id, self._node = id, node
        self.output: asyncio.Queue[wire.ExecOutput] = asyncio.Queue(MAX_PIECES)

    def write(self, data: bytes) -> None:
        """Writes to the command's standard input."""
        self._node.send(wire.ExecInput(self.id, data))

    def end_input(self) -> None:
        """Ends the command's standard input."""
        self._node.send(wire.ExecInput(self.id, close=True))

    def leave(self) -> None:
        """Ends the command's input, or hangs its terminal up, because its person has gone."""
        self._node.send(wire.ExecInput(self.id, gone=True))

    def resize(self, rows: int, columns: int) -> None:
        """Tells the command that its terminal has another size."""
        self._node.send(wire.ExecInput(self.id, rows=rows, columns=columns))


class Execs:
    """All running commands."""

    def __init__(self, nodes: Nodes, containers: Containers) -> None:
        self._nodes, self._containers = nodes, containers
        self._execs: dict[str, Exec] = {}
        nodes.handlers[wire.ExecOutput] = self._output

    def enter(self, container: str, argv: tuple[str, ...], tty: bool, rows: int, columns: int) -> Exec:
        """Runs a command in a container. Raises `NotFoundError` or `ResourceExhaustedError`."""
        found = self._containers.live(container)
        node = self._node(found.node) if found is not None else None
        if node is None:
            raise NotFoundError(f"no container {container!r} is running; `inrush container list` shows those that are")
        if len(self._execs) >= MAX_EXECS:
            raise ResourceExhaustedError(f"{MAX_EXECS} commands are running already; try again later")
        id = f"ex-{secrets.token_hex(16)}"
        running = self._execs[id] = Exec(id, node)
        node.send(wire.ExecIn(id, container, argv, tty, rows, columns))
        return running

    def _node(self, id: str) -> Node | None:
        return next((node for node in self._nodes.all() if node.id == id), None)

    def forget(self, running: Exec) -> None:
        """Leaves a command, unless it has ended."""
        if self._execs.pop(running.id, None) is not None:
            running.leave()

    def _output(self, message: wire.ExecOutput) -> None:
        running = self._execs.get(message.exec)
        if running is None:
            return
        if message.code >= 0:
            del self._execs[message.exec]
        try:
            running.output.put_nowait(message)
        except asyncio.QueueFull:
            self._execs.pop(message.exec, None)
            running.output.get_nowait()
            running.output.put_nowait(
                wire.ExecOutput(message.exec, code=141, error="the reader is too slow for its output")
            )
