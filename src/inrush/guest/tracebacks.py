"""Tracebacks that begin at the first frame of user code, without the frames of this package that called it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inrush.errors import Error

if TYPE_CHECKING:
    import traceback

_OURS = (os.path.dirname(os.path.abspath(__file__)) + os.sep, "<frozen importlib", "<frozen runpy")


def type_name(value: object) -> str:
    """The qualified name of a value's type, as a traceback prints it."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def traceback_text(error: BaseException) -> str:
    """The traceback of `error` and of its causes, cut to user code."""
    import traceback  # imported only on errors: it takes a fifth of a guest's other imports

    whole = traceback.TracebackException.from_exception(error, compact=True)
    pending: list[traceback.TracebackException | None] = [whole]
    while pending:
        part = pending.pop()
        if part is not None:
            _trim(part.stack, isinstance(error, Error | SyntaxError | ImportError))
            pending += [part.__cause__, part.__context__]
    return "".join(whole.format())


def _trim(stack: traceback.StackSummary, may_be_all: bool) -> None:
    """Removes the frames of this package. If there are no others they stay, unless the message alone is enough
    (`may_be_all`)."""
    kept = [
        frame for frame in stack if not frame.filename.startswith(_OURS) and "importlib/__init__" not in frame.filename
    ]
    if kept or may_be_all:
        stack[:] = kept
