"""Network links, addresses and routes, by netlink messages: one takes 0.1 ms, where an `ip` command takes some ms."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

_REQUEST, _ACK, _DUMP, _CREATE, _EXCL = 1, 4, 0x300, 0x400, 0x200
_DONE, _NEWLINK, _DELLINK, _NEWADDR, _GETADDR, _NEWROUTE = 3, 16, 17, 20, 22, 24
_NESTED = 0x8000
_ADDRESS, _IFNAME, _MTU, _LINKINFO, _NS_FD = 1, 3, 4, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_DST, _OIF, _GATEWAY, _PREFSRC = 1, 4, 5, 7
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_UP, _NOARP, _MULTICAST = 1, 0x80, 0x1000
_MAIN_TABLE, _STATIC, _UNIVERSE, _LINK_SCOPE, _UNICAST, _ONLINK = 254, 4, 0, 253, 1, 4
_GET_MTU, _GET_INDEX = 0x8921, 0x8933
IPV4_ADDRESSES, IPV4_ROUTES = 0x10, 0x40
"""The multicast groups of netlink that report IPv4 addresses and routes which come and go."""


def loopback_up() -> None:
    """Brings `lo` of this network namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", _UP | 64))


class Netlink:
    """A netlink socket. It stays in the network namespace in which it was made, also when its process leaves that."""

    def __init__(self, groups: int = 0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0
        if groups:
            self._socket.bind((0, groups))

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor, to poll for reports of the groups."""
        return self._socket.fileno()

    def add_bridge(self, name: str, mac: bytes) -> None:
        """Adds a bridge and brings it up. A bridge without ports is a device that holds an address and a subnet."""
        info = _nest(_LINKINFO, _attribute(_INFO_KIND, b"bridge"))
        body = _link(flags=_UP) + _text(_IFNAME, name) + _attribute(_ADDRESS, mac) + info
        self._do(_NEWLINK, _CREATE | _EXCL, body, f"bridge {name}")

    def add_veth(self, name: str, peer: str, peer_netns: int, mac: bytes, mtu: int) -> None:
        """Adds a veth pair: `name` here, which is up, and `peer` in another network namespace, where it is brought up
        later.

        Neither end uses ARP or multicast. On a link without ARP the kernel sends every packet to the link's own
        hardware address, so both ends have the same address, and nobody can learn another.
        """
        both = _number(_MTU, mtu) + _attribute(_ADDRESS, mac)
        here, there = (_link(flags=up | _NOARP, changed=up | _NOARP | _MULTICAST) for up in (_UP, 0))
        there += _text(_IFNAME, peer) + both + _number(_NS_FD, peer_netns)
        data = _nest(_INFO_DATA, _nest(_VETH_PEER, there))
        info = _nest(_LINKINFO, _attribute(_INFO_KIND, b"veth") + data)
        self._do(_NEWLINK, _CREATE | _EXCL, here + _text(_IFNAME, name) + both + info, f"veth {name}")

    def up(self, index: int) -> None:
        """Brings a link up."""
        self._do(_NEWLINK, 0, _link(index=index, flags=_UP), "bringing a link up")

    def index(self, name: str) -> int:
        """The index of a link of this namespace."""
        answer = fcntl.ioctl(self._socket, _GET_INDEX, struct.pack("16si20x", name.encode(), 0))
        return int(struct.unpack_from("i", answer, 16)[0])

    def mtu(self, name: str) -> int:
        """The MTU of a link of this namespace, in bytes."""
        answer = fcntl.ioctl(self._socket, _GET_MTU, struct.pack("16si20x", name.encode(), 0))
        return int(struct.unpack_from("i", answer, 16)[0])

    def add_address(self, index: int, address: str, prefix: int) -> None:
        """Gives a link an IPv4 address."""
        raw = socket.inet_aton(address)
        body = struct.pack("BBBBI", socket.AF_INET, prefix, 0, 0, index)
        both = _attribute(_IFA_LOCAL, raw) + _attribute(_IFA_ADDRESS, raw)
        self._do(_NEWADDR, _CREATE | _EXCL, body + both, f"address {address}")

    def add_host_route(self, address: str, index: int, source: str) -> None:
        """Adds a route to one IPv4 address behind a link. Packets to it come from `source`, an address of this
        namespace."""
        body = _route(32, _LINK_SCOPE) + _attribute(_DST, socket.inet_aton(address)) + _number(_OIF, index)
        self._do(_NEWROUTE, _CREATE, body + _attribute(_PREFSRC, socket.inet_aton(source)), f"route to {address}")

    def add_default_route(self, gateway: str, index: int) -> None:
        """Adds the IPv4 default route through a gateway behind this link, which need not be in the link's own
        subnet."""
        body = _route(0, _UNIVERSE, _ONLINK) + _number(_OIF, index)
        self._do(_NEWROUTE, _CREATE, body + _attribute(_GATEWAY, socket.inet_aton(gateway)), f"route by {gateway}")

    def delete(self, name: str) -> None:
        """Removes a link, and with one end of a veth pair the other. A link that does not exist is no error."""
        try:
            self._do(_DELLINK, 0, _link() + _text(_IFNAME, name), f"link {name}")
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def addresses(self) -> list[tuple[int, str, int]]:
        """All IPv4 addresses of this namespace, each as the link's index, the address and its prefix length."""
        self._send(_GETADDR, _DUMP, struct.pack("BBBBI", socket.AF_INET, 0, 0, 0, 0))
        found: list[tuple[int, str, int]] = []
        while True:
            answer = self._socket.recv(1 << 18)
            while answer:
                length, kind, _, sequence, _ = struct.unpack_from("IHHII", answer)
                if sequence == self._sequence and kind == _DONE:
                    return found
                if sequence == self._sequence and kind == _NEWADDR:
                    found.append(_address(answer[16:length]))
                answer = answer[(length + 3) & ~3 :]

    def drain(self) -> None:
        """Discards the pending reports of the groups."""
        try:
            while self._socket.recv(1 << 16, socket.MSG_DONTWAIT):
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # some reports were lost, which does not matter
                raise

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        self._socket.send(struct.pack("IHHII", 16 + len(body), kind, _REQUEST | flags, self._sequence, 0) + body)

    def _do(self, kind: int, flags: int, body: bytes, what: str) -> None:
        self._send(kind, _ACK | flags, body)
        answer = self._socket.recv(65536)
        code = struct.unpack_from("i", answer, 16)[0]
        if code < 0:
            raise OSError(-code, os.strerror(-code), what)


def names(prefix: str) -> list[str]:
    """Links of this network namespace whose name begins with `prefix`."""
    return [name for _, name in socket.if_nameindex() if name.startswith(prefix)]


def _address(message: bytes) -> tuple[int, str, int]:
    _, prefix, _, _, index = struct.unpack_from("BBBBI", message)
    values, rest = {}, message[8:]
    while len(rest) >= 4:
        length, kind = struct.unpack_from("HH", rest)
        values[kind] = rest[4:length]
        rest = rest[(length + 3) & ~3 :]
    return index, socket.inet_ntoa(values.get(_IFA_LOCAL) or values[_IFA_ADDRESS]), prefix


def _link(index: int = 0, flags: int = 0, changed: int | None = None) -> bytes:
    return struct.pack("BxHiII", 0, 0, index, flags, flags if changed is None else changed)


def _route(prefix: int, scope: int, flags: int = 0) -> bytes:
    return struct.pack("BBBBBBBBI", socket.AF_INET, prefix, 0, 0, _MAIN_TABLE, _STATIC, scope, _UNICAST, flags)


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("HH", 4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("I", value))


def _nest(kind: int, payload: bytes) -> bytes:
    return _attribute(kind | _NESTED, payload)
