"""`python -m inrush.guest FD`: serve on an inherited socket."""

from __future__ import annotations

import os
import socket
import sys

from inrush.guest.main import serve
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


if __name__ == "__main__":
    leave(serve(_inherited(int(sys.argv.pop()))))
