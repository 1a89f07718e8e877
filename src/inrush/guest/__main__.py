"""`python -m inrush.guest FD`: serve on an inherited socket."""

from __future__ import annotations

import socket
import sys

from inrush.guest.main import serve
from inrush.guest.process import leave

if __name__ == "__main__":
    inherited = socket.socket(fileno=int(sys.argv[1]))
    inherited.set_inheritable(False)
    sys.argv = sys.argv[:1]
    leave(serve(inherited, None))
