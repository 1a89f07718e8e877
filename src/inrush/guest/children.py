"""Processes that user code forks end where the user's code ends, as if that code were their whole program.

Such a child must not continue in the guest's code: it has no connection to the agent and no input to answer.
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
"""The number of forks between the start of the interpreter and this process."""


class ChildrenEndHere:
    """Surrounds a call of user code: `with ChildrenEndHere(): …`. A process that was forked inside the block ends at
    its end; only the process that entered the block continues."""

    __slots__ = ("_forks",)

    def __enter__(self) -> None:
        self._forks = _forks

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._forks != _forks:
            end(error)


def end(error: BaseException | None) -> NoReturn:
    """Ends this process as Python ends a program: prints the exception, joins threads and runs the `atexit`
    handlers."""
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
