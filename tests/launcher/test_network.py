"""The addresses that containers can and cannot reach, with a machine outside: a listener in another network
namespace."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deadline import DEADLINE_S
from inrush.launcher import firewall, routes
from inrush.launcher.machine import tag_of
from inrush.launcher.overlay import loopback_resolver
from launcher.launched import HOST, OUTSIDE, PORT, Node, needs_root, outside_machine

pytestmark = needs_root


@pytest.fixture
def outside() -> Iterator[None]:
    with outside_machine():
        yield


@pytest.fixture
async def listener() -> AsyncIterator[int]:
    """A service of the node on all its addresses; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"reached")
        writer.close()

    server = await asyncio.start_server(serve, "0.0.0.0", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def reach(address: str, port: int, patience_s: float = 20) -> str:
    """An expression: what a connection says, or the name of the error."""
    return f"talk({address!r}, {port}, {patience_s})"


_TALK = """
def talk(address, port, patience_s):
    try:
        connection = socket.create_connection((address, port), patience_s)
    except OSError as error:
        return type(error).__name__
    try:
        return connection.recv(100).decode()
    except TimeoutError:
        return "connected, nothing said"
"""


async def test_a_container_reaches_the_outside_under_the_nodes_address(node: Node, outside: None) -> None:
    await node.template("t", boot={"before": _TALK})
    forked = await node.fork("t")
    assert await forked.ask(reach(OUTSIDE, PORT)) == repr(HOST)


async def test_a_program_reaches_the_outside(node: Node, outside: None) -> None:
    exited, text = await node.python(f"import socket\n{_TALK}\nprint({reach(OUTSIDE, PORT)})")
    assert (exited.code, text.strip()) == (0, HOST)


async def test_with_the_network_blocked_there_is_only_loopback(node: Node, outside: None) -> None:
    await node.template("t", boot={"before": _TALK})
    forked = await node.fork("t", network="none")
    assert await forked.ask(reach(OUTSIDE, PORT)) == "'OSError'"
    assert await forked.ask("[name for _, name in socket.if_nameindex()]") == "['lo']"
    await forked.ask("sys.modules['rig'].__dict__.update(server=socket.create_server(('127.0.0.1', 9999)))")
    assert await forked.ask("socket.create_connection(('127.0.0.1', 9999)).getpeername()[1]") == "9999"


async def test_no_address_of_the_node_is_reached(node: Node, outside: None, listener: int) -> None:
    socket.create_connection((HOST, listener), 2).close()  # the node itself reaches it
    await node.template("t", boot={"before": _TALK})
    forked = await node.fork("t")
    gateway = await forked.ask("open('/proc/net/route').read()")
    bridge = ".".join(str(int(gateway.split("\\t")[12][i : i + 2], 16)) for i in (6, 4, 2, 0))
    addresses = {HOST, "127.0.0.1", bridge, *_own_addresses()}
    reached = {address: await forked.ask(reach(address, listener, 2)) for address in addresses}
    assert set(reached.values()) <= {"'ConnectionRefusedError'", "'TimeoutError'", "'OSError'"}, reached


async def test_what_is_refused_is_refused_at_once_however_often(node: Node, outside: None, listener: int) -> None:
    await node.template("t", boot={"before": _TALK})
    forked = await node.fork("t")
    tries = f"{{{reach(HOST, listener, 2)} for _ in range(40)}}"
    assert await forked.ask(tries) == "{'ConnectionRefusedError'}"


async def test_a_container_that_opens_very_many_connections_leaves_the_others_theirs(node: Node, outside: None) -> None:
    flood = f"""
def flood(count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as many:
        for port in range(1, count + 1):
            with contextlib.suppress(OSError):  # that an earlier one was refused
                many.sendto(b"x", ({OUTSIDE!r}, port))
        many.connect(({OUTSIDE!r}, 1))
        return many.getsockname()[0]
"""
    await node.template("t", boot={"before": f"import contextlib{_TALK}{flood}"})
    flooding, other = await node.fork("t"), await node.fork("t")
    address = eval(await flooding.ask("flood(30_000)"))
    tracked = Path("/proc/net/nf_conntrack")
    if tracked.exists():
        assert 1_000 < tracked.read_text().count(f"src={address} ") <= firewall.MAX_CONNECTIONS
    assert await flooding.ask(reach(OUTSIDE, PORT)) == "'ConnectionRefusedError'"
    assert await other.ask(reach(OUTSIDE, PORT)) == repr(HOST)


@pytest.mark.skipif(not Path("/proc/net/nf_conntrack").exists(), reason="this kernel does not list connections")
async def test_closed_connections_leave_the_table_that_the_node_shares_soon(node: Node, outside: None) -> None:
    """The limit of connections at once leaves out closed ones, which stay in the table for two minutes by default."""
    again = f"""
def again(count):
    for _ in range(count):
        with socket.create_connection(({OUTSIDE!r}, {PORT})) as connection:
            connection.recv(100)
            address = connection.getsockname()[0]
    return address
"""
    await node.template("t", boot={"before": f"{_TALK}{again}"})
    address = eval(await (await node.fork("t")).ask("again(300)"))
    tracked = [line.split() for line in Path("/proc/net/nf_conntrack").read_text().splitlines()]
    closed = [int(words[4]) for words in tracked if words[5] == "TIME_WAIT" and f"src={address}" in words]
    assert closed
    assert max(closed) <= firewall.LINGER_S
    table = f"inrush_{tag_of(node.state)}"
    rates = subprocess.run(["nft", "list", "set", "inet", table, "rates"], capture_output=True, text=True).stdout
    most = firewall.MAX_CONNECTIONS
    assert f"{address} " in rates
    assert f"limit rate over {most // 4}/second burst {most} packets" in rates


@pytest.mark.parametrize("removal", ["delete table inet {}", "flush table inet {}", "delete chain inet {} input"])
async def test_walls_that_something_on_the_node_removes_are_put_again(
    node: Node, outside: None, listener: int, removal: str
) -> None:
    table = f"inrush_{tag_of(node.state)}"
    await node.template("t", boot={"before": _TALK})
    forked = await node.fork("t")
    before = _chains(table)
    subprocess.run(["nft", *removal.format(table).split()], check=True)
    async with asyncio.timeout(DEADLINE_S):
        while _chains(table) != before:  # noqa: ASYNC110 (nobody tells of it)
            await asyncio.sleep(0.01)
    assert await forked.ask(reach(HOST, listener)) == "'ConnectionRefusedError'"
    assert await forked.ask(reach(OUTSIDE, PORT)) == repr(HOST)


def _chains(table: str) -> str:
    """The table, without what its sets hold."""
    return subprocess.run(["nft", "-t", "list", "table", "inet", table], capture_output=True, text=True).stdout


async def test_one_container_does_not_reach_another(node: Node) -> None:
    await node.template("t", boot={"before": _TALK})
    first, second = await node.fork("t"), await node.fork("t")
    await first.ask("sys.modules['rig'].__dict__.update(server=socket.create_server(('0.0.0.0', 9999)))")
    address = (await first.ask("os.popen('hostname -I').read().split()[0]")).strip("'")
    assert await first.ask(reach(address, 9999, 2)) == "'connected, nothing said'"
    assert await second.ask(reach(address, 9999, 2)) in ("'TimeoutError'", "'OSError'")


async def test_a_network_that_a_container_has_left_serves_the_next(node: Node, outside: None) -> None:
    await node.template("t", boot={"before": _TALK})
    seen: list[str] = []
    async with asyncio.timeout(DEADLINE_S):  # used networks are cleaned when the launcher has nothing else to do
        while len(set(seen)) == len(seen):
            forked = await node.fork("t")
            assert await forked.ask(reach(OUTSIDE, PORT)) == repr(HOST)
            seen.append(await forked.ask("os.readlink('/proc/self/ns/net')"))
            forked.sock.close()
            await node.ended(forked.id)


async def test_both_ends_of_a_link_know_each_other_without_asking(node: Node) -> None:
    await node.template("t")
    forked = await node.fork("t")
    device = f"inrush{tag_of(node.state)}"
    ports = {path.name: (path / "address").read_text() for path in Path("/sys/class/net").glob(f"{device}-*")}
    inside = (await forked.ask("open('/sys/class/net/eth0/address').read()")).strip("'").replace("\\n", "\n")
    assert inside in ports.values()
    assert len(set(ports.values())) == len(ports), "two containers have one hardware address"
    flags = [int(Path(f"/sys/class/net/{name}/flags").read_text(), 16) for name in ports]
    flags.append(int((await forked.ask("open('/sys/class/net/eth0/flags').read()")).strip("'\\n"), 16))
    assert all(flag & 0x80 for flag in flags), "a link listens to ARP"


async def test_the_network_of_a_template_which_it_could_change_serves_nobody_else(node: Node) -> None:
    before = "mine = os.readlink('/proc/self/ns/net')"
    await node.template("s", boot={"before": before}, network="nat")
    forked = await node.fork("s")
    templates = await forked.ask("sys.modules['rig'].mine")
    forked.sock.close()
    await node.ended(forked.id)
    await node.template("t")
    await node.launcher.close_template("s")
    forks = [await node.fork("t") for _ in range(4)]
    assert templates not in [await each.ask("os.readlink('/proc/self/ns/net')") for each in forks]


async def test_names_are_resolved_by_the_nodes_resolver(node: Node) -> None:
    _, text = await node.run("cat", "/etc/resolv.conf", "/etc/hosts", root=node.root(hostname="box"))
    assert node.can["resolver"] in text
    assert "box" in text


async def test_the_links_have_the_mtu_of_the_way_out(node: Node) -> None:
    _, text = await node.run("cat", "/sys/class/net/eth0/mtu")
    route = [line.split() for line in Path("/proc/net/route").read_text().splitlines()]
    way_out = next((words[0] for words in route if words[1] == "00000000"), None)
    assert int(text) == (int(Path(f"/sys/class/net/{way_out}/mtu").read_text()) if way_out else 1500)


def test_the_subnet_avoids_routes_and_resolvers_of_the_node() -> None:
    chosen = routes.free_subnet("seed", [], [])
    assert chosen.is_private
    assert chosen.prefixlen == 16
    assert routes.free_subnet("seed", [], []) == chosen
    assert routes.free_subnet("seed", [str(chosen)], []) != chosen
    assert routes.free_subnet("seed", [str(chosen.supernet(2))], []).overlaps(chosen.supernet(2)) is False
    assert routes.free_subnet("seed", [], [str(chosen.network_address + 53)]) != chosen
    with pytest.raises(OSError, match="every /16"):
        routes.free_subnet("seed", ["10.0.0.0/8"], [])


def test_a_resolver_on_loopback_is_noticed() -> None:
    assert loopback_resolver("nameserver 127.0.0.53\n")
    assert loopback_resolver("search x\nnameserver ::1\n")
    assert not loopback_resolver("nameserver 192.0.2.53\nsearch 127.0.0.1\n")


def _own_addresses() -> set[str]:
    text = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout
    found = set()
    for word in text.split():
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(word).version == 4:
                found.add(word)
    return found
