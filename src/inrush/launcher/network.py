"""The network of containers: a bridge of the node's own, a pair of links for each container, and one nft table.

Containers go out by masquerading. What they may not: reach the node itself by any of its addresses (everything that
comes in by the bridge for the node is rejected), nor each other (isolated bridge ports, and no forwarding from
bridge to bridge), nor send under an address that is not theirs; nothing comes in that they did not ask for. IPv6 is
off on the bridge.

A network namespace with its link takes about 2 ms to make, so some are kept ready for each app.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import socket
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inrush.launcher import firewall
from inrush.launcher.maker import Maker
from inrush.linux import links, messages, namespaces

_AT_ONCE, _SOON_S = 8, 0.1
"""In a burst namespaces are asked for some at a time: the next are made while the launcher connects the first."""
_IDLE_S = 60.0
_LOCAL_MAC = b"\x02\x69"
"""How hardware addresses begin that no manufacturer has given out."""
READY, MAX_KEPT = 2, 256
"""For each app: namespaces made ahead, and the most that are kept of those that containers have left."""


@dataclass(frozen=True, slots=True)
class Net:
    """A network namespace with a link out. Closing `fd` after the container has ended frees all of it."""

    fd: int
    address: str
    link: str


class Network:
    """The bridge, the table and the links of one launcher; nothing is made before the first container asks."""

    def __init__(self, tag: str, maker: Callable[[int], Maker]) -> None:
        self.bridge = f"inrush{tag}"
        self.table = f"inrush_{tag}"
        self._ready: dict[int, deque[Net]] = {}
        self._maker = maker
        self._bare: dict[int, deque[int]] = {}
        self._made_at = self._taken_at = 0.0
        self._addresses: Iterator[str] = iter(())
        self._free: deque[str] = deque()
        self._netlink: links.Netlink | None = None
        self._bridge_index = 0
        self._gateway = ""
        self._mtu = 1500
        self._home = -1

    def take(self, userns: int) -> Net:
        """A namespace owned by the app's user namespace, ready or made now."""
        self._taken_at = time.monotonic()
        ready = self._ready.setdefault(userns, deque())
        return ready.popleft() if ready else self._make(userns)

    def give_back(self, userns: int, net: Net, again: bool) -> None:
        """No process is left in `net`. `again`: it serves a later container of the same app, as nothing in it could be
        changed without capabilities; taking one down holds the kernel's network lock for milliseconds.
        """
        ready = self._ready.get(userns)
        if not again or ready is None or len(ready) >= MAX_KEPT:
            self._discard(net)
        else:
            ready.append(net)

    def expect(self, userns: int) -> None:
        """Begin to keep some ready for an app."""
        self._ready.setdefault(userns, deque())

    def refill(self, userns: int) -> None:
        """Make one more for an app that has fewer than `READY`; call when nothing else is to do."""
        ready = self._ready.setdefault(userns, deque())
        if len(ready) < READY:
            ready.append(self._make(userns))

    def wanting(self) -> int | None:
        """An app whose stock is low."""
        return next((userns for userns, ready in self._ready.items() if len(ready) < READY), None)

    def trim(self) -> bool:
        """Let one go of an app that has many and has not asked for a while; whether there may be more."""
        if time.monotonic() - self._taken_at < _IDLE_S:
            return False
        many = next((ready for ready in self._ready.values() if len(ready) > READY), None)
        if many is not None:
            self._discard(many.popleft())
        return many is not None

    def drain(self, userns: int) -> None:
        """The app has no template any more."""
        for net in self._ready.pop(userns, ()):
            self._discard(net)
        messages.close_all(self._bare.pop(userns, ()))

    def _discard(self, net: Net) -> None:
        os.close(net.fd)  # the kernel takes link and address down with the namespace, in its own time
        self._free.append(net.address)

    def _make(self, userns: int) -> Net:
        self._route()
        bare = self._bare.setdefault(userns, deque())
        if not bare:
            maker, wrong = self._maker(userns), []
            now = time.monotonic()
            count = _AT_ONCE if now - self._made_at < _SOON_S else 1

            def done(fds: list[int], error: str) -> None:
                if self._bare.get(userns) is bare:
                    bare.extend(fds)
                else:  # the app has gone meanwhile
                    messages.close_all(fds)
                wrong.extend([error] if error else [])

            maker.nets(count, done)
            while not bare and not wrong:
                maker.wait()
            if not bare:
                raise OSError(f"no network namespace could be made ({wrong[0]}): see sysctl user.max_net_namespaces")
            self._made_at = now
        return self._connect(bare.popleft())

    def _connect(self, fd: int) -> Net:
        route = self._route()
        address = next(self._addresses, None) or self._free.popleft()
        link = f"{self.bridge}-{int(ipaddress.IPv4Address(address)) % 0x10000:x}"
        route.add_veth(link, self._bridge_index, "eth0", fd, self._mtu)
        route.isolate(socket.if_nametoindex(link))
        namespaces.setns(fd, namespaces.NEWNET)
        try:
            inside = links.Netlink()
            links.loopback_up()
            index = socket.if_nametoindex("eth0")
            inside.add_address(index, address, 16)
            inside.up(index)
            inside.add_default_route(self._gateway)
            inside.close()
        finally:
            namespaces.setns(self._home, namespaces.NEWNET)
        return Net(fd, address, link)

    def _route(self) -> links.Netlink:
        if self._netlink is None:
            self._mtu = _outbound_mtu()
            self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            route = links.Netlink()
            with firewall.alone():
                route.delete(self.bridge)
                subnet = free_subnet(self.bridge, _routes(), _resolvers())
                self._gateway = str(subnet.network_address + 1)
                self._set_up(route, str(subnet))
            self._addresses = map(str, itertools.islice(subnet.hosts(), 1, None))
            self._netlink = route
        return self._netlink

    def _set_up(self, route: links.Netlink, subnet: str) -> None:
        route.add_bridge(self.bridge, _LOCAL_MAC + zlib.crc32(self.bridge.encode()).to_bytes(4))
        self._bridge_index = socket.if_nametoindex(self.bridge)
        with contextlib.suppress(OSError):
            Path(f"/proc/sys/net/ipv6/conf/{self.bridge}/disable_ipv6").write_text("1")
        firewall.set_up(self.table, self.bridge, subnet)
        route.add_address(self._bridge_index, self._gateway, 16)


