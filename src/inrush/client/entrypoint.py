"""Local entrypoints: the functions of a program that `inrush run` calls on this machine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from inrush.client._marks import refuse
from inrush.errors import InvalidError

if TYPE_CHECKING:
    from inrush.client._types import Declared

P = ParamSpec("P")
R = TypeVar("R")


class LocalEntrypoint(Generic[P, R]):
    """Made by `@app.local_entrypoint()`; calling it calls the function. `raw` is the function, and `app` is what must
    run meanwhile."""

    registered_by = "app.local_entrypoint()"

    def __init__(self, raw: Callable[P, R], app: Declared, name: str | None = None) -> None:
        refuse(raw, "app.local_entrypoint()")
        if not callable(raw) or not hasattr(raw, "__name__"):
            raise InvalidError(f"@app.local_entrypoint decorates a function, not {raw!r}")
        self.raw = raw
        self.app = app
        self.name = name or raw.__name__
        functools.update_wrapper(self, raw)

    def __repr__(self) -> str:
        return f"LocalEntrypoint({self.name!r})"

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.raw(*args, **kwargs)
