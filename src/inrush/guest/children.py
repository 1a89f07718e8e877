"""Where a process ends that user code forked: where the user's code does, as if that code were its whole program.

The guest around user code is not the child's: it has no socket, no pump, and no input of its own to answer.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from types import TracebackType
from typing import NoReturn

from inrush.guest import process
from inrush.guest.tracebacks import traceback_text

_forks = 0
"""How many forks lie between this process and the interpreter's start."""


class ChildrenEndHere:
    """`with ChildrenEndHere(): …` surrounds user code: only the process that came in goes on behind it."""

    __slots__ = ("_forks",)

    def __enter__(self) -> None:
        self._forks = _forks

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._forks != _forks:
            end(error)


def end(error: BaseException | None) -> NoReturn:
    """End this process as Python ends a program: what it raised is printed, threads are waited for, and what was
    registered with `atexit` runs."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        said = f"{error.code}\n" if code and not isinstance(error.code, int) else ""
    elif error is not None:
        code, said = 1, traceback_text(error)
    else:
        said = ""
    with contextlib.suppress(BaseException):
        sys.stderr.write(said)
    for finish in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined, unused-ignore]
        with contextlib.suppress(BaseException):
            finish()
    process.leave(code & 0xFF)


def _count() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count)
