"""The guest as a process: it may be pid 1 of its container, it can be told to end by a signal, and user code may
fork it or leave by `os._exit`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from inrush.guest.channel import Channel
from inrush.guest.outbox import Outbox
from inrush.guest.output import Output

TERM_GRACE_S = 30.0
"""What runs when SIGTERM arrives may go on so long."""

TERMINATING = frozenset({signal.SIGTERM, signal.SIGINT})

FAILED, AGENT_GONE, STUCK, BROKEN = 1, 2, 3, 4
"""Exit codes of a guest that did not end in order; the last means a defect of ours."""

leave = os._exit
"""The real one."""


class Process:
    """Its hooks into the operating system. Made once, by the main thread."""

    def __init__(self, channel: Channel, outbox: Outbox, output: Output, on_term: Callable[[], None]) -> None:
        self._pid = os.getpid()
        self._channel = channel
        self._outbox = outbox
        self._output = output
        self._on_term = on_term
        for number in TERMINATING:
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(channel.wake_fd, warn_on_full_buffer=False)
        os._exit = self._exit
        os.register_at_fork(after_in_child=self._forked)

    def flush(self) -> None:
        """All that was printed and answered is with the agent, if the agent reads."""
        self._output.flush()
        self._outbox.flush(wait=False)
        self._channel.finish()

    def on_signals(self, numbers: bytes) -> None:
        """From the pump, which is told of signals while the main thread is deep in native code."""
        if not TERMINATING.isdisjoint(numbers):
            self._on_term()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._on_term()

    def _exit(self, status: int) -> NoReturn:
        """`os._exit` for user code: what it has printed is not lost."""
        if os.getpid() == self._pid:
            self.flush()
        leave(status)

    def _forked(self) -> None:
        """In a child of user code: it has neither our socket nor our pump."""
        self._channel.abandon()
        self._output.restore()
        os._exit = leave
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
