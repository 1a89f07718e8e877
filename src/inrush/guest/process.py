"""The guest as a process: it may be pid 1 of its container, signals tell it to end, and user code may fork it or call
`os._exit`."""

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
"""How long running inputs may go on after SIGTERM."""

TERMINATING = frozenset({signal.SIGTERM, signal.SIGINT})

INHERITED = (signal.SIGHUP, signal.SIGQUIT)
"""Signals that a shell may have had the server ignore; user code gets them as in any process."""

FAILED, AGENT_GONE, STUCK, BROKEN = 1, 2, 3, 4
"""Exit codes of a guest that failed to load, lost its agent, had an input that did not end, or has a defect itself."""

leave = os._exit
"""The `os._exit` of Python, before `Process` replaces it for user code."""


class Process:
    """The guest's hooks into the operating system. The main thread makes it, once."""

    def __init__(self, channel: Channel, outbox: Outbox, output: Output, on_term: Callable[[], None]) -> None:
        self._pid = os.getpid()
        self._channel = channel
        self._outbox = outbox
        self._output = output
        self._on_term = on_term
        self._in_child = False
        for number in INHERITED:
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        for number in TERMINATING:
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(channel.wake_fd, warn_on_full_buffer=False)
        os._exit = self._exit
        os.register_at_fork(after_in_child=self._forked)

    def flush(self) -> None:
        """Sends everything that was printed and answered, as long as the agent reads."""
        self._output.flush()
        self._outbox.flush(wait=False)
        self._channel.finish()

    def on_signals(self, numbers: bytes) -> None:
        """Handles signals on the pump's thread, which hears of them while the main thread is busy in native code."""
        if not TERMINATING.isdisjoint(numbers):
            self._on_term()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._on_term()

    def _exit(self, status: int) -> NoReturn:
        """Replaces `os._exit` for user code, so that what it has printed is not lost."""
        if os.getpid() == self._pid:
            self.flush()
        leave(status)

    def _forked(self) -> None:
        """Undoes the hooks in a child that user code forked, since it has neither the agent's socket nor a pump. What
        a grandchild inherits belongs to the child."""
        if self._in_child:
            return
        self._in_child = True
        self._channel.abandon()
        self._output.restore()
        os._exit = leave
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
