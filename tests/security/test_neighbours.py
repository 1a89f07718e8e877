"""A process cannot disturb other containers on the network, even with every capability over its own container's
network. Each test lets it try while another container communicates with a machine outside.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deadline import DEADLINE_S
from inrush.launcher.machine import tag_of
from launcher.launched import HOST, OUTSIDE, PORT, Forked, Node, needs_root, outside_machine
from security import hostile

pytestmark = needs_root

_OWN = "(lambda s: (s.connect(('192.0.2.77', 9)), s.getsockname()[0])[1])(socket.socket(2, 2))"
_TALK = f"socket.create_connection(({OUTSIDE!r}, {PORT}), 5).recv(100).decode()"
_STRAY_PORT = 5353


@dataclass
class Street:
    """A launcher with two containers, one of them hostile."""

    victim: Forked
    hostile: Forked
    address: str
    """The victim's."""
    own: str
    """The hostile one's."""
    gateway: str
    device: str

    async def talks(self) -> None:
        """The victim gets its answers."""
        for _ in range(10):
            assert await self.victim.ask(_TALK) == repr(HOST)


@pytest.fixture
async def street(node: Node) -> AsyncIterator[Street]:
    with outside_machine():
        await node.template("t")
        victim, other = await node.fork("t"), await node.fork("t")
        address, own = [(await each.ask(_OWN)).strip("'") for each in (victim, other)]
        assert address != own
        gateway = ".".join([*address.split(".")[:2], "0", "1"])
        yield Street(victim, other, address, own, gateway, f"inrush{tag_of(node.state)}")


@contextlib.contextmanager
def watching(street: Street) -> Iterator[list[bytes]]:
    """Gathers, at its end, the frames that have left this machine for the one outside: all up to a last one, which the
    hostile container may send."""
    seen: list[bytes] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock:
        sock.bind((way_out(), 0))
        sock.settimeout(DEADLINE_S)
        yield seen
        hostile.run(street.hostile.started.pid, _LAST, target=OUTSIDE, port=_STRAY_PORT)
        while not seen or _LAST_WORDS not in seen[-1]:
            frame, where = sock.recvfrom(4000)
            if where[2] == socket.PACKET_OUTGOING:
                seen.append(frame)


_LAST_WORDS = b"that was all"
_LAST = f"""
print(socket.socket(type=socket.SOCK_DGRAM).sendto({_LAST_WORDS!r}, (GIVEN["target"], GIVEN["port"])))
"""


def way_out() -> str:
    """The link to the machine outside."""
    return f"irt{os.getpid() % 100000}"


_POISON = """
sock = raw()
print("up", flush=True)
got, end = [], time.monotonic() + 3
while time.monotonic() < end:
    for address in GIVEN["claimed"]:
        for mac in (MAC, bytes.fromhex(GIVEN["mac"])):
            for operation in (1, 2):
                sock.send(arp(operation, mac, address, GIVEN["gateway"]))
                sock.send(arp(operation, mac, address, address, to=MAC))
    got += [f for f in heard(sock, 0.1) if f[30:34] == socket.inet_aton(GIVEN["victim"]) or f[26:30] == f[30:34]]
print(json.dumps(len(got)))
"""


async def test_claiming_a_neighbours_address_by_arp_brings_nothing_and_harms_nobody(street: Street) -> None:
    given = {
        "claimed": [street.address, street.gateway, HOST, OUTSIDE],
        "mac": _mac_of(street.victim).hex(),
        "gateway": street.gateway,
        "victim": street.address,
    }
    thief = hostile.begin(street.hostile.started.pid, _POISON, **given)
    hostile.up(thief)
    await street.talks()
    assert hostile.result(thief) == 0
    await street.talks()


_LISTEN = """
ip("link set eth0 promisc on")
sock = raw()
print("up", flush=True)
frames = heard(sock, 2)
print(json.dumps([f.hex() for f in frames]))
"""


async def test_listening_to_everything_hears_nothing_of_others(street: Street) -> None:
    listener = hostile.begin(street.hostile.started.pid, _LISTEN)
    hostile.up(listener)
    await street.talks()
    assert hostile.result(listener) == []


