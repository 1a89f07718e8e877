"""Which input the running code belongs to. It follows threads' and tasks' context, so a `print` knows its call."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inrush.guest.attempt import Attempt

current: ContextVar[Attempt | None] = ContextVar("inrush_attempt", default=None)


def current_call_id() -> str | None:
    """Id of the call that the caller runs for, or None outside any."""
    attempt = current.get()
    return attempt.call if attempt else None


def current_input_id() -> str | None:
    """Id of the input that the caller runs for: its call's id and its index in it; None outside any."""
    attempt = current.get()
    return f"{attempt.call}:{attempt.index}" if attempt else None
