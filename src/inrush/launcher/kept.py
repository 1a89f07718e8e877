"""Bounds the memory of all orders that the launcher keeps.

The launcher keeps an order for as long as what it ordered runs: its layers, binds and variables. One order is at most
`messages.LIMIT_BYTES` long, but twenty thousand of them, from an agent that an attacker has taken over, would be more
than the machine has. So each order is weighed when it arrives, by the memory that its decoded JSON can take at most,
and refused if all that are kept would weigh more than the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

MAX_KEPT_BYTES = 1 << 30
"""The most memory of all orders that one launcher keeps; a sixteenth of the machine's memory if that is less."""

_CHARACTER, _VALUE = 4, 128
"""The most bytes that a character takes in a decoded text, and that a value takes beside its text."""


class Full(Exception):
    """The orders that are kept already weigh as much as they may."""


class Kept:
    """The weight of all orders that are kept."""

    def __init__(self, memory_mib: int) -> None:
        self._most = min(MAX_KEPT_BYTES, (memory_mib << 20) // 16)
        self.weight = 0

    def take(self, weight: int) -> Callable[[], None]:
        """Counts an order, and returns a function that ends that; to call it again has no effect. Raises `Full`."""
        if self.weight + weight > self._most:
            raise Full(f"the orders of what runs on this node take {self._most >> 20} MiB of the launcher already")
        self.weight += weight
        left = [weight]

        def give() -> None:
            if left:
                self.weight -= left.pop()

        return give


def of_message(data: bytes) -> int:
    """The memory that the JSON of a message can take at most when it is decoded."""
    return _CHARACTER * len(data) + _VALUE * sum(map(data.count, (b",", b":", b"[", b"{")))


def of_texts(texts: Iterable[str]) -> int:
    """The memory that these texts can take at most."""
    return sum(_CHARACTER * len(text) + _VALUE for text in texts)
