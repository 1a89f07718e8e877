"""Which classes may be written as plain data and read back by name: their fields, what stands in for a missing field,
and what a field may hold.

A name that is not in this list is refused when it is read. So a file can describe a state, but cannot name code to
call.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import msgspec

_BUILTINS: dict[str, tuple[type, ...]] = {
    "int": (int, float),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
    "None": (type(None),),
    "tuple": (tuple,),
    "frozenset": (frozenset,),
    "dict": (dict,),
    "list": (list,),
    "deque": (deque,),
    "set": (set,),
}
_SUBSCRIPT = re.compile(r"\[.*\]")


@dataclass(frozen=True, slots=True)
class Shape:
    """A class: a dataclass, a NamedTuple, or a struct of the schema (which knows its fields itself)."""

    of: type
    fields: tuple[str, ...] = ()
    """Fields that are written, in order."""
    defaults: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """What stands in for a field that is missing or is never written."""
    types: Mapping[str, tuple[type, ...]] = field(default_factory=dict)
    """What a field may hold, where its annotation says so plainly."""


def shapes(classes: Iterable[type], unwritten: Mapping[type, Mapping[str, Callable[[], Any]]]) -> dict[str, Shape]:
    """The shapes of classes by name. A field that is `unwritten` is filled by the given function, and the reader
    corrects it."""
    classes = tuple(classes)
    names = _BUILTINS | {cls.__name__: (cls,) for cls in classes}
    return {cls.__name__: _shape(cls, unwritten.get(cls, {}), names) for cls in classes}


def _shape(cls: Any, unwritten: Mapping[str, Callable[[], Any]], names: Mapping[str, tuple[type, ...]]) -> Shape:
    if issubclass(cls, msgspec.Struct):
        return Shape(cls)
    if issubclass(cls, tuple):
        return Shape(cls, cls._fields, {name: _same(value) for name, value in cls._field_defaults.items()})
    every = fields(cls)
    made = {f.name: f.default_factory for f in every if f.default_factory is not MISSING}
    same = {f.name: _same(f.default) for f in every if f.default is not MISSING}
    written = tuple(f.name for f in every if f.name not in unwritten)
    return Shape(cls, written, {**same, **made, **unwritten}, {f.name: _types(str(f.type), names) for f in every})


def _same(value: Any) -> Callable[[], Any]:
    return lambda: value


def _types(annotation: str, names: Mapping[str, tuple[type, ...]]) -> tuple[type, ...]:
    """The types that an annotation such as `float`, `dict[str, Call]` or `Trend | None` allows; `object` for a name
    that is not known."""
    parts = _SUBSCRIPT.sub("", annotation).split(" | ")
    return tuple(of for part in parts for of in names.get(part, (object,)))
