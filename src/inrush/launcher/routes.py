"""The routes and resolvers of the node, from which the network of containers takes a free range of addresses, its MTU,
and the links that lead to the outside."""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from inrush.launcher import overlay
from inrush.linux import links

_DEFAULT_MTU = 1500


def free_subnet(seed: str, routes: Iterable[str], hosts: Iterable[str]) -> ipaddress.IPv4Network:
    """A private /16 that overlaps no route of the node and contains no resolver. The same seed gives the same network
    as long as that is free."""
    taken = [ipaddress.ip_network(r) for r in routes] + [ipaddress.ip_network(h) for h in hosts]
    first = zlib.crc32(seed.encode()) % 256
    for step in range(256):
        candidate = ipaddress.IPv4Network(f"10.{(first + step) % 256}.0.0/16")
        if not any(candidate.overlaps(t) for t in taken if t.version == 4):
            return candidate
    raise OSError("every /16 of 10.0.0.0/8 overlaps a route or a resolver of the node: free one for containers")


def taken() -> list[str]:
    """The networks to which the node has routes, without the default route."""
    return [network for _, network, _ in _routes() if network != "0.0.0.0/0"]


def ways_out() -> list[str]:
    """The links of the node's default routes."""
    return sorted({link for link, network, _ in _routes() if network == "0.0.0.0/0"})


def outbound_mtu(outside: links.Netlink) -> int:
    """The MTU of the link of the default route. A larger one inside of containers would cause fragmentation."""
    return min(map(outside.mtu, ways_out()), default=_DEFAULT_MTU)


def resolvers() -> list[str]:
    """The IPv4 addresses of the resolvers in the containers' resolv.conf."""
    lines = [line.split() for line in overlay.resolv_conf().splitlines()]
    named = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    return [address for address in named if _is_ipv4(address)]


def _is_ipv4(text: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False


def _routes() -> Iterator[tuple[str, str, str]]:
    """(link, network, gateway) of each IPv4 route of this network namespace."""
    for line in Path("/proc/thread-self/net/route").read_text().splitlines()[1:]:
        link, destination, gateway, _, _, _, _, mask, *_ = line.split()
        network, by, bits = (int.from_bytes(bytes.fromhex(x), "little") for x in (destination, gateway, mask))
        yield link, f"{ipaddress.IPv4Address(network)}/{bits.bit_count()}", str(ipaddress.IPv4Address(by))
