"""A request in flight: what was asked, and who waits for the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inrush import wire
from inrush.client._dual import Waiter


class Ask:
    """A request in flight. `callback` takes what arrives before the answer, or instead of one for a follow."""

    __slots__ = ("answer", "body", "callback")

    def __init__(self, body: Any, callback: Callable[[Any], None] | None) -> None:
        self.body = body
        self.callback = callback
        self.answer: Waiter[Any] = Waiter()

    @property
    def repeatable(self) -> bool:
        """Whether the request may be sent twice when nobody knows whether the first one arrived."""
        return not (isinstance(self.body, wire.DictOp) and (self.body.op == "pop" or self.body.if_absent))
