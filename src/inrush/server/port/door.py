"""How many connections the HTTP port has, from whom, and how long each may keep it waiting.

Nobody has shown a token yet when these limits are reached, so they count what costs us: an accepted connection, the
seconds that it sends nothing, and the bytes that it leaves unread. A connection without a request under way is *idle*.
At a limit the oldest idle one is closed in favour of the newcomer: whoever floods the port with silent connections
loses his own first, and a caller who sends a request is served all the while. Clocks are looked at once a second, for
all connections together, so that a request costs no timer.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Protocol

TICK_S = 1.0
DESCRIPTORS_SHARE = 2
"""Connections may take one in so many of the descriptors that this process may open."""


class Connection(Protocol):
    """What the door knows of one."""

    peer: str

    def tick(self, now: float) -> None:
        """Looks at the time; closes itself when it is overdue."""

    def evict(self) -> None:
        """Makes room for another: it has no request under way."""


class Peer:
    """What one address has."""

    __slots__ = ("connections", "idle")

    def __init__(self) -> None:
        self.connections = 0
        self.idle: dict[Connection, None] = {}


class Door:
    """All connections of a server."""

    def __init__(self, most: int, most_of_peer: int) -> None:
        self.most = max(1, min(most, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // DESCRIPTORS_SHARE))
        self.most_of_peer = max(1, most_of_peer)
        self._connections: dict[Connection, Peer] = {}
        self._idle: dict[Connection, None] = {}
        self._peers: dict[str, Peer] = {}
        self._ticker: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def enter(self, connection: Connection) -> bool:
        """A new one, idle at first. False where there is no room for it."""
        peer = self._peers.get(connection.peer)
        if peer is not None and peer.connections >= self.most_of_peer and not self._evict(peer.idle):
            return False
        if len(self._connections) >= self.most and not self._evict(self._idle):
            return False
        peer = self._peers.setdefault(connection.peer, Peer())
        peer.connections += 1
        self._connections[connection] = peer
        self.idle(connection)
        if self._ticker is None:
            self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        return True

    def _evict(self, idle: dict[Connection, None]) -> bool:
        oldest = next(iter(idle), None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.evict()
        return True

    def busy(self, connection: Connection) -> None:
        """It has a request under way."""
        peer = self._connections.get(connection)
        if peer is not None:
            self._idle.pop(connection, None)
            peer.idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        """It waits for the next request; the youngest of those that do."""
        peer = self._connections.get(connection)
        if peer is not None:
            self._idle[connection] = peer.idle[connection] = None

    def leave(self, connection: Connection) -> None:
        """It has ended, or another has taken over its socket."""
        self.busy(connection)
        peer = self._connections.pop(connection, None)
        if peer is not None:
            peer.connections -= 1
            if not peer.connections:
                del self._peers[connection.peer]

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._ticker = loop.call_later(TICK_S, self._tick) if self._connections else None
        now = loop.time()
        for connection in list(self._connections):
            connection.tick(now)


def peer_of(address: str) -> str:
    """Who an address counts as: of IPv6, which is given out by networks, the first 64 bits."""
    if ":" not in address:
        return address
    import ipaddress

    found = ipaddress.IPv6Address(address.partition("%")[0])
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return found.exploded[:19]
