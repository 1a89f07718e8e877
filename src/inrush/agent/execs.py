"""Commands in containers for people: `container exec` in a running one, `shell` in a fresh one of a function.

A terminal is a pseudo terminal whose far end the command gets as descriptors 0, 1 and 2; without one they are pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import termios
from collections.abc import Awaitable, Callable

from inrush import wire
from inrush.agent.exits import Exits
from inrush.agent.launcher.client import Launcher
from inrush.errors import Error, NotFoundError

PIECE_BYTES = 64 * 1024
MAX_UNSENT_INPUT_BYTES = 4 * 1024 * 1024

Streams = tuple[int, int, int]
Fresh = Callable[[wire.ExecIn, Streams], Awaitable[None]]
"""Starts a fresh container, known as the exec's id, that runs the command."""
Environment = Callable[[str], dict[str, str] | None]
"""The environment of a running container; None where there is no such container."""


class Execs:
    """Running commands by their exec id."""

    def __init__(
        self,
        launcher: Launcher,
        exits: Exits,
        put: Callable[[wire.FromNode], None],
        fresh: Fresh,
        environment: Environment,
    ) -> None:
        self._launcher = launcher
        self._exits = exits
        self._put = put
        self._fresh = fresh
        self._environment = environment
        self._running: dict[str, _Command] = {}

    async def run(self, order: wire.ExecIn) -> None:
        """From the order to the command's end; failures are told, not raised."""
        command = self._running[order.exec] = _Command(order, self._put)
        exited = self._exits.expect(order.exec)
        try:
            await command.open()
            try:
                await self._begin(order, command.theirs)
            finally:
                command.release()
            end = await exited
            await command.drained()
            self._put(wire.ExecOutput(order.exec, code=128 + end.signal if end.signal else end.code))
        except (Error, OSError) as error:
            self._put(wire.ExecOutput(order.exec, code=126, error=str(error)))
        finally:
            self._exits.forget(order.exec)
            command.close()
            del self._running[order.exec]

    async def _begin(self, order: wire.ExecIn, streams: Streams) -> None:
        if order.spec is not None:
            await self._fresh(order, streams)
            return
        env = self._environment(order.container)
        if env is None:
            raise NotFoundError(
                f"no container {order.container!r} runs on this node; `inrush container list` shows them"
            )
        env |= {"TERM": "xterm-256color"} if order.tty else {}
        env |= dict(order.env)
        await self._launcher.enter(order.container, order.argv, env, "/root", *streams, order.tty, order.exec)

    def input(self, order: wire.ExecInput) -> None:
        """Bytes for a command's standard input, or a new size of its terminal."""
        if command := self._running.get(order.exec):
            if order.rows > 0:
                command.resize(order.rows, order.columns)
            command.write(order.data, order.close)

    async def close(self) -> None:
        """Ends all commands."""
        for id in list(self._running):
            await self._launcher.kill(id)


class _Command(asyncio.Protocol):
    """Our ends of one command's streams."""

    def __init__(self, order: wire.ExecIn, put: Callable[[wire.FromNode], None]) -> None:
        self._order = order
        self._put = put
        self._readers: list[_Reader] = []
        self._transports: list[asyncio.ReadTransport] = []
        self._input: asyncio.WriteTransport | None = None
        self._terminal = -1
        self.theirs: Streams = (-1, -1, -1)

    async def open(self) -> None:
        if self._order.tty:
            self._terminal, theirs = pty.openpty()
            self.theirs = (theirs, theirs, theirs)
            self.resize(self._order.rows, self._order.columns)
            await self._read(os.dup(self._terminal), 1)
            await self._write_to(os.dup(self._terminal))
            return
        stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
        self.theirs = (stdin[0], stdout[1], stderr[1])
        await self._read(stdout[0], 1)
        await self._read(stderr[0], 2)
        await self._write_to(stdin[1])

    async def _read(self, fd: int, stream: int) -> None:
        reader = _Reader(lambda data: self._put(wire.ExecOutput(self._order.exec, stream, data)))
        file = open(fd, "rb", buffering=0)  # noqa: SIM115
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: reader, file)
        self._readers.append(reader)
        self._transports.append(transport)

    async def _write_to(self, fd: int) -> None:
        file = open(fd, "wb", buffering=0)  # noqa: SIM115
        self._input, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, file)

    def release(self) -> None:
        """The command has its own copies of its ends now."""
        for fd in set(self.theirs):
            os.close(fd)

    def write(self, data: bytes, close: bool) -> None:
        pipe = self._input
        if pipe is None or pipe.is_closing():
            return
        if data and pipe.get_write_buffer_size() < MAX_UNSENT_INPUT_BYTES:
            pipe.write(data)
        if close and self._order.tty:
            pipe.write(b"\x04")
        elif close:
            pipe.close()

    def resize(self, rows: int, columns: int) -> None:
        if self._terminal >= 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def drained(self) -> None:
        """All that the command wrote has been passed on."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(reader.closed.wait() for reader in self._readers)), 2.0)

    def close(self) -> None:
        for transport in self._transports:
            transport.close()
        if self._input is not None:
            self._input.close()
        if self._terminal >= 0:
            os.close(self._terminal)


class _Reader(asyncio.Protocol):
    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self.closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE_BYTES):
            self._take(data[start : start + PIECE_BYTES])

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()
