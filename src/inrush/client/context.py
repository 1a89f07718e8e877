"""Whether code runs in a container, and for which call and input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any


def _nothing() -> None:
    return None


_call: Callable[[], str | None] = _nothing
_input: Callable[[], str | None] = _nothing


def provide(call: Callable[[], str | None], input: Callable[[], str | None]) -> None:
    """Called by the guest in a container: takes functions that tell which call and input the calling thread or task
    runs for. From then on `breakpoint()` stops at the terminal of the person who runs the app."""
    global _call, _input
    _call, _input = call, input
    sys.breakpointhook = _stop


def _stop(*args: Any, **kwargs: Any) -> Any:
    from inrush.client._interact import stop

    return stop(sys._getframe(1), *args, **kwargs)


def is_local() -> bool:
    """False in a container, True everywhere else."""
    return not os.environ.get("INRUSH_IS_REMOTE")


def current_input_id() -> str | None:
    """The id of the input that the calling code runs for; None outside of a call."""
    return _input()


def current_function_call_id() -> str | None:
    """The id of the call that the calling code runs for, the same for all inputs of a map; None outside of a call."""
    return _call()
