"""Runs slow work of the launcher in forked workers, so that containers can start meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from inrush.launcher.loop import Loop
from inrush.linux import process

_MOST_BYTES = 4000
"""Of a worker's words: less than a page, so that writing them to the pipe never waits for a reader."""


def work(loop: Loop, act: Callable[[], str | None], done: Callable[[str, str], None]) -> None:
    """Runs `act` in a child, and then calls `done` with what went wrong, or "", and with what `act` returned."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _child(act, write)
    os.close(write)
    loop.when_ended(pid, lambda status: _finish(read, status, done))


def _child(act: Callable[[], str | None], write: int) -> None:
    try:
        signal.set_wakeup_fd(-1)
        process.die_with_parent()
        os.write(write, (act() or "").encode()[:_MOST_BYTES])
        os._exit(0)
    except BaseException as error:
        os.write(write, f"{type(error).__name__}: {error}".encode()[:_MOST_BYTES])
    finally:
        os._exit(1)


def _finish(read: int, status: int, done: Callable[[str, str], None]) -> None:
    said = os.read(read, _MOST_BYTES).decode(errors="replace")
    os.close(read)
    if status == 0:
        done("", said)
    else:
        done(said or f"a worker ended with wait status {status}", "")