_TAKE_MAC = """
ip("link set eth0 down")
ip(f"link set eth0 address {GIVEN['mac']}")
ip("link set eth0 up")
ip(f"route replace default via {GIVEN['gateway']} dev eth0 onlink")
MAC = bytes.fromhex(GIVEN["mac"].replace(":", ""))
sock = raw()
print("up", flush=True)
for _ in range(20):
    sock.send(frame(packet(GIVEN["own"], GIVEN["outside"], GIVEN["port"])))
    sock.send(arp(2, MAC, GIVEN["victim"]))
print(json.dumps([f.hex() for f in heard(sock, 2) if f[30:34] == socket.inet_aton(GIVEN["victim"])]))
"""


async def test_taking_a_neighbours_hardware_address_brings_none_of_its_packets(street: Street) -> None:
    mac = _mac_of(street.victim).hex(":")
    given = {"mac": mac, "victim": street.address, "own": street.own, "gateway": street.gateway}
    thief = hostile.begin(street.hostile.started.pid, _TAKE_MAC, outside=OUTSIDE, port=_STRAY_PORT, **given)
    hostile.up(thief)
    await street.talks()
    assert hostile.result(thief) == []
    await street.talks()


_SPOOF = """
sock = raw()
body = packet(GIVEN["source"], GIVEN["target"], GIVEN["port"])
tagged = [struct.pack("!HH", 7, 0x800) + body, struct.pack("!HH", 0, 0x800) + body]
for target in (MAC, ALL, bytes.fromhex(GIVEN["mac"])):
    sock.send(frame(body, target=target))
    sock.send(frame(body, source=bytes.fromhex(GIVEN["mac"]), target=target))
    for tag in (b"\\x81\\x00", b"\\x88\\xa8"):
        for each in tagged:
            sock.send(frame(each, tag, target=target))
print(json.dumps(None))
"""


@pytest.mark.parametrize("whose", ["victim", "gateway", "node", "outside", "nobody", "loopback", "none"])
async def test_no_packet_leaves_under_an_address_that_is_not_ones_own(street: Street, whose: str) -> None:
    source = {
        "victim": street.address,
        "gateway": street.gateway,
        "node": HOST,
        "outside": OUTSIDE,
        "nobody": street.own.rpartition(".")[0] + ".250",
        "loopback": "127.0.0.1",
        "none": "0.0.0.0",
    }[whose]
    mac = _mac_of(street.victim).hex()
    with watching(street) as left:
        hostile.run(street.hostile.started.pid, _SPOOF, source=source, target=OUTSIDE, port=_STRAY_PORT, mac=mac)
    assert not [frame for frame in left if b"stolen" in frame]
    with watching(street) as left:  # with its own address it does get out: the test can fail
        hostile.run(street.hostile.started.pid, _SPOOF, source=street.own, target=OUTSIDE, port=_STRAY_PORT, mac=mac)
    assert [frame for frame in left if b"stolen" in frame]
    assert all(frame[26:30] == socket.inet_aton(HOST) for frame in left if b"stolen" in frame)


async def test_a_stolen_address_gets_no_connection(street: Street) -> None:
    code = """
ip(f"address add {GIVEN['victim']}/32 dev eth0")
probe = socket.socket()
probe.settimeout(2)
probe.bind((GIVEN["victim"], 0))
try:
    probe.connect((GIVEN["outside"], GIVEN["port"]))
    print(json.dumps("connected"))
except OSError as error:
    print(json.dumps(type(error).__name__))
"""
    thief = hostile.run(street.hostile.started.pid, code, victim=street.address, outside=OUTSIDE, port=PORT)
    assert thief == "TimeoutError"
    await street.talks()


_TO_NEIGHBOUR = """
sock = raw()
victim = bytes.fromhex(GIVEN["mac"])
for source in GIVEN["sources"]:
    body = packet(source, GIVEN["victim"], GIVEN["port"])
    for target in (MAC, ALL, victim):
        sock.send(frame(body, target=target))
        sock.send(frame(struct.pack("!HH", 7, 0x800) + body, b"\\x81\\x00", target=target))
six = struct.pack("!IHBB", 6 << 28, 4, 17, 255) + bytes.fromhex("fe80" + "00" * 13 + "01")
for group in ("ff02" + "00" * 13 + "01", "fe80" + "00" * 13 + "02"):
    sock.send(frame(six + bytes.fromhex(group) + b"stolen", b"\\x86\\xdd", target=b"\\x33\\x33\\0\\0\\0\\1"))
    sock.send(frame(six + bytes.fromhex(group) + b"stolen", b"\\x86\\xdd"))
sock.send(frame(b"stolen" * 10, b"\\x88\\xb5", target=ALL))
print(json.dumps(None))
"""


