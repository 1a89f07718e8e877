"""The one thread that reads the agent's socket. It also watches deadlines, and writes what a slow agent has not read
yet. It never runs user code."""

from __future__ import annotations

import math
import os
import select
import socket
import struct
from collections.abc import Callable
from typing import Any

from inrush.guest import headers
from inrush.guest.channel import Channel

_READ_BYTES = 256 * 1024

Handler = Callable[[dict[str, Any], list[bytes]], None]


class Pump:
    """Reads frames and passes each to the entry of `handlers` for its `t`. `tick` does what is due, and returns in how
    many seconds to call it again. `on_end` is called once, when the agent is gone or has broken the protocol."""

    def __init__(self, channel: Channel, on_end: Callable[[str], None]) -> None:
        self.handlers: dict[str, Handler] = {}
        self.tick: Callable[[], float] = lambda: math.inf
        self.on_signals: Callable[[bytes], None] = lambda numbers: None
        self._channel = channel
        self._on_end = on_end
        self._parser = headers.parser()
        self._buffer = memoryview(bytearray(_READ_BYTES))  # `recv` would allocate, and give back, as much each time
        self._asleep = False
        self._receive = self._receive_first
        self.on_descriptor: Callable[[int], None] = os.close

    def nudge(self) -> None:
        """Has `tick` called soon, if it would not be anyway; on any thread."""
        if self._asleep:
            self._asleep = False
            self._channel.wake()

    def run(self) -> None:
        """Reads until the agent is gone or breaks the protocol."""
        try:
            why = self._serve()
        except Exception as error:  # whatever it is, a guest without a pump must not live on
            why = f"the link to the agent broke: {type(error).__name__}: {error}"
        self._channel.give_up()
        self._on_end(why)

    def _serve(self) -> str:
        """Reads until the agent hangs up, and returns the empty string."""
        poll, socket_fd = select.poll(), self._channel.socket.fileno()
        poll.register(self._channel.woken_fd, select.POLLIN)
        while True:
            poll.register(socket_fd, select.POLLIN | (select.POLLOUT if self._channel.backed_up else 0))
            for fd, events in poll.poll(self._sleep_ms()):
                if fd == self._channel.woken_fd:
                    self.on_signals(os.read(fd, 4096))
                if fd == socket_fd and events & select.POLLOUT:
                    self._channel.drain()
                if fd == socket_fd and events & ~select.POLLOUT and not self._read():
                    return ""

    def _sleep_ms(self) -> int | None:
        """How long to sleep in `poll`. `_asleep` is set before `tick` looks for work, so that work which is added
        meanwhile ends the sleep."""
        self._asleep = True
        seconds = self.tick()
        if seconds > 0.001:
            return None if seconds == math.inf else math.ceil(seconds * 1000)
        self._asleep = False
        return 1

    def _receive_first(self) -> int:
        """Receives the first bytes, and with them the socket for large payloads, if there is one."""
        size, controls, _, _ = self._channel.socket.recvmsg_into(
            [self._buffer], socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, raw in controls:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self.on_descriptor(struct.unpack("i", raw[:4])[0])
        self._receive = self._receive_more
        return size

    def _receive_more(self) -> int:
        return self._channel.socket.recv_into(self._buffer)

    def _read(self) -> bool:
        try:
            size = self._receive()
        except BlockingIOError:
            return True
        for header, payloads in self._parser.feed(bytes(self._buffer[:size])):
            handler = self.handlers.get(header["t"])
            if handler is not None:
                handler(header, payloads)
        return size > 0
