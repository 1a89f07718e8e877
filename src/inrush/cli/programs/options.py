"""A function's signature as command line options.

`def main(prompt: str = "hi", n: int = 3, fast: bool = False)` gives `--prompt TEXT --n INTEGER --fast/--no-fast`; a
parameter without a default is required. `datetime.datetime` and a `Literal` of strings are understood too.
`def main(*arglist)` takes all arguments as they are. A parameter of any other type keeps its default, and is refused if
it has none.
"""

from __future__ import annotations

import datetime
import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

import click

from inrush.errors import InvalidError

_SCALARS: tuple[type, ...] = (str, int, float, bool)


def parse(
    function: Callable[..., Any], args: Sequence[str], name: str, command: str = ""
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments for `function` from a command line; errors call it `name`, and its usage
    `inrush run` what `command` says."""
    signature = inspect.signature(function)
    if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        return tuple(args), {}
    plain = function.func if isinstance(function, functools.partial) else function
    hints = _hints(plain)
    params = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    made: list[click.Parameter] = [
        option for p in params if (option := _option(p, hints.get(p.name, p.annotation), name)) is not None
    ]
    parser = click.Command(name, params=made, help=inspect.getdoc(plain), callback=lambda **given: given)
    given = parser.main(list(args), prog_name=f"inrush run {command or name}", standalone_mode=False)
    if not isinstance(given, dict):  # --help was asked for and shown
        raise click.exceptions.Exit(0)
    return (), given


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # an annotation that does not evaluate here: the signature's own are used
        return {}


def _option(parameter: inspect.Parameter, annotation: Any, name: str) -> click.Option | None:
    required = parameter.default is parameter.empty
    kind = _kind(annotation, parameter.default)
    if kind is None:
        if required:
            raise InvalidError(
                f"{name}: parameter {parameter.name!r} is of a type that a command line cannot give ({annotation}); "
                "use str, int, float, bool, datetime or a Literal of strings, give it a default, or take *arglist"
            )
        return None
    flags = _flags(parameter.name, boolean=kind is bool)
    if required:
        return click.Option([*flags, parameter.name], type=kind, required=True)
    shown = parameter.default not in (None, "", False)
    return click.Option([*flags, parameter.name], type=kind, default=parameter.default, show_default=shown)


def _flags(name: str, boolean: bool) -> list[str]:
    dashed = name.replace("_", "-")
    spellings = dict.fromkeys((dashed, name))
    return [f"--{spelling}/--no-{spelling}" if boolean else f"--{spelling}" for spelling in spellings]


def _kind(annotation: Any, default: Any) -> type | click.ParamType[Any] | None:
    if annotation is inspect.Parameter.empty:
        if default is inspect.Parameter.empty or default is None:
            return str
        annotation = type(default)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        alternatives = [a for a in typing.get_args(annotation) if a is not type(None)]
        annotation = alternatives[0] if len(alternatives) == 1 else None
    if annotation is datetime.datetime:
        return click.DateTime()
    values = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
    if values and all(isinstance(value, str) for value in values):
        return click.Choice(values)
    return annotation if annotation in _SCALARS else None
