"""The side of a pseudo-terminal at which a person would sit."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from running_server import RunningServer


def asked(server: RunningServer, answer: bytes, *words: str) -> tuple[int, str]:
    """A command on a terminal, where a person answers its question. Returns its status, and all that was shown."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "inrush", *words]
    process = subprocess.Popen(command, env=server.env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, answer)
    shown = shown_on(ours)
    return process.wait(60), shown.decode()


def shown_on(terminal: int) -> bytes:
    """All that is written to a terminal until nobody has its other side open. Closes the terminal."""
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # its last user has gone
            break
    os.close(terminal)
    return shown
