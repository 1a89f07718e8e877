"""What a launcher leaves on the machine when it is killed, and its removal: cgroups with all in them, links, the nft
table.

All of it bears the launcher's tag, by which the next launcher of the same home finds it. But a home may have been
deleted, and have no next launcher. So a launcher of root's claims its tag for as long as it lives, by the lock of a
file that is named by the tag; and every launcher's janitor sweeps after those whose file is there and whose lock is
free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from inrush.launcher import network
from inrush.launcher.cgroups import Cgroups, layout

CLAIMS = Path("/run/inrush-launchers")
"""Of the machine, not of a home. What launchers make is gone after a restart of the machine, and so are its files."""

_DEADLINE_S = 10.0


def begin(tag: str, rootless: bool) -> None:
    """Sweep what an earlier launcher of this tag has left, and claim the tag until this process and its forks have
    ended. An ordinary user's launcher claims nothing: what it makes is in namespaces that end with it.
    """
    if rootless:
        sweep(tag, rootless)
        return
    CLAIMS.mkdir(mode=0o700, exist_ok=True)
    if (CLAIMS / tag).exists():
        sweep(tag, rootless)
    while True:
        fd = os.open(CLAIMS / tag, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)  # another one's janitor may have it, and sweep
        if _is_claim(fd, tag):
            return
        os.close(fd)


def sweep(tag: str, rootless: bool) -> None:
    """Remove all that bears a tag, and then its claim. Nothing there is fine; what cannot be removed stays claimed."""
    gone = False
    with contextlib.suppress(OSError):
        gone = _sweep_cgroups(tag)
    if not rootless:
        network.sweep(tag)
        if gone:
            (CLAIMS / tag).unlink(missing_ok=True)


def sweep_abandoned() -> None:
    """Remove what launchers have left that were killed, of whatever home."""
    for tag in _abandoned():
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            sweep(tag, rootless=False)


def _abandoned() -> Iterator[str]:
    """Tags that no living launcher has claimed; none can be claimed anew before the next one is asked for."""
    for tag in sorted(os.listdir(CLAIMS)) if CLAIMS.exists() else ():
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            fd = os.open(CLAIMS / tag, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_claim(fd, tag):
                    yield tag
            finally:
                os.close(fd)


def _is_claim(fd: int, tag: str) -> bool:
    """Whether the file has not been removed since it was opened."""
    try:
        return os.path.samestat(os.fstat(fd), (CLAIMS / tag).stat())
    except FileNotFoundError:
        return False


def _sweep_cgroups(tag: str) -> bool:
    cgroups = Cgroups(layout(Path("/proc/self/mountinfo").read_text()), f"inrush-{tag}", can_kill=True)
    deadline = time.monotonic() + _DEADLINE_S
    names = cgroups.names()
    while names and time.monotonic() < deadline:
        for name in names:
            group = cgroups.group(name)
            group.kill()
            group.remove()
        names = cgroups.names()
        if names:
            time.sleep(0.005)
    cgroups.remove_base()
    return not names
