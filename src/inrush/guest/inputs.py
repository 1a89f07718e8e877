"""The queue of inputs: which one runs next, in which slot, on how many threads.

Up to `limit` attempts are active. Async ones go to the event loop as tasks; worker threads take sync ones, and where
the limit is 1 the main thread is the only worker. Handing an input to a thread costs more than a short input takes, so
while inputs are short (`Target.typical_s`) one worker drains the queue, and results share frames; while they are long,
every input gets a thread of its own. When an input that was expected to be short is not, the pump's tick notices and
wakes one more worker for the inputs behind it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import Protocol

from inrush.guest.attempt import Attempt

LONG_S = 0.0003
"""Inputs that take longer than this run in parallel."""

STUCK_S = 0.002
"""After this time another worker takes the inputs that wait behind a worker."""


class Bell:
    """Wakes one of the threads that wait for it, or the next that will."""

    def __init__(self) -> None:
        self._rung: SimpleQueue[bool] = SimpleQueue()

    def ring(self) -> None:
        """Wake one."""
        self._rung.put(True)

    def wait(self) -> None:
        """Sleep until woken."""
        self._rung.get()


class Loop(Protocol):
    """The event loop that runs async inputs."""

    def start(self, attempt: Attempt) -> None: ...


class Threads(Protocol):
    """The worker threads that run sync inputs, each one input after the other; `count` of them exist."""

    count: int

    def ensure(self, wanted: int) -> None: ...


class Inputs:
    """The queue, and the set of active attempts. The pump adds; workers and the loop take and finish."""

    def __init__(self, limit: int, bell: Bell) -> None:
        """`bell` wakes workers."""
        self.limit = limit
        self.pending: deque[Attempt] = deque()
        self.active: set[Attempt] = set()
        self.closed = False
        self.workers: Threads
        self.tasks: Loop
        self._lock = threading.RLock()
        self._awake = 0
        self._active_sync = 0
        self._slow = 0
        self._bell = bell

    def add(self, attempts: list[Attempt]) -> None:
        """Queues inputs that have arrived; on the pump's thread."""
        with self._lock:
            if self.closed:
                return
            self.pending.extend(attempts)
            self._count_slow()
            self._advance()

    def drop(self, call: str, indexes: set[int]) -> list[Attempt]:
        """Removes those of these inputs that have not begun, and returns them."""
        with self._lock:
            dropped = [a for a in self.pending if a.call == call and a.index in indexes]
            if dropped:
                self.pending = deque(a for a in self.pending if a.call != call or a.index not in indexes)
            return dropped

    def give_back(self) -> list[Attempt]:
        """Removes and returns all inputs that have not begun, except generators and web requests: their consumer may
        already be sending to them."""
        with self._lock:
            back = [a for a in self.pending if a.mailbox is None]
            self.pending = deque(a for a in self.pending if a.mailbox is not None)
            return back

    def take(self) -> Attempt | None:
        """The next sync attempt for a worker; None when there is none, and then the worker calls `wait`."""
        with self._lock:
            if self.pending and self.pending[0].target.is_async:
                self._advance()
            if self.pending and len(self.active) < self.limit and not self.pending[0].target.is_async:
                attempt = self.pending.popleft()
                self.active.add(attempt)
                self._active_sync += 1
                attempt.started = time.monotonic()
                return attempt
            self._awake -= 1
            return None

    def wait(self) -> bool:
        """Blocks until there may be an input to take; False when the guest ends."""
        self._bell.wait()
        return not self.closed

    def finish(self, attempt: Attempt, elapsed_s: float) -> None:
        """Frees the slot of an attempt that has been answered."""
        with self._lock:
            attempt.target.took(elapsed_s)
            self.active.discard(attempt)
            if attempt.target.is_async:
                self._advance()
            else:
                self._active_sync -= 1

    def tick(self) -> None:
        """Wakes further workers while others are busy for long; on the pump's thread, while inputs wait."""
        with self._lock:
            if self.pending:
                self._count_slow()
                self._advance()

    @property
    def needs_tick(self) -> bool:
        """Whether inputs wait and slots are free."""
        return bool(self.pending) and len(self.active) < self.limit

    def close(self) -> None:
        """Drops the queue and ends idle workers; no input is taken after this."""
        with self._lock:
            self.closed = True
            self.pending.clear()
            for _ in range(self.workers.count + 1):
                self._bell.ring()

    def _count_slow(self) -> None:
        before = time.monotonic() - STUCK_S
        slow = [a for a in self.active if not a.target.is_async and a.started < before]
        self._slow = len(slow)
        for attempt in slow:
            attempt.target.typical_s = max(attempt.target.typical_s, STUCK_S)

    def _advance(self) -> None:
        while self.pending and len(self.active) < self.limit and self.pending[0].target.is_async:
            attempt = self.pending.popleft()
            self.active.add(attempt)
            attempt.started = time.monotonic()
            self.tasks.start(attempt)
        if self.pending and len(self.active) < self.limit:
            self._wake_workers(self.pending[0].target.typical_s > LONG_S)

    def _wake_workers(self, long: bool) -> None:
        wanted = self._active_sync + len(self.pending) if long else self._slow + 1
        for _ in range(min(self.limit, wanted) - self._awake):
            self._awake += 1
            self.workers.ensure(self._awake)
            self._bell.ring()
