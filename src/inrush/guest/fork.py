"""What a container forked from a template has to make its own: chance, threads, connections."""

from __future__ import annotations

import contextlib
import os
import socket

from inrush.guest.chance import Chance
from inrush.guest.output import Output
from inrush.guest.pools import Pools
from inrush.guest.settle import descriptors


class Inherited:
    """What a template keeps for its children. Made before user code; `rest` when the template is done, `renew` first in
    each child, `restore` after its environment is set."""

    def __init__(self) -> None:
        self.output = Output()
        self._pools = Pools()
        self._chance: Chance | None = None
        self._connections: list[int] = []

    def rest(self) -> None:
        """Nothing of the template's own runs after this."""
        self.output.flush()
        self._pools.rest()
        self._chance = Chance()
        self._connections = _connections()

    def renew(self) -> None:
        """In a child: what it must not share with others."""
        if self._chance is not None:
            self._chance.renew()
        for fd in self._connections:
            _hang_up(fd)

    def restore(self) -> None:
        """What the environment decides."""
        self._pools.restore()


def _connections() -> list[int]:
    """Network sockets. Two containers that spoke over one connection would take each other's answers."""
    return [fd for fd, path in descriptors().items() if path.startswith("socket:") and _is_network(fd)]


def _is_network(fd: int) -> bool:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as sock:
        return sock.family in (socket.AF_INET, socket.AF_INET6)
    return False


def _hang_up(fd: int) -> None:
    """To its owner the other side has closed the connection; the template's, and so its other children's, stays."""
    ours, theirs = socket.socketpair()
    theirs.close()
    os.dup2(ours.fileno(), fd, inheritable=False)
    ours.close()
