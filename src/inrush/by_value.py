"""Pickling by value: functions and classes by their code, and exceptions without calling their constructors.

The other side may lack the module that defines them. A code object is valid in one minor version of Python only, and
crashes any other. So each pickled code object carries the version that compiled it, which is compared before the object
is made. The guest imports this module, so it uses only the standard library, and imports cloudpickle when something is
pickled by value.
"""

from __future__ import annotations

import copyreg
import functools
import io
import pickle
import types
from collections.abc import Callable
from typing import Any

from inrush.errors import SerializationError
from inrush.version import PYTHON

MINOR = PYTHON
"""What code objects carry."""

Keep = Callable[[pickle.PickleBuffer], object]


def dumps(value: Any, keep: Keep | None = None, errors_anew: bool = False) -> bytes:
    """Pickles a value; by value whatever cannot be imported by name. `keep` is called with each out-of-band buffer, as
    pickle's `buffer_callback`. With `errors_anew` exceptions are restored from their attributes, without calling their
    own constructors."""
    buffer = io.BytesIO()
    made = pickler()(buffer, protocol=5, buffer_callback=keep)
    made.errors_anew = errors_anew
    made.dump(value)
    return buffer.getvalue()


@functools.cache
def pickler() -> Any:
    """The class of picklers by value. The first call imports cloudpickle."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        errors_anew = False

        def reducer_override(self, value: Any) -> Any:
            if type(value) is types.CodeType:
                _, parts, *_ = self.dispatch_table[types.CodeType](value)
                return code, (MINOR, value.co_name, *parts)
            if self.errors_anew and isinstance(value, BaseException):
                return _reduced(value)
            return super().reducer_override(value)

    return Pickler


def code(version: str, name: str, *parts: Any) -> types.CodeType:
    """Makes a code object that Python `version` compiled. Raises `SerializationError` if this Python has another minor
    version."""
    need_same(f"{name} is code that was sent by value", version, MINOR)
    return types.CodeType(*parts)


def need_same(what: str, sender: str, receiver: str) -> None:
    """Raises `SerializationError` unless both minor versions of Python are the same."""
    if sender != receiver:
        raise SerializationError(
            f"{what} from Python {sender}, and this is for Python {receiver}, which cannot run it: define it at the "
            "top of a file that both sides import, or have both use one version "
            f'(Image.debian_slim(python_version="{sender}"), or the program under Python {receiver})'
        )


# ── exceptions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _reduced(error: BaseException) -> tuple[Any, ...]:
    base: Any = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
    _, args, *rest = base.__reduce__(error)
    if isinstance(error, BaseExceptionGroup):
        args = error.message, list(error.exceptions)
    state = {**_slots(error), **(rest[0] if rest and isinstance(rest[0], dict) else {})}
    kept = {name: value for name, value in state.items() if _can_go(value)}
    left = {name: type(state[name]).__qualname__ for name in state.keys() - kept.keys()}
    return error_anew, (type(error), base, args, kept, left)


def _slots(error: BaseException) -> dict[str, Any]:
    names = copyreg._slotnames(type(error))  # type: ignore[attr-defined]
    return {name: getattr(error, name) for name in names if hasattr(error, name)}


def _can_go(value: Any) -> bool:
    try:
        pickle.loads(dumps(value, errors_anew=True))  # noqa: S301 - what was pickled in this line
    except Exception:
        return False
    return True


def error_anew(
    kind: type[BaseException],
    base: type[BaseException],
    args: tuple[Any, ...],
    state: dict[str, Any],
    left: dict[str, str],
) -> BaseException:
    """Restores an exception without calling the constructor of its class. `left` maps the attributes that could not be
    pickled to the names of their types; a note on the exception names each."""
    error = base.__new__(kind, *args)
    base.__init__(error, *args)
    for name, value in state.items():
        if isinstance(getattr(kind, name, None), types.MemberDescriptorType | types.GetSetDescriptorType):
            object.__setattr__(error, name, value)
        else:
            error.__dict__[name] = value
    for name, its_type in left.items():
        notes = error.__dict__.setdefault("__notes__", [])  # `add_note` fails where the class is a frozen dataclass
        notes.append(f"its attribute {name} stayed in the container: a {its_type} cannot be pickled")
    return error
