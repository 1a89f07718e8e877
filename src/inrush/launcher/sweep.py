"""Removes what a killed launcher has left on the machine: control groups with all their processes, links, the nft
table.

The names of all of it contain the launcher's tag, by which the next launcher of the same home finds it. A home that was
deleted has no next launcher. So a launcher of root claims its tag for as long as it lives, by locking a file of that
name, and every launcher's janitor removes what belongs to tags whose file exists and is not locked.
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
"""The claims of all launchers of the machine. They are lost with a restart of the machine, and so is what launchers
make."""

_DEADLINE_S = 10.0


def begin(tag: str, rootless: bool) -> None:
    """Removes what an earlier launcher of this tag has left, and claims the tag until this process and its forks have
    ended. The launcher of an ordinary user claims nothing, since it makes everything in namespaces that end with it."""
    if rootless:
        sweep(tag, rootless)
        return
    CLAIMS.mkdir(mode=0o700, exist_ok=True)
    if (CLAIMS / tag).exists():
        sweep(tag, rootless)
    while True:
        fd = os.open(CLAIMS / tag, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)  # another launcher's janitor may hold it while it sweeps
        if _is_claim(fd, tag):
            return
        os.close(fd)


def sweep(tag: str, rootless: bool) -> None:
    """Removes everything whose name has a tag, and then the claim. If something cannot be removed, the claim stays."""
    gone = False
    with contextlib.suppress(OSError):
        gone = _sweep_cgroups(tag)
    if not rootless:
        network.sweep(tag)
        if gone:
            (CLAIMS / tag).unlink(missing_ok=True)


def sweep_abandoned() -> None:
    """Removes what killed launchers of all homes have left."""
    for tag in _abandoned():
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            sweep(tag, rootless=False)


def _abandoned() -> Iterator[str]:
    """Yields tags whose launcher has ended. Each stays locked until the next one is asked for, so no launcher can claim
    it meanwhile."""
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
