"""Starting the launcher, and giving up what only the launcher needs.

Call `start_launcher` first of all, before threads and event loops exist, and `drop_privileges` right after it.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import inrush
from inrush.linux import caps, landlock, messages, process

_BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from inrush.launcher.main import main; main(sys.argv[1:])"


@dataclass(slots=True)
class LauncherHandle:
    """The agent's end of the conversation, and the janitor's pid, a child of this process."""

    socket: socket.socket
    pid: int
    rootless: bool


def start_launcher(
    state: Path, *, rootless: bool | None = None, reserve_mib: int = 512, blocked: Sequence[str] = ()
) -> LauncherHandle:
    """Start the launcher of a state directory. It ends when the handle's socket is closed, by whatever end of this
    process.

    `rootless` None decides by the user id. `reserve_mib` is memory of the node that containers without a limit may
    not take. `blocked` are networks that containers may not reach.
    """
    rootless = os.geteuid() != 0 if rootless is None else rootless
    ours, theirs = messages.pair()
    pid = os.fork()
    if pid == 0:
        _become_launcher(theirs, state.absolute(), rootless, reserve_mib, blocked)
    theirs.close()
    ours.setblocking(False)
    return LauncherHandle(ours, pid, rootless)


def _become_launcher(end: socket.socket, state: Path, rootless: bool, reserve_mib: int, blocked: Sequence[str]) -> None:
    """A fresh, small interpreter: nothing of this process's memory or descriptors goes along."""
    try:
        os.setsid()
        end = messages.raised(end, 10)
        process.close_descriptors({end.fileno()})
        os.set_inheritable(end.fileno(), True)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        package = str(Path(inrush.__file__).resolve().parent.parent)
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
            str(reserve_mib),
            ",".join(blocked),
        ]
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "INRUSH_WITHOUT") if name in os.environ}
        os.execve(sys.executable, arguments, kept)  # noqa: S606 (no shell is wanted)
    finally:
        os._exit(127)


def drop_privileges(home: Path) -> str:
    """Give up, in this process and all its threads to come, every capability and the ways to new ones, and the right
    to write outside `home` and the places for temporary files. Returns what was done, as a sentence.
    """
    dropped = os.geteuid() == 0
    if dropped:
        caps.keep_only()
    process.no_new_privileges()
    confined = landlock.confine_writes([str(home), "/tmp", "/var/tmp", "/dev", "/proc/self"])  # noqa: S108
    first = "runs without capabilities" if dropped else "runs as an ordinary user"
    second = (
        f"writes only below {home} and temporary directories"
        if confined
        else "is not confined in what it writes (no Landlock 2)"
    )
    return f"the server {first}, cannot gain privileges, and {second}"
