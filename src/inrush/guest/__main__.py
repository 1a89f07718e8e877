"""`python -m inrush.guest FD`: serves on an inherited socket.

Executed containers call `main` instead, since `-m` would import `runpy` first.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import NoReturn

from inrush.guest.main import Guest
from inrush.guest.process import leave


def _inherited(fd: int) -> socket.socket:
    """Moves the socket away from the standard streams, so that user code and its subprocesses cannot read from it."""
    sock = socket.socket(fileno=os.dup(fd))
    if fd <= 2:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, fd)
        os.close(nothing)
    else:
        os.close(fd)
    return sock


def main(fd: int) -> NoReturn:
    """Serves on this descriptor, and ends the process."""
    leave(Guest().live(_inherited(fd)))


if __name__ == "__main__":
    main(int(sys.argv.pop()))
