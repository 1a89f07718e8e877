"""Starts the launcher, in the server's process.

Call `start_launcher` before any thread or event loop exists, and `drop_privileges` right after it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from inrush.launcher.places import Declared
from inrush.launcher.rights import drop_privileges
from inrush.linux import messages, process

__all__ = ["Given", "LauncherHandle", "drop_privileges", "start_launcher"]

_BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from inrush.launcher.main import main; main(sys.argv[1:])"


@dataclass(slots=True)
class LauncherHandle:
    """The agent's end of the launcher's socket, and the pid of the janitor, a child of this process."""

    socket: socket.socket
    pid: int
    rootless: bool


NOTHING = Declared()


@dataclass(frozen=True, slots=True)
class Given:
    """Parameters of a launcher, which no order can change later. Containers leave `reserve_mib` and `reserve_processes`
    of the node free. `store_uid` is the user who owns the store, and the first of the ids that own files of layers.
    `blocked` are networks that containers may not reach. `preferred` is the result of `rights.go_first`."""

    declared: Declared = NOTHING
    reserve_mib: int = 512
    store_uid: int = 0
    blocked: tuple[str, ...] = ()
    reserve_processes: int = 4_096
    preferred: bool = False


def start_launcher(state: Path, given: Given | None = None, *, rootless: bool | None = None) -> LauncherHandle:
    """Starts the launcher of a state directory. It ends when the handle's socket is closed, also by the end of this
    process. `rootless` None means: unless this process is root's."""
    rootless = os.geteuid() != 0 if rootless is None else rootless
    ours, theirs = messages.pair()
    pid = os.fork()
    if pid == 0:
        _become_launcher(theirs, state.absolute(), rootless, given or Given())
    theirs.close()
    ours.setblocking(False)
    return LauncherHandle(ours, pid, rootless)


def _become_launcher(end: socket.socket, state: Path, rootless: bool, given: Given) -> None:
    """Executes a new interpreter, so that the launcher inherits no memory and no descriptors of this process."""
    try:
        os.setsid()
        usual = max(0, os.getpriority(os.PRIO_PROCESS, 0))  # only the server goes first
        os.setpriority(os.PRIO_PROCESS, 0, usual)
        end = messages.raised(end, 10)
        process.close_descriptors({end.fileno()})
        os.set_inheritable(end.fileno(), True)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        package = str(Path(__file__).resolve().parent.parent.parent)
        mode = "rootless" if rootless else "root"
        arguments = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            _BOOT,
            package,
            str(end.fileno()),
            str(state),
            mode,
            json.dumps(dataclasses.asdict(given)),
        ]
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "INRUSH_WITHOUT") if name in os.environ}
        os.execve(sys.executable, arguments, kept)  # noqa: S606 (no shell is wanted)
    finally:
        os._exit(127)
