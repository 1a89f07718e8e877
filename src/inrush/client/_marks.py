"""Decorators that only mark: what `@enter`, `@concurrent` and their like leave on a function or class.

The mark is the attribute `__inrush__`, which is read when the class or function is registered, and by the guest. Hooks
stay plain functions. Methods and endpoints become a `Method` (`_methods`), which is `Marked`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from inrush.client._checks import count
from inrush.errors import InvalidError

if TYPE_CHECKING:
    from inrush.wire import Web

F = TypeVar("F", bound=Callable[..., Any])

ATTRIBUTE = "__inrush__"

_CLUSTER_MOST = 64
_YIELDS = 0x20 | 0x200
"""Flags of a generator's code and of an async one's; `inspect` has them too, and takes 10 ms to load."""


class Mark(NamedTuple):
    """What decorators said about one function, or about one class (`max_inputs`, `target_inputs` alone)."""

    enter: bool = False
    snap: bool = False
    """An enter hook that runs before the memory snapshot."""
    exit: bool = False
    method: bool = False
    """Callable from outside; endpoints are too."""
    is_generator: bool = False
    web: Web | None = None
    max_inputs: int | None = None
    target_inputs: int | None = None
    cluster_size: int = 0


class Marked:
    """A function that decorators have wrapped. `raw` is the function as written."""

    def __init__(self, raw: Callable[..., Any]) -> None:
        self.raw = raw
        functools.update_wrapper(self, raw, updated=())
        setattr(self, ATTRIBUTE, mark_of(raw))

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self.raw(*args, **kwargs)


def mark_of(thing: object) -> Mark:
    """The marks of a function, a `Method` or a class; an empty one where there are none."""
    found = getattr(thing, ATTRIBUTE, None)
    return found if isinstance(found, Mark) else Mark()


def raw_of(thing: Any) -> Any:
    """The function as the user wrote it."""
    return thing.raw if isinstance(thing, Marked) else thing


def is_generator(function: Callable[..., Any]) -> bool:
    """Does calling it give something to iterate over?"""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & _YIELDS)


def refuse(thing: object, decorator: str) -> None:
    """Raises `InvalidError` for what the decorator would do nothing to: what was registered already (its type says by
    which decorator, as `registered_by`), a class, and what does not take self."""
    by = getattr(type(thing), "registered_by", "")
    if by:
        name = getattr(thing, "name", "it")
        raise InvalidError(f"@{decorator} stands above @{by} of {name}, where it has no effect: swap the two lines")
    if isinstance(thing, staticmethod | classmethod | property):
        kind = type(thing).__name__
        raise InvalidError(f"@{decorator} decorates a function that takes self, and this is a {kind}: remove @{kind}")
    if isinstance(thing, type) and decorator != "concurrent":
        raise InvalidError(f"@{decorator} decorates a function, not the class {thing.__name__}")


def add(thing: F, decorator: str, **changes: Any) -> F:
    """Adds to the marks of a thing. Raises `InvalidError` where a decorator cannot be put on it."""
    refuse(thing, decorator)
    if not callable(thing) and not isinstance(thing, Marked):
        raise InvalidError(f"@{decorator} decorates a function, not {thing!r}; write @{decorator}() with parentheses")
    setattr(thing, ATTRIBUTE, mark_of(thing)._replace(**changes))
    return thing


def refuse_bare(thing: object, decorator: str) -> None:
    """Raises `InvalidError` for a decorator that was written without its parentheses."""
    if thing is not None:
        raise InvalidError(f"write @{decorator}() with parentheses")


def enter(_used_bare: object = None, /, *, snap: bool = False) -> Callable[[F], F]:
    """Marks a method of a class that runs once in each container, before its first input.

    Hooks of base classes run first. With `snap=True`, and `enable_memory_snapshot=True` on the class, it runs once
    before the memory snapshot is taken, and every container starts from there: load models in it, but touch neither
    CUDA nor sockets.
    """
    refuse_bare(_used_bare, "enter")
    return lambda function: add(function, "enter", enter=True, snap=snap)


def exit(_used_bare: object = None, /) -> Callable[[F], F]:
    """Marks a method of a class that runs when its container goes, with 30 s of grace."""
    refuse_bare(_used_bare, "exit")
    return lambda function: add(function, "exit", exit=True)


class _ConcurrentDecorator:
    def __init__(self, max_inputs: int, target_inputs: int | None) -> None:
        self._max_inputs = max_inputs
        self._target_inputs = target_inputs

    def __call__(self, thing: F) -> F:
        refuse(thing, "concurrent")
        in_class = "." in getattr(raw_of(thing), "__qualname__", "").rpartition("<locals>.")[2]
        if mark_of(thing).method and in_class and not isinstance(thing, type):
            raise InvalidError("@concurrent goes on the class, not on one of its methods: they share the container")
        if isinstance(thing, type):
            setattr(thing, ATTRIBUTE, Mark(max_inputs=self._max_inputs, target_inputs=self._target_inputs))
            return thing
        return add(thing, "concurrent", max_inputs=self._max_inputs, target_inputs=self._target_inputs)


def concurrent(
    _used_bare: object = None, /, *, max_inputs: int | None = None, target_inputs: int | None = None
) -> _ConcurrentDecorator:
    """Lets one container run `max_inputs` inputs at once: plain functions in threads, async ones as tasks.

    Scaling aims at `target_inputs` (default: `max_inputs`) and bursts to `max_inputs` while more containers start. It
    goes below `@app.function` or `@app.cls`. Raises `InvalidError` unless 1 ≤ target_inputs ≤ max_inputs.
    """
    refuse_bare(_used_bare, "concurrent")
    max_inputs = count("@concurrent: max_inputs", max_inputs, least=1)
    if target_inputs is not None and not 1 <= count("@concurrent: target_inputs", target_inputs) <= max_inputs:
        raise InvalidError(
            f"@concurrent: target_inputs must be between 1 and max_inputs ({max_inputs}), not {target_inputs!r}"
        )
    return _ConcurrentDecorator(max_inputs, target_inputs)


def clustered(size: int) -> Callable[[F], F]:
    """Runs each input in `size` containers at once, all or none of them, for work that spans nodes.

    It goes below `@app.function`. Each container finds `INRUSH_CLUSTER_RANK` (0 to size - 1), `INRUSH_CLUSTER_SIZE` and
    `INRUSH_CLUSTER_ID` in its environment. The result is that of rank 0; an input that fails in any of them fails.
    Raises `InvalidError` unless size is between 2 and 64.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not 2 <= size <= _CLUSTER_MOST:
        raise InvalidError(f"@clustered needs a size between 2 and {_CLUSTER_MOST}, not {size!r}")

    def mark(thing: F) -> F:
        if isinstance(thing, type) or mark_of(thing).method:
            raise InvalidError("@clustered goes on a function, not on a class or a method")
        return add(thing, "clustered", cluster_size=size)

    return mark
