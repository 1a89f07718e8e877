"""The changes that launchers make to a node's network and undo, each tested in a network namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from launcher.launched import needs_root

pytestmark = needs_root

_USE = """
import asyncio, os, socket, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from launcher.launched import GIVEN, HOST, OUTSIDE, PORT, Node, make_layer, outside_machine, traces
from inrush.launcher.client import Launcher
from inrush.launcher.boot import start_launcher

file = Path("/proc/sys/net/ipv4/ip_forward")
state = Path(sys.argv[1])

async def use(name, check):
    handle = start_launcher(state / name, GIVEN)
    node = Node(state / name, handle, Launcher(handle, lambda exited: node.on_exit(exited)))
    make_layer(node.layer)
    await node.launcher.connect()
    exited, _ = await node.run("true", network="nat")
    assert exited.code == 0
    await check(node)
    await node.launcher.close()
"""

_FORWARDING = """
async def alone(node):
    assert file.read_text() == "1\\n"

async def with_another(node):
    await use("two", alone)
    assert file.read_text() == "1\\n", "the other has switched it off for us"

file.write_text("0")
asyncio.run(use("one", with_another))
assert file.read_text() == "0\\n", "it was left on"
file.write_text("1")
asyncio.run(use("three", alone))
assert file.read_text() == "1\\n", "it was on before, and has been switched off"
"""

_DROPPING = """
async def reaches(node):
    code = f"import socket; print(socket.create_connection(('{OUTSIDE}', {PORT}), 5).recv(100).decode())"
    exited, text = await node.python(code)
    assert text.strip() == HOST, text

async def enters(node):
    await reaches(node)
    listener = await node.launcher.entrance()
    listener.setblocking(True)
    code = f"import socket; print(socket.create_connection({listener.getsockname()}, 5))"
    assert (await node.python(code))[0].code == 0
    other = socket.create_server((listener.getsockname()[0], 0))
    code = f"import socket; print(socket.create_connection({other.getsockname()}, 5))"
    assert (await node.python(code))[0].code != 0, "another port of the same address"
    listener.close()

for chain in ("FORWARD", "INPUT"):
    assert os.system(f"iptables -P {chain} DROP") == 0
before = os.popen("iptables -S").read()
with outside_machine():
    asyncio.run(use("one", enters))
assert os.popen("iptables -S").read() == before
"""

_NEIGHBOURS = """
ROUNDS = 4
TALK = f"socket.create_connection(('{OUTSIDE}', {PORT}), 5).recv(100).decode()"
ADDRESS = "os.popen('hostname -I').read().split()[0]"

async def up(name):
    handle = start_launcher(state / name, GIVEN)
    node = Node(state / name, handle, Launcher(handle, lambda exited: node.on_exit(exited)))
    make_layer(node.layer)
    await node.launcher.connect()
    await node.template("t")
    return node, await node.fork("t")

async def reaching(forked, over):
    while True:
        last = over.is_set()
        assert await forked.ask(TALK) == repr(HOST)
        if last:
            return

async def neighbours():
    (stays, container), *others = await asyncio.gather(up("one"), *(up(f"other{i}") for i in range(ROUNDS)))
    addresses = [await container.ask(ADDRESS)] + [await forked.ask(ADDRESS) for _, forked in others]
    assert len({address.split(".")[1] for address in addresses}) == ROUNDS + 1, addresses
    over = asyncio.Event()
    talking = asyncio.create_task(reaching(container, over))
    for node, _ in others:
        await node.launcher.close()
        assert traces(node.state) == []
    over.set()
    await talking
    assert await (await stays.fork("t")).ask(TALK) == repr(HOST)
    assert file.read_text() == "1\\n"
    await stays.launcher.close()

file.write_text("0")
with outside_machine():
    asyncio.run(neighbours())
assert file.read_text() == "0\\n"
"""


def _in_a_network_of_its_own(state: Path, script: str) -> None:
    paths = sys.path
    inside = 'mount -t tmpfs none /run && ip link set lo up && exec "$@"'
    command = ["unshare", "-n", "-m", "sh", "-c", inside, "sh", sys.executable, "-c", _USE + script, str(state), *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_forwarding_is_switched_back_by_the_last_launcher_if_one_switched_it_on(state: Path) -> None:
    _in_a_network_of_its_own(state, _FORWARDING)


def test_containers_go_out_past_a_firewall_that_drops_what_it_does_not_know(state: Path) -> None:
    _in_a_network_of_its_own(state, _DROPPING)


def test_launchers_of_several_homes_have_ranges_of_their_own_and_the_end_of_one_disturbs_no_other(state: Path) -> None:
    _in_a_network_of_its_own(state, _NEIGHBOURS)
