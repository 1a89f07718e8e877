"""Parameters of classes: `model: str = inrush.parameter()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

NOTHING: Any = object()
"""Where there is no default."""


class Parameter:
    """What `parameter()` leaves in the class: the default until an instance has its value."""

    def __init__(self, default: Any, init: bool) -> None:
        self.default = default
        self.init = init

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None or self.default is NOTHING:
            return self
        return self.default


def parameter(*, default: Any = NOTHING, init: bool = True) -> Any:
    """A parameter of an `@app.cls` class: `model: str = inrush.parameter(default="small")`, then
    `Server(model="large")`.

    The annotation is str, int, bool or bytes; all values together take up to 16 KiB. Without a `default` it must be
    given. Each set of values has containers of its own. With `init=False` it is an attribute with a default that cannot
    be given.
    """
    return Parameter(default, init)


if TYPE_CHECKING:
    from typing import dataclass_transform

    @dataclass_transform(field_specifiers=(parameter,), kw_only_default=True)
    class Parameterized:
        """What `inrush.mypy_plugin` has mypy see as a base of every class of an app."""


def parameters_of(raw: type) -> dict[str, Parameter]:
    """The parameters of a class, base classes first."""
    found: dict[str, Parameter] = {}
    for base in reversed(raw.__mro__):
        found.update((name, value) for name, value in vars(base).items() if isinstance(value, Parameter))
    return found
