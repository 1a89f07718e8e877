"""A target of inputs: a function, a method of the user's object, or a web app."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inrush.guest.site import Site

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine to its end, and returns what it returns."""

_ASYNC = 0x80 | 0x200
"""CO_COROUTINE and CO_ASYNC_GENERATOR of `inspect`; importing that takes a tenth of an executed guest's start."""


class Target:
    """A callable, and how to call it. `typical_s` is its measured time, 0.0 until known: short inputs run one after the
    other, long ones in parallel."""

    __slots__ = ("is_async", "name", "run", "site", "typical_s")

    def __init__(self, name: str, run: Callable[..., Any], site: Site | None = None) -> None:
        plain = _innermost(run)
        self.name = name
        self.run = run
        self.site = site
        self.is_async = site is not None or _is_async(plain)
        self.typical_s = 0.0

    def took(self, elapsed_s: float) -> None:
        """Updates `typical_s` by one run. A run counts as 10 ms at most, so that a slow first run is soon forgotten."""
        self.typical_s += (min(elapsed_s, 0.01) - self.typical_s) * 0.125


def _innermost(run: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(run, functools.partial):
        run = run.func
    return getattr(run, "__func__", run)


def _is_async(plain: Callable[..., Any]) -> bool:
    code = getattr(plain, "__code__", None)
    marked = hasattr(plain, "_is_coroutine_mark")  # by `inspect.markcoroutinefunction`
    return marked or bool(code is not None and code.co_flags & _ASYNC)


async def awaited(value: Any) -> Any:
    """The value of anything that can be awaited, as a coroutine."""
    return await value
