"""Signatures as `inspect.signature`, `help` and editors show them: those of the user's functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import inspect


class Shown:
    """The `__signature__` of the objects of a class; the class itself has none of its own."""

    def __init__(self, find: Callable[[Any], inspect.Signature]) -> None:
        self._find = find

    def __get__(self, instance: Any, owner: type | None = None) -> inspect.Signature:
        if instance is None:
            raise AttributeError("__signature__")
        return self._find(instance)


def of_bound(method: Callable[..., Any]) -> inspect.Signature:
    """The signature of a bound method; of one that passes all its arguments on (`f.remote`), that of the function that
    gets them, if its code is here."""
    import inspect

    own = inspect.signature(method)
    kinds = [parameter.kind for parameter in own.parameters.values()]
    if kinds == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD] and isinstance(
        method, functools.partial
    ):
        taken = getattr(method.args[0], "takes", None)
        return own if taken is None else inspect.signature(taken)
    return own
