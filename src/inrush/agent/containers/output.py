"""What containers print: pipes read to their end, cut into lines, and limited.

Printing never slows user code and never fills the server: up to the limit every line is passed on, beyond it lines are
dropped, and one line says how much was. Pipes carry what native code and subprocesses write; Python's own output
arrives as `log` frames with its call, and both draw on one limit.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import time
from collections import deque
from collections.abc import Callable
from typing import cast

from inrush.lines import drawing, settled
from inrush.wire import ContainerLog

BURST_BYTES = 8 * 1024 * 1024
RATE_BYTES_PER_S = 1024 * 1024
RESUME_BYTES = 512 * 1024
"""Once lines are dropped, none passes until so much may, so that what is shown are whole stretches."""
MAX_LINE_BYTES = 16 * 1024
"""A longer line is cut."""
LINE_COST_BYTES = 64
"""Passing on a line costs so much more than its text: a million empty ones are not free."""
READ_BYTES_PER_S = 64 * 1024 * 1024
"""A pipe is read no faster: what it brings has to be cut into lines even where it is then dropped, and that takes the
event loop's time."""
_REST_S = 0.02
COLLECTED_LINES = 1000
COLLECTED_BYTES = 256 * 1024
SAID_CHARACTERS = 1500


class OutputLimit:
    """A token bucket over all that one container prints."""

    def __init__(self, put: Callable[[ContainerLog], None], container: str) -> None:
        self._put = put
        self._container = container
        self._tokens = float(BURST_BYTES)
        self._refilled = time.monotonic()
        self._dropped = 0

    def emit(self, call: str, stream: str, text: str) -> None:
        """Pass the text on, or count it as dropped."""
        now = time.monotonic()
        self._tokens = min(BURST_BYTES, self._tokens + (now - self._refilled) * RATE_BYTES_PER_S)
        self._refilled = now
        cost = LINE_COST_BYTES + (len(text) if text.isascii() else len(text.encode("utf-8", "replace")))
        if cost > self._tokens - (RESUME_BYTES if self._dropped else 0):
            self._dropped += len(text)
            return
        self._tokens -= cost
        self.tell_dropped()
        self._put(ContainerLog(self._container, call, stream, time.time(), text))

    def tell_dropped(self) -> None:
        """One line for all that was dropped since the last."""
        if self._dropped:
            limit = f"over {RATE_BYTES_PER_S >> 20} MiB/s after the first {BURST_BYTES >> 20} MiB"
            text = f"[{self._dropped:,} characters of output dropped: {limit}]\n"
            self._dropped = 0
            self._put(ContainerLog(self._container, "", "system", time.time(), text))


class Collected:
    """The last lines that a process printed, at most `COLLECTED_LINES` and `COLLECTED_BYTES`. The first who follows
    hears them all, and those to come."""

    def __init__(self) -> None:
        self._lines: deque[tuple[str, str]] = deque()
        self._size = 0
        self._told: Callable[[str, str], None] | None = None

    def add(self, stream: str, text: str) -> None:
        self._lines.append((stream, text[-COLLECTED_BYTES:]))
        self._size += len(self._lines[-1][1])
        while len(self._lines) > COLLECTED_LINES or self._size > COLLECTED_BYTES:
            self._size -= len(self._lines.popleft()[1])
        if self._told is not None:
            self._told(stream, text)

    def follow(self, told: Callable[[str, str], None]) -> None:
        """`told(stream, text)` hears it, unless somebody else does already."""
        if self._told is None:
            self._told = told
            for stream, text in self._lines:
                told(stream, text)

    def said(self) -> str:
        """The end of it, as a part of a message."""
        tail = "".join(text for _, text in self._lines).strip()[-SAID_CHARACTERS:]
        return f"; the last it wrote: {tail}" if tail else ""


class PipeReader(asyncio.Protocol):
    """Cuts what comes through a pipe into pieces of whole lines. `closed` is done at the pipe's end."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._partial = ""
        self._transport: asyncio.ReadTransport | None = None
        self._read_bytes, self._since = 0, 0.0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.ReadTransport, transport)  # uvloop's is one by its methods only

    def close(self) -> None:
        """Stop reading, though somebody may still hold the other end."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._cut(self._decode(data))
        self._read_bytes += len(data)
        if self._read_bytes > READ_BYTES_PER_S * _REST_S:
            self._slow_down()

    def _slow_down(self) -> None:
        """So much has come; if it came too fast, what follows waits in the pipe."""
        loop = asyncio.get_running_loop()
        now, self._read_bytes = loop.time(), 0
        if now - self._since < _REST_S and self._transport is not None:
            self._transport.pause_reading()
            loop.call_later(_REST_S, self._go_on)
        self._since = now

    def _go_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _cut(self, text: str) -> None:
        whole, newline, self._partial = (self._partial + text).rpartition("\n")
        if newline:
            self._take(settled(whole) + newline)
        if len(self._partial) > MAX_LINE_BYTES:
            self._partial = drawing(self._partial) or self._partial
        if len(self._partial) > MAX_LINE_BYTES:
            self._take(self._partial + "\n")
            self._partial = ""

    def connection_lost(self, error: Exception | None) -> None:
        self._cut(self._decode(b"", True))
        if self._partial:
            self._take(settled(self._partial) + "\n")
        if not self.closed.done():
            self.closed.set_result(None)


async def read_pipe(fd: int, take: Callable[[str], None]) -> PipeReader:
    """Reads the pipe `fd`, which is owned from now on."""
    file = open(fd, "rb", buffering=0)  # noqa: SIM115
    _, reader = await asyncio.get_running_loop().connect_read_pipe(lambda: PipeReader(take), file)
    return reader


async def open_pipe(take: Callable[[str], None]) -> int:
    """The writing end of a pipe whose lines go to `take`; the caller closes it."""
    read, write = os.pipe()
    await read_pipe(read, take)
    return write
