"""Bounds over all guests of a node together: what has arrived of unfinished frames, what guests leave unread, and the
descriptors that are held for them.

One guest is bounded by itself (`guests`); many hostile ones could still fill the memory that server and agent share. So
what is over a small free amount is counted here. When all of it is too much, the app that holds most pays: of its
guests the one that has held longest loses its container. Honest frames are finished within milliseconds, so they are
never the oldest. Descriptors are refused instead, once one app has half of them.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Protocol

from inrush.linux import descriptors

PARTIAL_FREE_BYTES = 64 * 1024
MAX_PARTIAL_BYTES = 256 * 1024 * 1024
"""Unfinished frames of all guests."""
UNREAD_FREE_BYTES = 1024 * 1024
MAX_UNREAD_TOTAL_BYTES = 1024 * 1024 * 1024
"""What all guests leave unread."""
SHARE_OF_DESCRIPTORS = 4
"""Of the descriptors that this process may open, one part in so many may be held for guests."""


class Sender(Protocol):
    """A guest, as this counts it."""

    app: str

    def unread_bytes(self) -> int: ...
    def overran(self, why: str) -> None:
        """Its container must go."""


class Ledger:
    """Bytes by guest, in the order in which each began to hold some."""

    def __init__(self, limit_bytes: int, free_bytes: int, what: str) -> None:
        self._limit, self._free, self._what = limit_bytes, free_bytes, what
        self._held: dict[Sender, tuple[int, float]] = {}
        self.total = 0

    def note(self, sender: Sender, held_bytes: int) -> None:
        """It holds so much now."""
        before, since = self._held.pop(sender, (0, 0.0))
        self.total -= before
        if held_bytes > self._free:
            self._held[sender] = held_bytes, since or time.monotonic()
            self.total += held_bytes

    def over(self) -> Sender | None:
        """Who has to go first; None while all is within the limit."""
        if self.total <= self._limit:
            return None
        by_app: Counter[str] = Counter()
        for sender, (held, _) in self._held.items():
            by_app[sender.app] += held
        app = max(by_app, key=lambda name: by_app[name])
        return min((s for s in self._held if s.app == app), key=lambda s: self._held[s][1])

    def senders(self) -> list[Sender]:
        return list(self._held)

    def why(self) -> str:
        return f"all containers together {self._what} over {self._limit >> 20} MiB, and those of its app the most"


class Intake:
    """Of one node."""

    def __init__(self) -> None:
        self.partial = Ledger(MAX_PARTIAL_BYTES, PARTIAL_FREE_BYTES, "have unfinished frames of")
        self.unread = Ledger(MAX_UNREAD_TOTAL_BYTES, UNREAD_FREE_BYTES, "leave unread")
        self._descriptors: Counter[str] = Counter()
        self._max_descriptors = descriptors.limit() // SHARE_OF_DESCRIPTORS

    def arriving(self, sender: Sender, held_bytes: int) -> None:
        """So much of an unfinished frame has arrived from it."""
        self.partial.note(sender, held_bytes)
        while (worst := self.partial.over()) is not None:
            self.partial.note(worst, 0)
            worst.overran(self.partial.why())

    def waiting(self, sender: Sender, held_bytes: int) -> None:
        """So much waits for it to read."""
        self.unread.note(sender, held_bytes)
        if self.unread.over() is None:
            return
        for other in self.unread.senders():
            self.unread.note(other, other.unread_bytes())  # they may have read meanwhile
        while (worst := self.unread.over()) is not None:
            self.unread.note(worst, 0)
            worst.overran(self.unread.why())

    def take_descriptor(self, app: str) -> bool:
        """Whether one more may be held for guests of this app; then it is counted until `give_descriptor`."""
        if self._descriptors.total() >= self._max_descriptors or self._descriptors[app] >= self._max_descriptors // 2:
            return False
        self._descriptors[app] += 1
        return True

    def give_descriptor(self, app: str) -> None:
        """One of them is closed, or somebody else's now."""
        self._descriptors[app] -= 1
        if self._descriptors[app] <= 0:
            del self._descriptors[app]

    def gone(self, sender: Sender) -> None:
        """It holds nothing any more."""
        self.partial.note(sender, 0)
        self.unread.note(sender, 0)
