"""Which input runs next, and where: slots, order, and how many threads.

Up to `limit` attempts are active. Async ones go to the loop as tasks; sync ones are taken by worker threads, of
which the main thread is the first. Handing an input to a thread costs more than a short input takes, so while
inputs are short (`Target.typical_s`) one worker drains the queue, and results share frames; where they are long
every input gets a thread of its own. A short one that turns out long is found by the pump's tick, which wakes one
more worker for what waits behind it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import Protocol

from inrush.guest.attempt import Attempt

LONG_S = 0.0003
"""Inputs that take longer run side by side."""

STUCK_S = 0.002
"""A worker that has not come back for this long is not waited for."""


class Loop(Protocol):
    """Runs async inputs."""

    def start(self, attempt: Attempt) -> None: ...


class Threads(Protocol):
    """Run sync inputs: so many of them, which each take one after the other."""

    count: int

    def ensure(self, wanted: int) -> None: ...


class Inputs:
    """The queue, and the set of active attempts. The pump adds; workers and the loop take and finish."""

    def __init__(self, limit: int) -> None:
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
        self._wake: SimpleQueue[None] = SimpleQueue()

    def add(self, attempts: list[Attempt]) -> None:
        """From the pump: inputs have arrived."""
        with self._lock:
            if self.closed:
                return
            self.pending.extend(attempts)
            self._count_slow()
            self._advance()

    def drop(self, call: str, indexes: set[int]) -> list[Attempt]:
        """Take out what waits of these inputs."""
        with self._lock:
            dropped = [a for a in self.pending if a.call == call and a.index in indexes]
            if dropped:
                self.pending = deque(a for a in self.pending if a.call != call or a.index not in indexes)
            return dropped

    def give_back(self) -> list[Attempt]:
        """Take out all that waits; not what somebody feeds already."""
        with self._lock:
            back = [a for a in self.pending if a.mailbox is None]
            self.pending = deque(a for a in self.pending if a.mailbox is not None)
            return back

    def take(self) -> Attempt | None:
        """The next sync attempt for a worker, or None: then it sleeps until `wait`."""
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
        """Sleep until there may be something to take; False when the guest ends."""
        self._wake.get()
        return not self.closed

    def finish(self, attempt: Attempt, elapsed_s: float) -> None:
        """An attempt has been answered: its slot is free."""
        with self._lock:
            attempt.target.took(elapsed_s)
            self.active.discard(attempt)
            if attempt.target.is_async:
                self._advance()
            else:
                self._active_sync -= 1

    def tick(self) -> None:
        """From the pump, while inputs wait: go past workers that do not come back."""
        with self._lock:
            if self.pending:
                self._count_slow()
                self._advance()

    @property
    def needs_tick(self) -> bool:
        """Whether something waits that more workers could take."""
        return bool(self.pending) and len(self.active) < self.limit

    def close(self) -> None:
        """Nothing more is taken; idle workers end."""
        with self._lock:
            self.closed = True
            self.pending.clear()
            for _ in range(self.workers.count + 1):
                self._wake.put(None)

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
            self._wake.put(None)
