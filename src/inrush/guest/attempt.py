"""One try of one input, as the guest sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inrush.guest.interrupt import Interrupter
from inrush.guest.results import Payload
from inrush.guest.target import Target


class Attempt:
    """State of one attempt. `started` is 0.0 until it runs. `forced` is the status that the pump has decided on (a
    cancellation, a timeout) before user code has let go. Sync code is interrupted through `interrupter`, async
    code through `task`."""

    __slots__ = (
        "answered",
        "call",
        "forced",
        "index",
        "interrupter",
        "kind",
        "mailbox",
        "payload",
        "started",
        "target",
        "task",
    )

    def __init__(self, call: str, index: int, kind: str, target: Target, payload: bytes | memoryview) -> None:
        self.call = call
        self.index = index
        self.kind = kind
        self.target = target
        self.payload = payload
        self.started = 0.0
        self.forced = 0
        self.answered = False
        self.interrupter: Interrupter | None = None
        self.task: Any = None
        self.mailbox: Any = None
        """Where grants (of a generator) and pieces of the body (of a web request) go: a `Credit` or a `Feed`."""


Answer = Callable[[Attempt, int, Payload, float], None]
"""Told how an attempt ended: its status, its payload, and how many seconds it ran."""
