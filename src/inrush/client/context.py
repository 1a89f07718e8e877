"""Where this code runs, and for which call."""

from __future__ import annotations

import os
from collections.abc import Callable


def _nothing() -> None:
    return None


_call: Callable[[], str | None] = _nothing
_input: Callable[[], str | None] = _nothing


def provide(call: Callable[[], str | None], input: Callable[[], str | None]) -> None:
    """In a container the guest says which call and which input the calling thread or task runs for."""
    global _call, _input
    _call, _input = call, input


def is_local() -> bool:
    """False inside a container, True everywhere else."""
    return not os.environ.get("INRUSH_IS_REMOTE")


def current_input_id() -> str | None:
    """The id of the input that this code runs for; None outside of a call."""
    return _input()


def current_function_call_id() -> str | None:
    """The id of the call that this code runs for; None outside of one. The same for all inputs of a `.map`."""
    return _call()
