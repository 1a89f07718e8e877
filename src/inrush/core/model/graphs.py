"""Objects that refer to one another, as plain data and back: what was shared is shared again, circles are closed again,
and dicts keep their order.

    {"fields": {"Call": ["id", "function", …], …},
     "objects": [["dict", "state", [1], …], ["Call", "ca-1", "fn-1", …], ["deque", 8, ["Decision", 3, 1, "…"]], …]}

What can change (dataclasses, dicts, lists, deques, sets), and specs, which many share, is an entry of `objects`, the
root first, and `[n]` wherever something refers to it. What cannot change (tuples, named tuples, ranges, frozensets)
stands where it is used: `["Amount", 125, 64, 0]`. So do empty dicts, lists and sets, `["dict"]`, for they are many;
none of them is shared any more afterwards. Numbers, texts, booleans and None are themselves. Anything else is refused:
there are no bytes, so that no payload slips in.

Fields are told by name, so that another version of the code can read them: one that it does not know is dropped, with
all that only this one refers to; one that is missing gets its default. Nothing is imported or called by what is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec

from inrush.core.model.shapes import Shape
from inrush.errors import InternalError, InvalidError

Plain = dict[str, Any]
Shapes = Mapping[str, Shape]

_SCALARS = frozenset({type(None), bool, int, float, str})
_MAKES: dict[str, Callable[[], Any]] = {"dict": dict, "list": list, "set": set}
_EMPTY: dict[type, list[str]] = {dict: ["dict"], list: ["list"], set: ["set"]}
_COLLECTIONS = frozenset({dict, list, deque, set})


def written(root: object, shapes: Shapes, values_max: int) -> Plain | None:
    """Everything that can be reached from `root` as plain data; None when it is more than `values_max` values, which
    costs no more than looking at so many. Raises `InternalError` for an object of a class that has no shape."""
    return _Writer(shapes, values_max).write(root)


def read(plain: Plain, shapes: Shapes) -> Any:
    """The root and everything that it refers to. Raises `InvalidError` for data that is not of this form."""
    try:
        return _Reader(plain, shapes).read()
    except (TypeError, KeyError, IndexError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidError(f"it is malformed ({type(error).__name__}: {error})") from None


class _Writer:
    """Looks at each object once. `_found` grows while it is being gone through."""

    def __init__(self, shapes: Shapes, values_max: int) -> None:
        self._left = values_max
        self._found: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._inline: dict[type, Callable[[Any], list[Any]]] = {
            tuple: lambda value: ["tuple", *map(self._value, value)],
            range: lambda value: ["range", value.start, value.stop],
            frozenset: lambda value: ["frozenset", *map(self._value, sorted(value))],
        }
        self._writers: dict[type, Callable[[Any], list[Any]]] = {
            dict: lambda thing: ["dict", *self._values(chain.from_iterable(thing.items()))],
            list: lambda thing: ["list", *self._values(thing)],
            set: lambda thing: ["set", *self._values(sorted(thing))],
            deque: lambda thing: ["deque", thing.maxlen, *self._values(thing)],
        }
        self._fields = {name: list(shape.fields) for name, shape in shapes.items() if shape.fields}
        for name, shape in shapes.items():
            if issubclass(shape.of, tuple):
                self._inline[shape.of] = partial(self._named, name)
            elif shape.fields:
                self._writers[shape.of] = partial(self._object, name, attrgetter(*shape.fields))
            else:
                self._writers[shape.of] = partial(self._spec, name)

    def write(self, root: object) -> Plain | None:
        self._value(root)
        objects, writers = [], self._writers
        for thing in self._found:
            kind = type(thing)
            if kind not in writers:
                raise InternalError(f"a checkpoint cannot hold a {kind.__name__}: give it a shape, or leave it out")
            if kind in _COLLECTIONS and len(thing) > self._left:
                return None
            row = writers[kind](thing)
            objects.append(row)
            self._left -= len(row)
            if self._left < 0:
                return None
        return {"fields": self._fields, "objects": objects}

    def _object(self, name: str, values_of: Callable[[Any], tuple[Any, ...]], thing: Any) -> list[Any]:
        return [name, *self._values(values_of(thing))]

    def _spec(self, name: str, spec: Any) -> list[Any]:
        return [name, msgspec.to_builtins(spec)]

    def _named(self, name: str, value: tuple[Any, ...]) -> list[Any]:
        return [name, *self._values(value)]

    def _values(self, values: Iterable[Any]) -> list[Any]:
        return [value if type(value) in _SCALARS else self._value(value) for value in values]

    def _value(self, value: Any) -> Any:
        kind: type = type(value)
        if kind in _SCALARS:
            return value
        if kind in _EMPTY and not value:
            return _EMPTY[kind]
        if kind in self._inline:
            return self._inline[kind](value)
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._found)
            self._found.append(value)
        return [number]


class _Reader:
    """Makes each object empty when something first refers to it, and fills it later, so that circles need no special
    care."""

    def __init__(self, plain: Plain, shapes: Shapes) -> None:
        self._shapes, self._fields = shapes, plain["fields"]
        self._objects: list[list[Any]] = plain["objects"]
        self._made: dict[int, Any] = {}
        self._empty: list[int] = []

    def read(self) -> Any:
        root = self._refer(0)
        while self._empty:
            number = self._empty.pop()
            self._fill(self._made[number], self._objects[number])
        return root

    def _refer(self, number: int) -> Any:
        if number not in self._made:
            if not 0 <= number < len(self._objects):
                raise InvalidError(f"it refers to object {number} of {len(self._objects)}")
            self._made[number] = self._make(number, *self._objects[number][:2])
        return self._made[number]

    def _make(self, number: int, kind: str, first: Any = None) -> Any:
        shape = self._shapes.get(kind)
        if shape is not None and issubclass(shape.of, msgspec.Struct):
            return msgspec.convert(first, shape.of)
        self._empty.append(number)
        if kind == "deque":
            return deque(maxlen=first)
        if kind in _MAKES:
            return _MAKES[kind]()
        if shape is None or issubclass(shape.of, tuple):
            raise InvalidError(f"it has a {kind!r}, which is nothing that this version knows")
        return shape.of.__new__(shape.of)

    def _fill(self, thing: Any, row: list[Any]) -> None:
        match thing:
            case dict():
                values = list(map(self._value, row[1:]))
                thing.update(zip(values[::2], values[1::2], strict=True))
            case list() | deque():
                thing.extend(map(self._value, row[2 if isinstance(thing, deque) else 1 :]))
            case set():
                thing.update(map(self._value, row[1:]))
            case _:
                shape = self._shapes[row[0]]
                for name, value in self._named(shape, row).items():
                    if not isinstance(value, shape.types[name]):
                        raise InvalidError(f"a {row[0]} has {value!r:.80} as its {name}")
                    setattr(thing, name, value)

    def _value(self, plain: Any) -> Any:
        if type(plain) in _SCALARS:
            return plain
        if not isinstance(plain, list) or not plain:
            raise InvalidError(f"it has {plain!r:.80} where a value should be")
        head, *rest = plain
        if type(head) is int:
            return self._refer(head)
        match head:
            case "range":
                return range(*rest)
            case "tuple" | "frozenset":
                values = map(self._value, rest)
                return tuple(values) if head == "tuple" else frozenset(values)
            case "dict" | "list" | "set":
                return _MAKES[head]()
        shape = self._shapes.get(head)
        if shape is None or not issubclass(shape.of, tuple):
            raise InvalidError(f"it has a {head!r}, which is nothing that this version knows")
        return shape.of(**self._named(shape, plain))

    def _named(self, shape: Shape, row: list[Any]) -> dict[str, Any]:
        """The fields that this version has, as written or by default."""
        there = dict(zip(self._fields[row[0]], row[1:], strict=True))
        found = {name: self._value(there[name]) for name in shape.fields if name in there}
        found |= {name: default() for name, default in shape.defaults.items() if name not in found}
        if missing := [name for name in shape.fields if name not in found]:
            raise InvalidError(f"a {row[0]} has no {', '.join(missing)}")
        return found