def sweep(tag: str) -> None:
    """Remove all of a launcher's links and what its firewall has. Nothing there is fine."""
    with firewall.alone():
        _sweep(f"inrush{tag}", f"inrush_{tag}")


def _sweep(bridge: str, table: str) -> None:
    left = links.names(f"{bridge}-") + links.names(bridge)
    if left:
        firewall.tear_down(table, bridge)
        with contextlib.suppress(OSError):
            route = links.Netlink()
            for name in left:  # the bridge is last: while it is there, so may the table be
                route.delete(name)
            route.close()
    firewall.restore_forwarding(links.names("inrush"))


def free_subnet(seed: str, routes: Iterable[str], hosts: Iterable[str]) -> ipaddress.IPv4Network:
    """A private /16 that no route of the node overlaps and no resolver is in; the same for the same seed while that
    is so.
    """
    taken = [ipaddress.ip_network(r) for r in routes] + [ipaddress.ip_network(h) for h in hosts]
    first = zlib.crc32(seed.encode()) % 256
    for step in range(256):
        candidate = ipaddress.IPv4Network(f"10.{(first + step) % 256}.0.0/16")
        if not any(candidate.overlaps(t) for t in taken if t.version == 4):
            return candidate
    raise OSError("no private /16 below 10.0.0.0/8 is free of the node's own routes")


def _routes() -> list[str]:
    found = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        _, destination, _, _, _, _, _, mask, *_ = line.split()
        if mask != "00000000":
            network, bits = (int.from_bytes(bytes.fromhex(x), "little") for x in (destination, mask))
            found.append(f"{ipaddress.IPv4Address(network)}/{bits.bit_count()}")
    return found


def _outbound_mtu() -> int:
    """That of the link of the default route: a larger one inside would make packets that must be cut on their way."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        link, destination, *_ = line.split()
        if destination == "00000000":
            return int(Path(f"/sys/class/net/{link}/mtu").read_text())
    return 1500


def _resolvers() -> list[str]:
    with contextlib.suppress(OSError):
        lines = [line.split() for line in Path("/etc/resolv.conf").read_text().splitlines()]
        return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver" and ":" not in words[1]]
    return []
