"""The agent's backstop for attempts that ignore their timeout.

The guest enforces timeouts; this is for guests that cannot (the interpreter is stuck in native code, stopped, or
hostile). An attempt's clock starts when it can be running: the guest takes inputs in order, `max_inputs` at once, so
the first `max_inputs` attempts without an answer are taken to run and the others to wait. All attempts of a function
have the same timeout, so those that run expire in the order in which they began, and one look at the oldest is enough.
"""

from __future__ import annotations

from collections import deque

Attempt = tuple[str, int]
"""Call and index."""

SLACK_S = 5.0
"""How long after its timeout an attempt may still be answered by the guest itself."""

CANCEL_S = 2.0 + SLACK_S
"""How long after it was cancelled an attempt may still be answered by the guest, which gives user code 2 s."""


_STALE_MAX = 256
"""Answered attempts that may stand in the order of those that wait; a guest that keeps one input and answers the others
leaves each of them there."""


class Deadlines:
    """Deadlines of one container's attempts. Times are in seconds of the caller's monotonic clock."""

    def __init__(self, timeout_s: float, max_inputs: int) -> None:
        self._limit_s = timeout_s + SLACK_S
        self._max_inputs = max_inputs
        self._running: dict[Attempt, float] = {}  # in the order of their begin
        self._order: deque[Attempt] = deque()  # sent and not begun, with some that were answered meanwhile
        self._waiting: set[Attempt] = set()  # those of `_order` without an answer
        self._cancelled: dict[Attempt, float] = {}  # running ones, and when they were cancelled

    def __len__(self) -> int:
        return len(self._running) + len(self._waiting)

    def add(self, call: str, indexes: tuple[int, ...], now: float) -> None:
        """Notes inputs that were sent to the guest."""
        running, room = self._running, self._max_inputs - len(self._running)
        for index in indexes:
            if room > 0:
                running[(call, index)] = now
                room -= 1
            else:
                self._order.append((call, index))
                self._waiting.add((call, index))

    def holds(self, call: str, index: int) -> bool:
        """Whether an input was sent and has no answer."""
        return (call, index) in self._running or (call, index) in self._waiting

    def cancel(self, call: str, indexes: tuple[int, ...], now: float) -> None:
        """Notes that inputs were cancelled. Those that do not run are dropped by the guest at once."""
        for index in indexes:
            if (call, index) in self._running:
                self._cancelled.setdefault((call, index), now)

    def remove(self, call: str, indexes: tuple[int, ...], now: float) -> list[int]:
        """Notes inputs that were answered. Returns the positions of those that had not been sent, or had their answer
        before."""
        strange = []
        for position, index in enumerate(indexes):
            attempt = (call, index)
            if self._running.pop(attempt, None) is not None:
                self._cancelled.pop(attempt, None)
                self._begin_next(now)
            elif attempt in self._waiting:
                self._waiting.remove(attempt)
            else:
                strange.append(position)
        if len(self._order) > _STALE_MAX + 2 * len(self._waiting):
            self._order = deque(attempt for attempt in self._order if attempt in self._waiting)
        return strange

    def expired(self, now: float) -> list[Attempt]:
        """Attempts that should have been answered by now."""
        return [attempt for attempt, began in self._running.items() if began + self._limit_s <= now]

    def clinging(self, now: float) -> list[Attempt]:
        """Cancelled attempts that should have been answered by now."""
        return [attempt for attempt, cancelled in self._cancelled.items() if cancelled + CANCEL_S <= now]

    def attempts(self) -> list[Attempt]:
        """All attempts without an answer, the running ones first."""
        return [*self._running, *(attempt for attempt in self._order if attempt in self._waiting)]

    def _begin_next(self, now: float) -> None:
        while self._order:
            attempt = self._order.popleft()
            if attempt in self._waiting:
                self._waiting.remove(attempt)
                self._running[attempt] = now
                return
