"""Shares of the server's memory: how much of one thing it holds for the containers of each app, or for the tokens of
each environment.

All together have a limit, and one may use half of it, so a hostile one is refused while there is room for the others.
"""

from __future__ import annotations

from collections import Counter

from inrush.errors import ResourceExhaustedError

SHARE_OF_ONE_APP = 2
"""One app, or one environment, may take one part in so many of what all have together."""


class Shares:
    """The shares of one thing; `what` names it, with its unit, and `whose` those who have it, in refusals."""

    def __init__(self, limit: int, what: str, whose: str = "containers of this app") -> None:
        self._limit, self._what, self._whose = limit, what, whose
        self._total = 0
        self._held: Counter[str] = Counter()

    def check(self, app: str) -> None:
        """Raises `ResourceExhaustedError` if the app has its full share."""
        if self._total > self._limit or self._held[app] > self._limit // SHARE_OF_ONE_APP:
            raise self._refusal(app)

    def take(self, app: str, size: int) -> None:
        """Adds to an app's use. Raises `ResourceExhaustedError`, and adds nothing, if that exceeds its share."""
        if self._total + size > self._limit or self._held[app] + size > self._limit // SHARE_OF_ONE_APP:
            raise self._refusal(app)
        self.add(app, size)

    def add(self, app: str, size: int) -> None:
        """Adds to an app's use without a check, for what exists already."""
        self._total += size
        self._held[app] += size

    def give(self, app: str, size: int) -> None:
        """Subtracts from an app's use what is freed."""
        self._total -= size
        self._held[app] -= size
        if self._held[app] <= 0:
            del self._held[app]

    def _refusal(self, app: str) -> ResourceExhaustedError:
        return ResourceExhaustedError(
            f"{self._whose} have {self._held[app]:,} {self._what} on the server, and may have "
            f"{self._limit // SHARE_OF_ONE_APP:,}; wait for answers before asking for more"
        )
