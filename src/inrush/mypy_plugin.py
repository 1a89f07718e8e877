"""A plugin for mypy, so that `Model(size=3)` is checked by the parameters that the class declares.

mypy resolves no decorator that is a method of an object, as `@app.cls()` is, so it does not see that this one makes an
`__init__` of the fields of a class. The plugin gives such classes a base that says the same. pyright needs no plugin.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.nodes import CallExpr, Expression, MemberExpr, TypeInfo
from mypy.plugin import ClassDefContext, Plugin

_BASE = "inrush.client._parameter.Parameterized"


class InrushPlugin(Plugin):
    """Adds the base to the classes of apps."""

    def get_customize_class_mro_hook(self, fullname: str) -> Callable[[ClassDefContext], None]:
        """mypy calls this for each class."""
        return _add_base


def _add_base(context: ClassDefContext) -> None:
    if any(map(_registers, context.cls.decorators)):
        found = context.api.lookup_fully_qualified_or_none(_BASE)
        mro = context.cls.info.mro
        if found is not None and isinstance(found.node, TypeInfo) and found.node not in mro:
            mro.insert(-1, found.node)


def _registers(decorator: Expression) -> bool:
    """Whether a decorator is written like `app.cls(…)`."""
    return (
        isinstance(decorator, CallExpr) and isinstance(decorator.callee, MemberExpr) and decorator.callee.name == "cls"
    )


def plugin(version: str) -> type[Plugin]:
    """The entry point for mypy."""
    return InrushPlugin
