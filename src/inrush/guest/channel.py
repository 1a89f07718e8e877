"""The writing half of the agent's socket: frames leave in order, and backpressure bounds the memory that they take.

The socket does not block. The sending thread writes what fits at once; the pump writes the rest when the agent reads
again, and senders that may wait block while more than `HIGH_BYTES` are unsent. So a flood of output slows the code that
makes it, and never the pump, which must keep reading cancellations.

The lock is reentrant, because a signal handler or a finalizer of user code may print while its own thread holds it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import deque

HIGH_BYTES = 1024 * 1024


class Channel:
    """Sends frames, once `open` has been called. `wake` ends the pump's `poll`."""

    def __init__(self) -> None:
        self.socket: socket.socket
        self.lock = threading.RLock()
        self.broken = False
        self.patient = True
        self.woken_fd, self.wake_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._room = threading.Condition(self.lock)
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._draining = False

    def open(self, sock: socket.socket) -> None:
        """Takes the agent's socket. No other method may be called before."""
        sock.setblocking(False)
        self.socket = sock

    @property
    def backed_up(self) -> bool:
        """Whether frames wait for the agent to read."""
        return bool(self._unsent)

    def send(self, frame: bytes, wait: bool = True) -> None:
        """Queues one frame and writes what fits. With `wait`, blocks while more than `HIGH_BYTES` are unsent."""
        with self.lock:
            if self.broken:
                return
            self._unsent.append(memoryview(frame))
            self._unsent_bytes += len(frame)
            self.drain()
            if self._unsent:
                self.wake()
                if wait:
                    self.await_room()

    def await_room(self) -> None:
        """Blocks while more than `HIGH_BYTES` are unsent."""
        if self._unsent_bytes > HIGH_BYTES:
            with self.lock:
                self._room.wait_for(lambda: self._unsent_bytes <= HIGH_BYTES or not self.patient)

    def drain(self) -> None:
        """Writes until the socket takes no more."""
        with self.lock:
            if self._draining:
                return
            self._draining = True
            try:
                self._write()
            except BlockingIOError:
                pass
            except OSError:
                self.give_up()
            finally:
                self._draining = False
            if self._unsent_bytes <= HIGH_BYTES:
                self._room.notify_all()

    def _write(self) -> None:
        while self._unsent:
            view = self._unsent[0]
            sent = self.socket.send(view)
            self._unsent_bytes -= sent
            if sent == len(view):
                self._unsent.popleft()
            else:
                self._unsent[0] = view[sent:]

    def give_up(self) -> None:
        """Drops all frames and releases waiting senders, since the agent is gone."""
        with self.lock:
            self.broken = True
            self._unsent.clear()
            self._unsent_bytes = 0
            self._room.notify_all()

    def finish(self, timeout_s: float = 5.0) -> None:
        """Writes everything that is left, for `timeout_s` at most; it does not need the pump."""
        with self.lock:
            self.patient = False
            self._room.notify_all()
            if not self._unsent:
                return
            self._draining = True
            self.socket.settimeout(timeout_s)
            try:
                while self._unsent:
                    self.socket.sendall(self._unsent.popleft())
            except OSError:
                self.give_up()
            finally:
                self._draining = False

    def wake(self) -> None:
        """Ends the pump's `poll`."""
        with contextlib.suppress(BlockingIOError):
            os.write(self.wake_fd, b"\0")

    def abandon(self) -> None:
        """Closes the descriptors in a child that user code forked: while the child held the socket, the agent would not
        see the guest end."""
        self.broken = True
        self.socket.close()
        os.close(self.woken_fd)
        os.close(self.wake_fd)
