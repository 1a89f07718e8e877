"""Whether a function takes the arguments of a call, which is found out before anything is sent or started."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inrush.errors import ArgumentsError

_ANY = 0x04 | 0x08
"""Flags of code that takes `*args` or `**kwargs`."""


def check(name: str, raw: Callable[..., Any] | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises `ArgumentsError`, a `TypeError` such as the call itself would raise. `raw` is None for a function whose
    code is not here."""
    bound = 0
    while isinstance(raw, functools.partial) and not raw.keywords:
        bound, raw = bound + len(raw.args), raw.func
    code = getattr(raw, "__code__", None)
    if code is None or raw is None:
        return
    given = bound + len(args)
    most = code.co_argcount
    least = most - len(getattr(raw, "__defaults__", None) or ())
    if not (kwargs or code.co_kwonlyargcount or code.co_flags & _ANY) and least <= given <= most:
        return
    _bind(name, raw, (*(None,) * bound, *args), kwargs)


def _bind(name: str, raw: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    import inspect

    signature = inspect.signature(raw, follow_wrapped=False)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ArgumentsError(f"{name}{signature} was called with arguments that it does not take: {error}") from None
