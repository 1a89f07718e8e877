"""Shows the content of a pickle without executing it: as JSON if it is plain data, else as a type and a size.

A pickle is a program for a small stack machine. Only the few operations that make plain data are carried out here. An
operation that names a class, a function or anything else outside of the pickle ends that, and then only the name is
shown. Operations, depth and output are bounded, so that a small pickle cannot become a large text.
"""

from __future__ import annotations

import io
import json
import pickletools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

MAX_READ_BYTES = 256 * 1024
"""A longer pickle is not read, and only its size is shown."""
MAX_OPERATIONS = 20_000
MAX_SHOWN_NODES = 2_000
"""The most values in one text, each counted as often as it would be shown."""
MAX_SHOWN_DEPTH = 20
MAX_SHOWN_CHARACTERS = 64 * 1024
"""The most characters of strings in one text, each string counted as often as it would be shown."""
MAX_NAME_CHARACTERS = 100
_LARGEST = 2**63
_MARK: Any = object()


class Shown(NamedTuple):
    """A shown value. `text` is JSON, or empty if the value is not plain data; `type` then names its type, if that is
    known."""

    text: str
    type: str
    bytes: int


class _OpaqueError(Exception):
    """The value is not plain data; the message names its type."""


def shown(data: bytes, plain_json: bool = False) -> Shown:
    """Shows a pickle, or JSON with `plain_json`. It never raises, whatever the bytes are."""
    if len(data) > MAX_READ_BYTES:
        return Shown("", "a large value", len(data))
    try:
        value = json.loads(data) if plain_json else _value(data)
        text = json.dumps(_jsonable(value, _Budget(), 0), ensure_ascii=False)
        return Shown(_printable(text), type(value).__name__, len(data))
    except _OpaqueError as opaque:
        return Shown("", _printable(str(opaque)[:MAX_NAME_CHARACTERS]), len(data))
    except Exception:  # pickletools raises many kinds of errors for malformed pickles
        return Shown("", "not readable", len(data))


def _printable(text: str) -> str:
    """Escapes characters that are not printable, as JSON does, since a terminal could interpret them."""
    return text if text.isprintable() else "".join([c if c.isprintable() else json.dumps(c)[1:-1] for c in text])


def shown_payload(payload: bytes) -> Shown:
    """Shows a payload, whose first byte is its codec."""
    codec, data = payload[:1], payload[1:]
    if codec in (b"P", b"J"):
        return shown(data, plain_json=codec == b"J")
    return Shown("", "a value in parts", len(data))


class _Budget:
    """The values and characters that may still be shown."""

    def __init__(self) -> None:
        self.nodes, self.characters = MAX_SHOWN_NODES, MAX_SHOWN_CHARACTERS

    def take(self, value: Any) -> None:
        self.nodes -= 1
        self.characters -= len(value) if isinstance(value, str) else 0
        if self.nodes < 0 or self.characters < 0:
            raise _OpaqueError("a value with many parts")


def _jsonable(value: Any, budget: _Budget, depth: int) -> Any:
    """Converts plain data to what JSON can represent; other values become text."""
    budget.take(value)
    if depth > MAX_SHOWN_DEPTH:
        raise _OpaqueError("a value of many levels")
    if value is None or isinstance(value, bool | str | float):
        return value if not isinstance(value, float) or abs(value) < float("inf") else repr(value)
    if isinstance(value, int):
        return value if abs(value) < _LARGEST else f"an integer of {value.bit_length()} bits"
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    if isinstance(value, dict):
        keys = [key if isinstance(key, str) else json.dumps(_jsonable(key, budget, depth + 1)) for key in value]
        return dict(zip(keys, [_jsonable(item, budget, depth + 1) for item in value.values()], strict=True))
    return [_jsonable(item, budget, depth + 1) for item in value]


def _value(data: bytes) -> Any:
    """Decodes the plain data of a pickle. Raises `_OpaqueError`."""
    machine = _Machine()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(data))):
        if count > MAX_OPERATIONS:
            raise _OpaqueError("a value with many parts")
        if opcode.name == "STOP":
            return machine.stack[-1]
        machine.step(opcode.name, argument)
    raise _OpaqueError("not readable")


class _Machine:
    """The stack machine of pickle, with only the operations that make plain data."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            **dict.fromkeys(_LITERALS, self.stack.append),
            **dict.fromkeys(_NOTHING, lambda _: None),
            **{name: partial(self._push, make) for name, make in _MAKERS.items()},
            **dict.fromkeys(("MEMOIZE",), lambda _: self.memo.__setitem__(len(self.memo), self.stack[-1])),
            **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda at: self.memo.__setitem__(at, self.stack[-1])),
            **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda at: self.stack.append(self.memo[at])),
            "MARK": lambda _: self.stack.append(_MARK),
            "POP": lambda _: self.stack.pop(),
            "POP_MARK": lambda _: self._marked().clear(),
            "TUPLE": lambda _: self.stack.append(tuple(self._marked())),
            "LIST": lambda _: self.stack.append(self._marked()),
            "FROZENSET": lambda _: self.stack.append(frozenset(self._marked())),
            "DICT": lambda _: self.stack.append(_paired(self._marked())),
            "APPEND": lambda _: self._append([self.stack.pop()]),
            "APPENDS": lambda _: self._append(self._marked()),
            "ADDITEMS": lambda _: self._add(self._marked()),
            "SETITEM": lambda _: self._set([self.stack.pop(-2), self.stack.pop()]),
            "SETITEMS": lambda _: self._set(self._marked()),
            "TUPLE1": lambda _: self._tuple(1),
            "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
        }

    def step(self, name: str, argument: Any) -> None:
        """Carries out one operation. Raises `_OpaqueError` for one that refers to anything outside of the pickle."""
        step = self._steps.get(name)
        if step is None:
            raise _OpaqueError(self._named(name, argument))
        step(argument)

    def _named(self, name: str, argument: Any) -> str:
        """The name of what a pickle refers to, or "an object"."""
        if name in ("GLOBAL", "INST") and isinstance(argument, str):
            return ".".join(argument.split(" ", 1))
        if name == "STACK_GLOBAL" and len(self.stack) > 1 and all(isinstance(part, str) for part in self.stack[-2:]):
            return ".".join(self.stack[-2:])
        return "an object"

    def _push(self, make: Callable[[], Any], _: Any) -> None:
        self.stack.append(make())

    def _marked(self) -> list[Any]:
        at = max(i for i, value in enumerate(self.stack) if value is _MARK)
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def _tuple(self, size: int) -> None:
        values = tuple(self.stack[-size:])
        del self.stack[-size:]
        self.stack.append(values)

    def _append(self, values: list[Any]) -> None:
        _expect(self.stack[-1], list).extend(values)

    def _add(self, values: list[Any]) -> None:
        _expect(self.stack[-1], set).update(values)

    def _set(self, values: list[Any]) -> None:
        _expect(self.stack[-1], dict).update(_paired(values))


_LITERALS = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_NOTHING = ("PROTO", "FRAME")
_MAKERS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise _OpaqueError("not readable")
    return value


def _paired(values: list[Any]) -> dict[Any, Any]:
    return dict(zip(values[::2], values[1::2], strict=True))
