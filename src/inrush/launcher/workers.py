"""Runs slow work of the launcher in forked workers, so that containers can start meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from inrush.launcher.loop import Loop
from inrush.linux import process


def work(loop: Loop, act: Callable[[], None], done: Callable[[str], None]) -> None:
    """Runs `act` in a child, and then calls `done` with "" or with what went wrong."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _child(act, write)
    os.close(write)
    loop.when_ended(pid, lambda status: _finish(read, status, done))


def _child(act: Callable[[], None], write: int) -> None:
    try:
        signal.set_wakeup_fd(-1)
        process.die_with_parent()
        act()
        os._exit(0)
    except BaseException as error:
        os.write(write, f"{type(error).__name__}: {error}".encode()[:4000])
    finally:
        os._exit(1)


def _finish(read: int, status: int, done: Callable[[str], None]) -> None:
    said = os.read(read, 4096).decode(errors="replace")
    os.close(read)
    done("" if status == 0 else said or f"a worker ended with wait status {status}")
