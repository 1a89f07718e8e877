"""The network of containers: for each a pair of links with an address that is its own, and one nft table.

    container's eth0 ═══ inrushTAG-xxxx ── routes of the node, nft ── outside
       10.x.a.b/32        10.x.a.b/32 lies behind it

No two containers share an Ethernet: what a container sends comes out at its own end on the node, which routes it or
drops it. So there is nobody to deceive by ARP, no switch that learns addresses, and nothing of a neighbour to listen
to, whatever rights a process has in the container. A packet passes only if it is IPv4 and the address that it comes
from is routed to the very link by which it came (a strict reverse path). Containers go out by masquerading. They
do not reach the node by any of its addresses, nor each other, nor what the setting `blocked_addresses` names;
nothing comes in that they did not ask for. A device without ports, named `inrushTAG`, holds the subnet and the
gateway's address, so that other launchers of the node see that they are taken.

A network namespace with its links takes about 2 ms to make, so some are kept ready for each app.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inrush.launcher import firewall, routes
from inrush.launcher.maker import Maker
from inrush.launcher.usernet import UserNetwork
from inrush.linux import links, messages, namespaces

_AT_ONCE, _SOON_S = 8, 0.1
"""In a burst namespaces are asked for some at a time: the next are made while the launcher connects the first."""
_IDLE_S = 60.0
_LOCAL_MAC = b"\x02\x69"
"""How hardware addresses begin that no manufacturer has given out."""
_INSIDE = "eth0"
READY, MAX_KEPT = 2, 256
"""For each app: namespaces made ahead, and the most that are kept of those that containers have left."""


@dataclass(frozen=True, slots=True)
class Net:
    """A network namespace with a link out. Closing `fd` after the container has ended frees all of it."""

    fd: int
    address: str
    link: str


class Network:
    """The links and the table of one launcher; nothing is made before the first container asks. `blocked` are the
    networks that containers may not reach. `usernet` is the way out where the launcher's own network is not the node's.
    """

    def __init__(
        self,
        tag: str,
        maker: Callable[[], Maker],
        blocked: Sequence[str] = (),
        usernet: UserNetwork | None = None,
    ) -> None:
        self.device = f"inrush{tag}"
        self.table = f"inrush_{tag}"
        self._blocked = blocked
        self._usernet = usernet
        self._ready: dict[int, deque[Net]] = {}
        self._maker = maker
        self._bare: dict[int, deque[int]] = {}
        self._made_at = self._taken_at = 0.0
        self._addresses: Iterator[str] = iter(())
        self._free: deque[str] = deque()
        self._netlink: links.Netlink | None = None
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
        if self._netlink is None:
            self._set_up()
        bare = self._bare.setdefault(userns, deque())
        if not bare:
            maker, wrong = self._maker(), []
            now = time.monotonic()
            count = _AT_ONCE if now - self._made_at < _SOON_S else 1

            def done(fd: int, error: str) -> None:
                if error:
                    wrong.append(error)
                elif self._bare.get(userns) is bare:
                    bare.append(fd)
                else:  # the app has gone meanwhile
                    os.close(fd)

            maker.nets(userns, count, done)
            while not bare and not wrong:
                maker.wait()
            if not bare:
                raise OSError(f"no network namespace could be made ({wrong[0]}): see sysctl user.max_net_namespaces")
            self._made_at = now
        return self.connect(bare.popleft())

    def connect(self, fd: int) -> Net:
        """Give a network namespace, which has none, its link and its address."""
        outside = self._netlink or self._set_up()
        address = next(self._addresses, None) or self._free.popleft()
        raw = ipaddress.IPv4Address(address).packed
        link = f"{self.device}-{raw[2]:x}{raw[3]:02x}"
        outside.add_veth(link, _INSIDE, fd, _LOCAL_MAC + raw, self._mtu)
        _without_ipv6(link)
        outside.add_host_route(address, outside.index(link), self._gateway)
        namespaces.setns(fd, namespaces.NEWNET)
        try:
            inside = links.Netlink()
            links.loopback_up()
            index = inside.index(_INSIDE)
            inside.add_address(index, address, 32)
            inside.up(index)
            inside.add_default_route(self._gateway, index)
            inside.close()
        finally:
            namespaces.setns(self._home, namespaces.NEWNET)
        return Net(fd, address, link)

    def _set_up(self) -> links.Netlink:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        outside = links.Netlink()
        self._mtu = routes.outbound_mtu(outside)
        taken = self._usernet.taken if self._usernet else []
        with firewall.alone():
            outside.delete(self.device)
            subnet = routes.free_subnet(self.device, [*routes.taken(), *taken], routes.resolvers())
            self._gateway = str(subnet.network_address + 1)
            outside.add_bridge(self.device, _LOCAL_MAC + zlib.crc32(self.device.encode()).to_bytes(4))
            firewall.set_up(self.table, self.device, str(subnet), self._blocked)
            outside.add_address(outside.index(self.device), self._gateway, 16)
        self._forbid()
        self._addresses = map(str, itertools.islice(subnet.hosts(), 1, None))
        self._netlink = outside
        return outside

    def addresses_changed(self) -> None:
        """The node has other addresses than before."""
        if self._netlink is not None:
            self._forbid()

    def _forbid(self) -> None:
        if self._usernet is not None:
            firewall.forbid(self.table, self._usernet.forbidden())


def _without_ipv6(link: str) -> None:
    """The table drops what comes of it; this spares the kernel the looking for neighbours."""
    with contextlib.suppress(OSError):
        Path(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6").write_text("1")


def try_out() -> None:
    """Make the table and one pair of links, as for a container, in the present network namespace, which must be the
    caller's own. Raises `OSError` where that cannot be.
    """
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")  # so that nobody believes that it was the node's
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    namespaces.unshare(namespaces.NEWNET)
    inside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    namespaces.setns(own, namespaces.NEWNET)
    Network("-try", _no_maker).connect(inside)


def _no_maker() -> Maker:
    raise OSError("a trial has no makers")


def sweep(tag: str) -> None:
    """Remove all of a launcher's links and what its firewall has. Nothing there is fine."""
    with firewall.alone():
        _sweep(f"inrush{tag}", f"inrush_{tag}")


def _sweep(device: str, table: str) -> None:
    firewall.tear_down(table, device)
    left = [*links.names(f"{device}-"), *(name for name in links.names(device) if name == device)]
    if left:
        with contextlib.suppress(OSError):
            outside = links.Netlink()
            for name in left:
                outside.delete(name)
            outside.close()
    firewall.restore_forwarding(links.names("inrush"))
