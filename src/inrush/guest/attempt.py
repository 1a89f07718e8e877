"""An attempt (one try of one input) as the guest sees it, and the attempt that the running code belongs to."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from inrush.guest.interrupt import Interrupter
from inrush.guest.results import Payload
from inrush.guest.target import Target


class Attempt:
    """State of one attempt. `started` is 0.0 until it runs. `forced` is the status that the pump has decided on (a
    cancellation, a timeout) while user code still runs. Sync code is interrupted through `interrupter`, async code
    through `task`."""

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
        """Takes the grants of a generator (a `Credit`), or the grants and body pieces of a web request (a
        `Request`)."""


Answer = Callable[[Attempt, int, Payload, float], None]
"""Called when an attempt has ended, with its status, its payload, and the seconds that it ran."""


current: ContextVar[Attempt | None] = ContextVar("inrush_attempt", default=None)


def current_call_id() -> str | None:
    """The id of the call that the calling code runs for; None outside any."""
    attempt = current.get()
    return attempt.call if attempt else None


def current_input_id() -> str | None:
    """The id of the input that the calling code runs for, `CALL:INDEX`; None outside any."""
    attempt = current.get()
    return f"{attempt.call}:{attempt.index}" if attempt else None
