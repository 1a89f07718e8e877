"""Checks that a template may be forked from: it must have one thread, no child process, and no use of CUDA.

Threads that end by themselves have `SETTLE_S` to do so. Whatever is left is named, so that people can see why their
function has no snapshot. Open connections may stay, since children close them (`fork.Inherited`).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

SETTLE_S = 2.0


def settle(seconds: float = SETTLE_S) -> str:
    """Waits up to `seconds` for other threads to end. Returns why this process may not be forked from; empty if it
    may."""
    _stop_tqdm()
    deadline = time.monotonic() + seconds
    while _threads() > 1 and time.monotonic() < deadline:
        for thread in _others():
            thread.join(0.02)
        time.sleep(0.01)
    if _threads() > 1:
        return f"the process has {_threads()} threads and a template can have one; left over: {', '.join(offenders())}"
    if children := _children():
        return f"processes that it started still run, and a fork would not have them: {', '.join(children)}"
    if _has_cuda():
        return "CUDA has been touched, which does not survive a fork; do that in an enter() hook without snap=True"
    return ""


def offenders() -> list[str]:
    """The threads beside the main one: those of Python by their name, native ones by the kernel's name for them."""
    named = {thread.native_id: thread.name for thread in _others()}
    tasks = (int(task.name) for task in Path("/proc/self/task").iterdir())
    return [named.get(task) or _native(task) for task in tasks if task != os.getpid()]


def _native(task: int) -> str:
    try:
        return f"native thread {Path(f'/proc/self/task/{task}/comm').read_text().strip()!r}"
    except OSError:
        return "a thread that has just ended"


def _children() -> list[str]:
    """The names of child processes that still run."""
    found = []
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(OSError, IndexError):
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
            found += [name] if rest.split()[0] != "Z" else []
    return found


def _has_cuda() -> bool:
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return bool(cuda is not None and cuda.is_initialized()) or any(
        path.startswith("/dev/nvidia") for path in descriptors().values()
    )


def descriptors() -> dict[int, str]:
    """What each open descriptor refers to, by number."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one for this list is closed by now
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _others() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread is not threading.main_thread()]


def _stop_tqdm() -> None:
    """Ends tqdm's monitor threads, one for each subclass of `tqdm` that has shown a bar, since they never end by
    themselves; an interval of 0 keeps tqdm from starting new ones."""
    std = sys.modules.get("tqdm.std")
    if std is None:
        return
    std.tqdm.monitor_interval = 0
    for thread in _others():
        if type(thread).__name__ == "TMonitor":
            shown_by: Any = vars(thread)["tqdm_cls"]
            shown_by.monitor_interval = 0
            vars(thread)["was_killed"].set()
            shown_by.monitor = None
