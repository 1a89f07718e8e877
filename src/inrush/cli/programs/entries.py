"""What a command runs of an app: a local entrypoint, a function, or a method of a class.

It is named (`FILE::name`, `FILE::Class.method`), or the only local entrypoint, or the only function where there is no
entrypoint.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from inrush.cli.programs import options
from inrush.cli.screen import screen
from inrush.client._marks import raw_of

if TYPE_CHECKING:
    from inrush import App


class Entry(NamedTuple):
    """Something to run. The command line is read by the signature of `code`, and `call` runs it with what was read.
    `remote` means that it runs in a container, and that its result is worth showing."""

    name: str
    code: Callable[..., Any]
    call: Callable[..., Any]
    remote: bool

    def arguments(self, args: Sequence[str], command: str = "") -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments from the command line. `command` is what stood before them, for error messages."""
        return options.parse(self.code, args, self.name, command)


def choose(app: App, wanted: str, target: str) -> Entry:
    """The entry called `wanted`, or the only one if there is no name. A usage error lists the choices."""
    entries = all_of(app)
    if wanted:
        if wanted in entries:
            return entries[wanted]
        raise click.UsageError(f"{target} has no {wanted!r}; it has {_listed(target, entries)}")
    local = [entry for entry in entries.values() if not entry.remote]
    candidates = local or list(entries.values())
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise click.UsageError(f"app {app.name!r} of {target} has neither a local entrypoint nor a function")
    raise click.UsageError(f"name the one to run: {_listed(target, [entry.name for entry in candidates])}")


def all_of(app: App) -> dict[str, Entry]:
    """Everything of an app that can be run, by name."""
    found = {name: _local(name, entry.raw) for name, entry in app.registered_entrypoints.items()}
    for name, function in app.registered_functions.items():
        assert function.raw is not None
        found[name] = Entry(name, function.raw, _remotely(function), remote=True)
    for class_name, cls in app.registered_classes.items():
        for method in cls.methods:
            name = f"{class_name}.{method}"
            found[name] = Entry(name, _code(cls, method), _method(cls, method), remote=True)
    return found


def _local(name: str, code: Callable[..., Any]) -> Entry:
    if not inspect.iscoroutinefunction(code):
        return Entry(name, code, code, remote=False)
    return Entry(name, code, lambda *args, **kwargs: asyncio.run(code(*args, **kwargs)), remote=False)


def _remotely(function: Any) -> Callable[..., Any]:
    """`.remote` of a function; items of a generator are shown as they come."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if not function.mark.is_generator:
            return function.remote(*args, **kwargs)
        for item in function.remote_gen(*args, **kwargs):
            screen.say(item)
        return None

    return call


def _code(cls: Any, method: str) -> Callable[..., Any]:
    """A function with the signature of the method, followed by the parameters of its class."""
    plain = raw_of(getattr(cls.raw, method))
    own = inspect.signature(functools.partial(plain, None))
    hints = typing.get_type_hints(cls.raw.__init__) | typing.get_type_hints(cls.raw)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints.get(name, str))
        for name, default in cls.settable.items()
        if name not in own.parameters
    ]
    last = [p for p in own.parameters.values() if p.kind is p.VAR_KEYWORD]
    first = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]

    @functools.wraps(plain)
    def code() -> None: ...

    code.__dict__["__signature__"] = own.replace(parameters=[*first, *more, *last])
    return code


def _method(cls: Any, method: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        own = inspect.signature(raw_of(getattr(cls.raw, method))).parameters
        instance = cls(**{name: kwargs.pop(name) for name in cls.settable if name in kwargs and name not in own})
        return _remotely(getattr(instance, method))(*args, **kwargs)

    return call


def _listed(target: str, names: Sequence[str] | dict[str, Entry]) -> str:
    return ", ".join(f"{target}::{name}" for name in names)
