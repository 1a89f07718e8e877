"""The agent's ends of the streams of a command that a person runs in a container: three pipes, or a pseudo-terminal.
What is written before they are open is kept until then.

The terminal is one of the container, where its programs find it by name (`tty`, `/dev/pts/0`). Its controlling side
arrives over a socket that the command gets in the place of pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

from inrush.errors import InternalError
from inrush.launcher.specs import Terminal
from inrush.linux import messages, terminals

PIECE_BYTES = 64 * 1024

Theirs = tuple[int, int, int]
"""Descriptors 0, 1 and 2 of the command."""


class Streams:
    """`told(stream, data)` hears what the command writes; stream is 1 or 2."""

    def __init__(self, tty: bool, rows: int, columns: int, told: Callable[[int, bytes], None]) -> None:
        self._tty = tty
        self._size = (rows, columns)
        self._told = told
        self._readers: list[_Reader] = []
        self._transports: list[asyncio.ReadTransport] = []
        self._input = _Writer()
        self._terminal = -1
        self._channel: socket.socket | None = None
        self.theirs: Theirs = (-1, -1, -1)

    @property
    def terminal(self) -> Terminal | None:
        """The terminal to make for the command; None where it gets pipes."""
        return Terminal(*self._size) if self._tty else None

    async def open(self) -> None:
        """Opens the streams. `release` the command's ends once it has its own."""
        if self._tty:
            self._channel, end = messages.pair()
            theirs = end.detach()
            self.theirs = (theirs, theirs, theirs)
        else:
            stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
            self.theirs = (stdin[0], stdout[1], stderr[1])
            await self._read(stdout[0], 1)
            await self._read(stderr[0], 2)
            self._input.open(stdin[1])

    async def begun(self) -> None:
        """Takes the controlling side of the command's terminal, when it has one. Raises `InternalError` if none
        came."""
        if self._channel is None:
            return
        try:
            (self._terminal,) = messages.receive(self._channel, wait=False, descriptors=1).fds
        except (OSError, ValueError) as error:
            raise InternalError(f"the command got no terminal: {error}") from None
        self.resize(*self._size)
        await self._read(os.dup(self._terminal), 1)
        self._input.open(os.dup(self._terminal))

    async def _read(self, fd: int, stream: int) -> None:
        reader = _Reader(lambda data: self._told(stream, data))
        file = open(fd, "rb", buffering=0)  # noqa: SIM115
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: reader, file)
        self._readers.append(reader)
        self._transports.append(transport)

    def release(self) -> None:
        """Closes the command's ends here."""
        for fd in set(self.theirs):
            os.close(fd)

    def unsent_bytes(self) -> int:
        """What the command has not read yet."""
        return len(self._input.unsent)

    def write(self, data: bytes, close: bool) -> None:
        """Writes to the command's standard input; `close` ends it."""
        self._input.write(data + b"\x04" if close and self._tty else data)
        if close and not self._tty:
            self._input.end()

    def resize(self, rows: int, columns: int) -> None:
        """Sets the terminal's size, also before it is open."""
        self._size = (rows, columns)
        if self._terminal >= 0:
            with contextlib.suppress(OSError):
                terminals.resize(self._terminal, rows, columns)

    async def drained(self) -> None:
        """Returns when everything that the command wrote has been told."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(reader.closed.wait() for reader in self._readers)), 2.0)

    def close(self) -> None:
        """Closes the agent's ends."""
        for transport in self._transports:
            transport.close()
        self._input.close()
        if self._channel is not None:
            messages.drain(self._channel)
        if self._terminal >= 0:
            os.close(self._terminal)


class _Writer:
    """A descriptor that is written to as it takes it; a loop's own pipes cannot write to a terminal."""

    def __init__(self) -> None:
        self.unsent = bytearray()
        self._fd = -1
        self._ending = self._closed = False

    def open(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._flush()

    def write(self, data: bytes) -> None:
        if not (self._ending or self._closed):
            self.unsent += data
            self._flush()

    def end(self) -> None:
        """Closes the descriptor when everything is written."""
        self._ending = True
        self._flush()

    def close(self) -> None:
        self._closed = True
        if self._fd >= 0:
            asyncio.get_running_loop().remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _flush(self) -> None:
        if self._fd < 0:
            return
        try:
            while self.unsent:
                del self.unsent[: os.write(self._fd, self.unsent[:PIECE_BYTES])]
        except BlockingIOError:
            asyncio.get_running_loop().add_writer(self._fd, self._flush)
            return
        except OSError:  # nobody reads any more
            self._ending = True
            self.unsent.clear()
        asyncio.get_running_loop().remove_writer(self._fd)
        if self._ending:
            self.close()


class _Reader(asyncio.Protocol):
    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self.closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE_BYTES):
            self._take(data[start : start + PIECE_BYTES])

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()
