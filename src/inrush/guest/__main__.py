"""`python -m inrush.guest FD`: serve on an inherited socket.

Executed containers call `main` instead: `-m` would import `runpy` first.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import NoReturn

from inrush.guest.main import Guest
from inrush.guest.process import leave


def _inherited(fd: int) -> socket.socket:
    """The socket, away from the standard streams: user code and its subprocesses read nothing from it."""
    sock = socket.socket(fileno=os.dup(fd))
    if fd <= 2:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, fd)
        os.close(nothing)
    else:
        os.close(fd)
    return sock


def main(fd: int) -> NoReturn:
    """Serve on this descriptor, and end the process."""
    leave(Guest().live(_inherited(fd)))


if __name__ == "__main__":
    main(int(sys.argv.pop()))
