"""How long the threads of a container have run, and how long they have waited for a processor.

The kernel counts both for each thread, in /proc/THREAD/schedstat. A thread that waits for a processor would run if it
had one, so the two together tell what it would use on an idle machine, however busy this one is. A control group
counts only what was used.
"""

from __future__ import annotations

import contextlib
import os

MAX_THREADS = 32
"""Threads of one container that are looked at, the oldest."""
_BYTES = 4096
"""More than the ids of so many threads take."""

Times = list[tuple[int, int, int, bool]]
"""For each thread: its id, the nanoseconds that it has run and waited for a processor, and whether it runs or waits for
one now. The wait of now is counted when it is over."""


def counted() -> bool:
    """Whether this kernel counts."""
    return os.path.exists("/proc/self/schedstat")


def times(list_of_threads: str) -> Times:
    """The threads whose ids this file of a control group lists."""
    found = []
    for thread in _start(list_of_threads).split()[:MAX_THREADS]:
        fields = _start(f"/proc/{thread}/schedstat").split()
        if len(fields) >= 2:
            state = _start(f"/proc/{thread}/stat").rpartition(")")[2]
            found.append((int(thread), int(fields[0]), int(fields[1]), state.startswith(" R")))
    return found


def _start(path: str) -> str:
    """The first whole lines of a file; empty when it is gone."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(fd, _BYTES).decode()
        finally:
            os.close(fd)
        return text[: text.rfind("\n")]
    return ""
