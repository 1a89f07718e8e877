"""Room in the server's memory that apps share: how much of one thing the containers of each app have it hold.

All of them together have a limit, and one app may have half of it. So a hostile app is refused while there is room for
the others.
"""

from __future__ import annotations

from collections import Counter

from inrush.errors import ResourceExhaustedError

SHARE_OF_ONE_APP = 2


class Shares:
    """Of one thing; `what` names it in what is said to those who are refused."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit, self._what = limit, what
        self._total = 0
        self._held: Counter[str] = Counter()

    def check(self, app: str) -> None:
        """Raises `ResourceExhaustedError` when the app has all that it may have."""
        if self._total > self._limit or self._held[app] > self._limit // SHARE_OF_ONE_APP:
            raise self._refusal(app)

    def take(self, app: str, size: int) -> None:
        """Counts so much as the app's. Raises `ResourceExhaustedError`, and counts nothing, where that is too much."""
        if self._total + size > self._limit or self._held[app] + size > self._limit // SHARE_OF_ONE_APP:
            raise self._refusal(app)
        self.add(app, size)

    def add(self, app: str, size: int) -> None:
        """The same for what is there already."""
        self._total += size
        self._held[app] += size

    def give(self, app: str, size: int) -> None:
        """So much of it is not held any more."""
        self._total -= size
        self._held[app] -= size
        if self._held[app] <= 0:
            del self._held[app]

    def _refusal(self, app: str) -> ResourceExhaustedError:
        return ResourceExhaustedError(
            f"containers of this app have the server hold {self._held[app]:,} of {self._limit // SHARE_OF_ONE_APP:,} "
            f"bytes that they may, of {self._what}; take answers before asking for more"
        )
