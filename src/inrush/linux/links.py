"""Network links, addresses and routes, by netlink messages (a `ip` command costs some milliseconds each, these 0.1)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

_REQUEST, _ACK, _CREATE, _EXCL = 1, 4, 0x400, 0x200
_NEWLINK, _DELLINK, _SETLINK, _NEWADDR, _NEWROUTE = 16, 17, 19, 20, 24
_NESTED = 0x8000
_ADDRESS, _IFNAME, _MTU, _MASTER, _LINKINFO, _PROTINFO, _NS_FD = 1, 3, 4, 10, 18, 12, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER, _BRPORT_ISOLATED = 1, 2, 1, 33
_UP = 1


def loopback_up() -> None:
    """Bring `lo` of this network namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", _UP | 64))


class Netlink:
    """A route socket into the network namespace in which it is made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def add_bridge(self, name: str, mac: bytes) -> None:
        """A bridge, up, with a hardware address of its own: else it would take the lowest of its ports, another one
        with each that comes or goes, and who had learned the last would send into the void for half a minute.
        """
        info = _nest(_LINKINFO, _attribute(_INFO_KIND, b"bridge"))
        body = _link(flags=_UP) + _text(_IFNAME, name) + _attribute(_ADDRESS, mac) + info
        self._do(_NEWLINK, _CREATE | _EXCL, body, f"bridge {name}")

    def add_veth(self, name: str, bridge: int, peer: str, peer_netns: int, mtu: int) -> None:
        """A pair: `name` here, up and on `bridge` (an index), and `peer` in another network namespace."""
        there = _link() + _text(_IFNAME, peer) + _number(_MTU, mtu) + _number(_NS_FD, peer_netns)
        data = _nest(_INFO_DATA, _nest(_VETH_PEER, there))
        info = _nest(_LINKINFO, _attribute(_INFO_KIND, b"veth") + data)
        body = _link(flags=_UP) + _text(_IFNAME, name) + _number(_MTU, mtu) + _number(_MASTER, bridge) + info
        self._do(_NEWLINK, _CREATE | _EXCL, body, f"veth {name}")

    def up(self, index: int) -> None:
        """Bring a link up."""
        self._do(_NEWLINK, 0, _link(index=index, flags=_UP), "bringing a link up")

    def isolate(self, index: int) -> None:
        """Let a port of a bridge talk to the bridge's own machine only, not to other isolated ports."""
        body = _link(family=socket.AF_BRIDGE, index=index) + _nest(_PROTINFO, _attribute(_BRPORT_ISOLATED, b"\x01"))
        self._do(_SETLINK, 0, body, "isolating a bridge port")

    def add_address(self, index: int, address: str, prefix: int) -> None:
        """An IPv4 address for a link."""
        raw = socket.inet_aton(address)
        body = struct.pack("BBBBI", socket.AF_INET, prefix, 0, 0, index) + _attribute(2, raw) + _attribute(1, raw)
        self._do(_NEWADDR, _CREATE | _EXCL, body, f"address {address}")

    def add_default_route(self, gateway: str) -> None:
        """The IPv4 default route."""
        body = struct.pack("BBBBBBBBI", socket.AF_INET, 0, 0, 0, 254, 3, 0, 1, 0) + _attribute(
            5, socket.inet_aton(gateway)
        )
        self._do(_NEWROUTE, _CREATE, body, f"default route by {gateway}")

    def delete(self, name: str) -> None:
        """Remove a link (of a pair, both ends); none there is fine."""
        try:
            self._do(_DELLINK, 0, _link() + _text(_IFNAME, name), f"link {name}")
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def _do(self, kind: int, flags: int, body: bytes, what: str) -> None:
        self._sequence += 1
        self._socket.send(struct.pack("IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, self._sequence, 0) + body)
        answer = self._socket.recv(65536)
        code = struct.unpack_from("i", answer, 16)[0]
        if code < 0:
            raise OSError(-code, os.strerror(-code), what)


def names(prefix: str) -> list[str]:
    """Links of this network namespace whose name begins with `prefix`."""
    return [name for _, name in socket.if_nameindex() if name.startswith(prefix)]


def _link(family: int = 0, index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("BxHiII", family, 0, index, flags, flags)


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("HH", 4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("I", value))


def _nest(kind: int, payload: bytes) -> bytes:
    return _attribute(kind | _NESTED, payload)
