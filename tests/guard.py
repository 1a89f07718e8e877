"""A guard process ends what tests have started and removes what they have made, however their own process ends.

    pytest, or a worker ── fork, exec ──▶ guard        waits for the other's end, or for its word
          └─ everything that it makes is below one folder, TMPDIR, and what it starts names that folder

A guard needs no list of processes. A process belongs to the folder if its environment or its command line contains the
folder's path, or if it has a file below the folder open (a launcher holds the lock of its home).
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from inrush.launcher.sweep import sweep_abandoned
from inrush.linux import mounts

END_S = 30.0
"""How long processes have to end after SIGTERM, before they are killed."""


class Guard:
    """Starts a guard for this process, and makes the folder that it guards the folder for temporary files."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ir-"))
        self.folder.chmod(0o711)  # servers that are not root have their homes in it
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.folder)
        command = [sys.executable, str(Path(__file__)), str(self.folder), str(os.getpid())]
        self._process = subprocess.Popen(
            command, env={"PATH": os.environ.get("PATH", "")}, cwd="/", stdin=subprocess.PIPE, start_new_session=True
        )

    def finish(self) -> None:
        """Tells the guard to clean up now, and returns once it has finished."""
        self._process.communicate(b".")


def main(folder: Path, ward: int) -> None:
    """Waits until process `ward` ends or writes to the guard's stdin, and cleans up."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(ward)
        if os.getppid() == ward:
            select.select([0, pidfd], [], [])
    _end(folder, {os.getpid(), ward})
    for path in reversed(_mounts(folder)):
        mounts.unmount(path)
    shutil.rmtree(folder, ignore_errors=True)
    if os.geteuid() == 0:
        sweep_abandoned()


def _end(folder: Path, spared: set[int]) -> None:
    deadline = time.monotonic() + END_S
    asked: set[int] = set()
    while left := {pid for pid in _processes(folder) if pid not in spared}:
        late = time.monotonic() > deadline
        for pid in left if late else left - asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked |= left
        time.sleep(0.05)


def _processes(folder: Path) -> Iterator[int]:
    """The processes that belong to the folder and have not ended. Zombies have neither environment nor descriptors."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if _belongs(Path("/proc", entry), str(folder)):
                yield int(entry)


def _belongs(process: Path, folder: str) -> bool:
    if any(folder.encode() in (process / name).read_bytes() for name in ("environ", "cmdline")):
        return True
    return any(os.readlink(link).startswith(f"{folder}/") for link in (process / "fd").iterdir())


def _mounts(folder: Path) -> list[str]:
    places = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    return [place for place in places if place.startswith(f"{folder}/")]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
