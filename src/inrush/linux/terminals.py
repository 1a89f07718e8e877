"""Pseudo-terminals: one of the present root, and its size."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

_UNLOCK, _PEER = 0x40045431, 0x5441
"""TIOCSPTLCK and TIOCGPTPEER."""


def make(rows: int, columns: int) -> tuple[int, int]:
    """Makes a pseudo-terminal in the /dev/pts of this root, so that programs in it find their terminal by name. Returns
    the controlling side and the side of the program."""
    ours = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW)
    resize(ours, rows, columns)
    fcntl.ioctl(ours, _UNLOCK, struct.pack("i", 0))
    return ours, fcntl.ioctl(ours, _PEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def resize(terminal: int, rows: int, columns: int) -> None:
    """Sets the size of a terminal, and has the programs on it hear of that (SIGWINCH)."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
