"""The network of containers: each has a veth pair with an address of its own, and all share one nft table.

    container's eth0 ═══ inrushTAG-xxxx ── routes of the node, nft ── outside
       10.x.a.b/32        10.x.a.b/32 lies behind it

No two containers share an Ethernet segment: what a container sends arrives at its own link on the node, which routes it
or drops it. So no process of a container, whatever its rights, can spoof ARP, take another's address or read another's
traffic. A packet passes only if it is IPv4 and its source address is routed to the link on which it came (strict
reverse path filtering). Connections to the outside are masqueraded. Containers cannot reach the node by any of its
addresses, nor each other, nor the networks of the setting `blocked_addresses`, and nothing can connect to them. The one
exception is the `entrance`, a socket at the gateway's address on which the server serves endpoints to containers. A
bridge without ports, named `inrushTAG`, holds the subnet and the gateway's address, so that other launchers of the node
see that they are taken.

A network namespace with its links takes about 2 ms to make, so some are kept ready for each app.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import socket
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inrush.launcher import firewall, routes
from inrush.launcher.maker import Maker
from inrush.launcher.tablewatch import TableWatch
from inrush.launcher.usernet import UserNetwork
from inrush.linux import links, messages, namespaces

_AT_ONCE, _SOON_S = 8, 0.1
"""During a burst, namespaces are requested eight at a time, so that the next are made while the launcher connects the
first. Requests within the second number of seconds count as a burst."""
_IDLE_S = 60.0
_LOCAL_MAC = b"\x02\x69"
"""The first bytes of hardware addresses: locally administered ones, which no manufacturer assigns."""
_INSIDE = "eth0"
_BACKLOG = 512
READY, MAX_KEPT = 2, 256
"""For each app, how many networks are made ahead, and how many are kept for reuse at most."""


@dataclass(frozen=True, slots=True)
class Net:
    """A network namespace with a link to the outside. Closing `fd` after the container has ended frees all of it."""

    fd: int
    address: str
    link: str


class Network:
    """The links and the table of one launcher, which are made when the first container needs them. `blocked` are the
    networks that containers may not reach. `usernet` is set if the launcher has a network namespace of its own."""

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
        self.watch = TableWatch(self.table)
        self._subnet = ""
        self._ready: dict[int, deque[Net]] = {}
        self._maker = maker
        self._bare: dict[int, deque[int]] = {}
        self._made_at = self._taken_at = 0.0
        self._addresses: Iterator[str] = iter(())
        self._free: deque[str] = deque()
        self._netlink: links.Netlink | None = None
        self._gateway = ""
        self._entrance: socket.socket | None = None
        self._mtu = 1500
        self._home = -1

    def take(self, userns: int) -> Net:
        """A network that the app's user namespace owns, ready or made now. Raises `OSError` if it cannot be made."""
        self._taken_at = time.monotonic()
        ready = self._ready.setdefault(userns, deque())
        return ready.popleft() if ready else self._make(userns)

    def give_back(self, userns: int, net: Net, again: bool) -> None:
        """Takes back a network in which no process is left. With `again` it is kept for another container of the same
        app, which is safe since nothing in it can be changed without capabilities; removing a network holds the
        kernel's network lock for milliseconds."""
        ready = self._ready.get(userns)
        if not again or ready is None or len(ready) >= MAX_KEPT:
            self._discard(net)
        else:
            ready.append(net)

    def expect(self, userns: int) -> None:
        """Begins to keep networks ready for an app."""
        self._ready.setdefault(userns, deque())

    def refill(self, userns: int) -> None:
        """Makes one more network for an app that has fewer than `READY`; called in idle time."""
        ready = self._ready.setdefault(userns, deque())
        if len(ready) < READY:
            ready.append(self._make(userns))

    def wanting(self) -> int | None:
        """The user namespace of an app that has fewer than `READY` networks; None if all have enough."""
        return next((userns for userns, ready in self._ready.items() if len(ready) < READY), None)

    def trim(self) -> bool:
        """Removes one network of an app that has more than `READY`, if none was taken for a while. Returns whether
        there may be more."""
        if time.monotonic() - self._taken_at < _IDLE_S:
            return False
        many = next((ready for ready in self._ready.values() if len(ready) > READY), None)
        if many is not None:
            self._discard(many.popleft())
        return many is not None

    def drain(self, userns: int) -> None:
        """Removes the networks of an app that has no template any more."""
        for net in self._ready.pop(userns, ()):
            self._discard(net)
        messages.close_all(self._bare.pop(userns, ()))

    def _discard(self, net: Net) -> None:
        os.close(net.fd)  # the kernel removes link and address with the namespace, some time later
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
                else:  # the app was drained meanwhile
                    os.close(fd)

            maker.nets(userns, count, done)
            while not bare and not wrong:
                maker.wait()
            if not bare:
                raise OSError(f"no network namespace could be made ({wrong[0]}): raise sysctl user.max_net_namespaces")
            self._made_at = now
        return self.connect(bare.popleft())

    def connect(self, fd: int) -> Net:
        """Gives an empty network namespace its link and its address."""
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
            self._subnet = str(subnet)
            outside.add_address(outside.index(self.device), self._gateway, 16)
        self._forbid()
        self.watch.removed()  # what `set_up` itself has replaced
        self._addresses = map(str, itertools.islice(subnet.hosts(), 1, None))
        self._netlink = outside
        return outside

    def entrance(self) -> socket.socket:
        """A listening socket that containers can connect to, at an address that only they can reach. It is made when it
        is asked for first. Raises `OSError` if that fails."""
        if self._entrance is None:
            if self._netlink is None:
                self._set_up()
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                made.bind((self._gateway, 0))
                made.listen(_BACKLOG)
                firewall.admit(self.table, _element(made))
            except OSError:
                made.close()
                raise
            self.watch.removed()  # the launcher itself has changed the table
            self._entrance = made
        return self._entrance

    def addresses_changed(self) -> None:
        """Updates the firewall after the node's addresses have changed."""
        if self._netlink is not None:
            self._forbid()

    def table_changed(self) -> None:
        """Puts the table again if something else on the node has removed any of it: without it, containers reach the
        node and each other."""
        if not self.watch.removed() or self._netlink is None:
            return
        try:
            entrance = _element(self._entrance) if self._entrance else ""
            firewall.put(self.table, self.device, self._subnet, self._blocked, entrance)
            self._forbid()
            self.watch.removed()
            sys.stderr.write(f"inrush: something has removed the nft table {self.table}, or a part of it: it is back\n")
        except OSError as error:
            sys.stderr.write(f"inrush: THE NETWORK OF CONTAINERS HAS NO WALLS, restart the server: {error}\n")

    def _forbid(self) -> None:
        if self._usernet is not None:
            firewall.forbid(self.table, self._usernet.forbidden())


def _element(listener: socket.socket) -> str:
    """The address of a socket as an element of the table's set."""
    address, port = listener.getsockname()
    return f"{address} . {port}"


def _without_ipv6(link: str) -> None:
    """Switches IPv6 off on a link. The table drops it anyway; this saves the kernel the neighbour discovery."""
    with contextlib.suppress(OSError):
        Path(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6").write_text("1")


def try_out() -> None:
    """Makes the table and one veth pair, as for a container, in this network namespace, which must be the caller's own.
    Raises `OSError` if that fails."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")  # so that `set_up` does not note a change of the node's
    # setting
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    namespaces.unshare(namespaces.NEWNET)
    inside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    namespaces.setns(own, namespaces.NEWNET)
    Network("-try", _no_maker).connect(inside)


def _no_maker() -> Maker:
    raise OSError("a trial makes no network namespaces by a maker")


def sweep(tag: str) -> None:
    """Removes all links of a launcher and its firewall, if they exist."""
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
