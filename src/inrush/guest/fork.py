"""After a fork, the container must reseed its random generators, restart its thread pools and close inherited
connections."""

from __future__ import annotations

import contextlib
import os
import socket

from inrush.guest.output import Output
from inrush.guest.pools import Pools
from inrush.guest.randomness import RandomGenerators
from inrush.guest.settle import descriptors


class Inherited:
    """State of a template that each child has to renew. It is made before user code is loaded. The template calls
    `rest` when it has loaded everything; each child calls `renew` first, and `restore` once its environment is set."""

    def __init__(self) -> None:
        self.output = Output()
        self._pools = Pools()
        self._generators: RandomGenerators | None = None
        self._connections: list[int] = []

    def rest(self) -> None:
        """Notes what children have to renew. The template runs no user code after this."""
        self.output.flush()
        self._pools.rest()
        self._generators = RandomGenerators()
        self._connections = _connections()

    def renew(self) -> None:
        """Reseeds the random generators and closes inherited connections; called first in each child."""
        if self._generators is not None:
            self._generators.renew()
        for fd in self._connections:
            _hang_up(fd)

    def restore(self) -> None:
        """Sets the sizes of thread pools, which the child's environment decides."""
        self._pools.restore()


def _connections() -> list[int]:
    """The descriptors of network sockets: two containers that share a connection would read each other's answers."""
    return [fd for fd, path in descriptors().items() if path.startswith("socket:") and _is_network(fd)]


def _is_network(fd: int) -> bool:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as sock:
        return sock.family in (socket.AF_INET, socket.AF_INET6)
    return False


def _hang_up(fd: int) -> None:
    """Replaces the descriptor by a socket whose peer has closed. User code sees a closed connection, while the
    template's copy, which its other children inherit, stays open."""
    ours, theirs = socket.socketpair()
    theirs.close()
    os.dup2(ours.fileno(), fd, inheritable=False)
    ours.close()
