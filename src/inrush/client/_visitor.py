"""What `inrush run -i` executes on a terminal in a container, for a function that called `inrush.interact()`.

It tells the function the name of the terminal, and passes on Ctrl-C, until either ends or Ctrl-\\ takes the terminal
back. Only the function reads and writes on the terminal.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn


def visit(place: str) -> None:
    """Stays until the function at this place has ended."""
    with socket.socket(socket.AF_UNIX) as function:
        function.connect(place)

        def tell(number: int, frame: FrameType | None) -> None:
            with suppress(OSError):
                function.send(bytes([number]))

        signal.signal(signal.SIGINT, tell)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # Ctrl-Z, which would stop this process and not the function
        signal.signal(signal.SIGQUIT, _leave)
        function.sendall(os.ttyname(0).encode())
        with suppress(OSError):
            function.recv(1)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    visit(sys.argv[1])
