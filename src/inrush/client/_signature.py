"""Signatures as `inspect.signature`, `help` and editors show them: those of the user's functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    import inspect

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class Shown:
    """The `__signature__` of the objects of a class; the class itself has none of its own."""

    def __init__(self, find: Callable[[Any], inspect.Signature]) -> None:
        self._find = find

    def __get__(self, instance: Any, owner: type | None = None) -> inspect.Signature:
        if instance is None:
            raise AttributeError("__signature__")
        return self._find(instance)


def of_function(takes: Callable[..., Any] | None) -> inspect.Signature:
    """The signature of a user's function. Raises `AttributeError`, as an attribute that is not there, for one whose
    code is not here."""
    import inspect

    if takes is None:
        raise AttributeError("__signature__")
    return inspect.signature(takes)


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


class Passing(Generic[P, R]):
    """A bound method that passes all its arguments on."""

    __signature__ = Shown(lambda method: of_bound(method._function))

    def __init__(self, function: Callable[P, R], method: Callable[..., Any]) -> None:
        self._function = function
        self.__name__, self.__doc__ = method.__name__, method.__doc__

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)


class passing(Generic[S, P, R]):
    """Decorates a method that passes all its arguments on to the function that `takes` of its object names."""

    def __init__(self, function: Callable[Concatenate[S, P], R]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: S, owner: type[S] | None = None) -> Passing[P, R]:
        if instance is None:
            return self  # type: ignore[return-value]
        return Passing(functools.partial(self._function, instance), self._function)