async def test_nothing_at_all_reaches_a_neighbour(street: Street) -> None:
    listener = hostile.begin(street.victim.started.pid, _LISTEN)
    hostile.up(listener)
    given = {"victim": street.address, "mac": _mac_of(street.victim).hex(), "port": _STRAY_PORT}
    sources = [street.own, street.gateway, OUTSIDE, HOST]
    hostile.run(street.hostile.started.pid, _TO_NEIGHBOUR, sources=sources, **given)
    assert hostile.result(listener) == []


_SIX = """
ip("-6 address add fe80::5/64 dev eth0 nodad")
ip("-6 address add fd00:77::5/64 dev eth0 nodad")
ip("-6 route add default via fe80::1 dev eth0")
sock = raw()
advertisement = bytes.fromhex("86000000" "40000708" "00000000" "00000000")
head = struct.pack("!IHBB", 6 << 28, len(advertisement), 58, 255)
ends = bytes.fromhex("fe80" + "00" * 13 + "05" + "ff02" + "00" * 13 + "01")
whole = ends + struct.pack("!II", len(advertisement), 58) + advertisement
advertisement = advertisement[:2] + struct.pack("!H", total(whole)) + advertisement[4:]
for _ in range(5):
    sock.send(frame(head + ends + advertisement, b"\\x86\\xdd", target=b"\\x33\\x33\\0\\0\\0\\1"))
found = {}
for address in GIVEN["addresses"]:
    probe = socket.socket(socket.AF_INET6)
    probe.settimeout(1)
    try:
        probe.connect((address, GIVEN["port"], 0, socket.if_nametoindex("eth0")))
        found[address] = "connected"
    except OSError as error:
        found[address] = type(error).__name__
print(json.dumps(found))
"""


async def test_ipv6_leads_nowhere(street: Street) -> None:
    port = next(name for _, name in socket.if_nameindex() if name.startswith(f"{street.device}-"))
    assert port not in Path("/proc/net/if_inet6").read_text(), "the node's end of a link has an IPv6 address"
    routes = Path("/proc/net/ipv6_route").read_text()
    addresses = ["fe80::1", "ff02::1", "fd00:ec2::254", *_own_ipv6()]
    with socket.create_server(("::", 0), family=socket.AF_INET6) as listener:
        found = hostile.run(street.hostile.started.pid, _SIX, addresses=addresses, port=listener.getsockname()[1])
    assert "connected" not in found.values(), found
    added = set(Path("/proc/net/ipv6_route").read_text().splitlines()) - set(routes.splitlines())
    assert not [line for line in added if street.device in line], "the node believed its router advertisement"


_SHOUT = """
talker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
talker.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
ip("route add 224.0.0.0/4 dev eth0")
sock = raw()
for target in GIVEN["targets"]:
    try:
        talker.sendto(b"shouted", (target, GIVEN["port"]))
    except OSError:
        pass
    for source in (GIVEN["own"], "0.0.0.0"):
        for mac in (MAC, ALL, bytes.fromhex("01005e0000fb")):
            sock.send(frame(packet(source, target, GIVEN["port"], b"shouted"), target=mac))
print(json.dumps(None))
"""


async def test_broadcast_and_multicast_reach_neither_the_node_nor_anybody(street: Street) -> None:
    subnet = ".".join([*street.own.split(".")[:2], "255", "255"])
    targets = ["255.255.255.255", "224.0.0.1", "224.0.0.251", "239.1.2.3", subnet, HOST.rpartition(".")[0] + ".255"]
    end = f"{street.device}-{int(street.own.split('.')[2]):x}{int(street.own.split('.')[3]):02x}"
    listener = hostile.begin(street.victim.started.pid, _LISTEN)
    hostile.up(listener)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        member = socket.inet_aton("224.0.0.251") + struct.pack("4xi", socket.if_nametoindex(end))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        sock.settimeout(0.5)
        with watching(street) as left:
            port = sock.getsockname()[1]
            hostile.run(street.hostile.started.pid, _SHOUT, targets=targets, port=port, own=street.own)
        with pytest.raises(TimeoutError):
            sock.recv(100)
    assert not [frame for frame in left if b"shouted" in frame]
    assert hostile.result(listener) == []


def _mac_of(forked: Forked) -> bytes:
    code = "print(json.dumps(MAC.hex()))"
    return bytes.fromhex(hostile.run(forked.started.pid, code))


def _own_ipv6() -> list[str]:
    lines = [line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()]
    raw = [bytes.fromhex(words[0]) for words in lines]
    return [socket.inet_ntop(socket.AF_INET6, each) for each in raw]
