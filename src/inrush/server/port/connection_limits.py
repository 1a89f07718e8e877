"""Limits on the connections of the HTTP port: in all, and per peer.

No token is known yet when these limits apply, so they count what a connection costs: its being open, the seconds in
which it sends nothing, and the bytes that it leaves unread. A connection without a request in progress is *idle*. At a
limit the oldest idle connection is evicted in favour of the new one. So a flood of silent connections evicts its own
connections first, and callers that send requests are served meanwhile. One timer a second checks all connections, so
that a request needs no timer.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from inrush.linux import descriptors

TICK_S = 1.0
DESCRIPTORS_SHARE = 2
"""Connections to the HTTP port may take one part in so many of this process's limit of descriptors."""


class Connection(Protocol):
    """A connection, as its limits see it."""

    peer: str

    def tick(self, now: float) -> None:
        """Closes the connection if it is overdue at the time `now`."""

    def evict(self) -> None:
        """Closes the connection, which is idle, to make room for another."""


class Peer:
    """The connections of one peer."""

    __slots__ = ("connections", "idle")

    def __init__(self) -> None:
        self.connections = 0
        self.idle: dict[Connection, None] = {}


class ConnectionLimits:
    """The connections of a listener, of which there are at most `most`, and `most_of_peer` of one peer. They take at
    most one part in `share` of this process's limit of descriptors."""

    def __init__(self, most: int, most_of_peer: int, share: int = DESCRIPTORS_SHARE) -> None:
        self.most = max(1, min(most, descriptors.limit() // share))
        self.most_of_peer = max(1, most_of_peer)
        self._connections: dict[Connection, Peer] = {}
        self._idle: dict[Connection, None] = {}
        self._peers: dict[str, Peer] = {}
        self._ticker: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def enter(self, connection: Connection) -> bool:
        """Adds a connection, which is idle at first. Returns False if there is no room for it."""
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
        """Notes that a connection has a request in progress."""
        peer = self._connections.get(connection)
        if peer is not None:
            self._idle.pop(connection, None)
            peer.idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        """Notes that a connection is idle, as the youngest idle one."""
        peer = self._connections.get(connection)
        if peer is not None:
            self._idle[connection] = peer.idle[connection] = None

    def leave(self, connection: Connection) -> None:
        """Removes a connection that has ended, or whose socket has another protocol now."""
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
    """The peer to which an address belongs: the address itself, and for IPv6, which is assigned by networks, its first
    64 bits."""
    if ":" not in address:
        return address
    import ipaddress

    found = ipaddress.IPv6Address(address.partition("%")[0])
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return found.exploded[:19]
