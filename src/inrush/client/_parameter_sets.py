"""The values of one instance of a class: how they are given, how they travel, and how they reach the user's object.

Classes declare `inrush.parameter()`s. Formerly they had an `__init__` with arguments, which still works, with a
warning: arguments of plain types go as they are, all others pickled.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from inrush.errors import ArgumentsError, InvalidError

if TYPE_CHECKING:
    import inspect

PARAMETERS_LIMIT_BYTES = 16 * 1024
TYPES = (str, int, bool, bytes)
"""The types of parameters that classes declare."""
_GIVEN = "__inrush_given__"
"""The attribute in which an object keeps what its `__init__` was given, so that it finds its own variant."""


def encode(values: Mapping[str, Any]) -> bytes:
    """The canonical JSON object of a set of parameters. Raises `InvalidError` over 16 KiB, and what pickling raises."""
    import json

    plain = {name: _plain(value) for name, value in values.items()}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    if len(text) > PARAMETERS_LIMIT_BYTES:
        raise InvalidError(
            f"the parameters take {len(text)} bytes, and the limit is {PARAMETERS_LIMIT_BYTES}; "
            "pass large values to the method"
        )
    return text


def _plain(value: Any) -> Any:
    import base64

    if value is None or type(value) in (str, int, bool) or (type(value) is float and math.isfinite(value)):
        return value
    if type(value) is bytes:
        return {"b64": base64.b64encode(value).decode()}
    from inrush.client import _payload

    return {"pickle": base64.b64encode(_payload.dump(value)[1:]).decode()}


def arguments_of(raw: type) -> Mapping[str, inspect.Parameter]:
    """The arguments of a class's own `__init__`. Raises `InvalidError` for such as cannot be given by name."""
    import inspect

    init = raw.__init__  # type: ignore[misc]
    if init is object.__init__:
        return {}
    arguments = list(inspect.signature(init).parameters.values())[1:]
    for argument in arguments:
        if argument.kind is argument.POSITIONAL_ONLY:
            raise InvalidError(
                f"{raw.__name__}.__init__ takes {argument.name!r} by position only: declare it as "
                f"`{argument.name}: str = inrush.parameter()` in the class"
            )
    return {a.name: a for a in arguments if a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD)}


def bind(
    name: str, arguments: Mapping[str, inspect.Parameter], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of class `name` by their names. Warns, and raises `ArgumentsError`, a `TypeError`."""
    import inspect

    signature = inspect.Signature(list(arguments.values()))
    try:
        values = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise ArgumentsError(f"{name}{signature} was called with arguments that it does not take: {error}") from None
    if values:
        first = next(iter(values))
        kind = type(values[first]) if type(values[first]) in TYPES else str
        warnings.warn(
            f"{name}.__init__ takes arguments, which is deprecated: declare `{first}: {kind.__name__} = "
            "inrush.parameter()` in the class, and set things up in an @inrush.enter() method",
            FutureWarning,
            stacklevel=3,
        )
        encode(values)
    return values


def instantiate(raw: type, values: Mapping[str, Any]) -> Any:
    """An object of the user's class with its parameters set. No hook has run yet."""
    taken = arguments_of(raw) if values else {}
    given = {name: value for name, value in values.items() if name in taken}
    made = raw(**given)
    for name in values.keys() - given.keys():
        setattr(made, name, values[name])
    if given:
        setattr(made, _GIVEN, given)
    return made


def given_to(instance: object) -> dict[str, Any]:
    """What the `__init__` of an object was given."""
    return dict(getattr(instance, _GIVEN, {}))
